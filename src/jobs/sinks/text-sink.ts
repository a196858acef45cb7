/** What line formats share: rows become text, text is written in pieces. */
import { HashedFile } from './file.ts';
import type { Sink, TextRow } from './sink.ts';

const pieceLength = 256 * 1024;

export async function openTextSink(path: string, head: string, line: (row: TextRow) => string): Promise<Sink> {
  const file = await HashedFile.create(path);
  let pending = head;
  const flush = async () => {
    const piece = pending;
    pending = '';
    await file.append(Buffer.from(piece, 'utf8'));
  };
  return {
    write(row) {
      pending += line(row);
      return pending.length >= pieceLength ? flush() : undefined;
    },
    async close() {
      await flush();
      return file.close();
    },
    discard: () => file.discard(),
  };
}
