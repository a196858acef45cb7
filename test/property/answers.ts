/** Backend messages out of a stream of bytes, read without the code under test. */

export interface Message {
  readonly type: string;
  readonly body: Buffer;
}

/** Complete messages; what is left over at the end is not one. */
export function messagesOf(bytes: Buffer): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    if (end > bytes.length || end < at + 5) break;
    messages.push({ type: String.fromCharCode(bytes[at] ?? 0), body: bytes.subarray(at + 5, end) });
    at = end;
  }
  return messages;
}

export function decodeDataRow(body: Buffer): (string | null)[] {
  const cells: (string | null)[] = [];
  let at = 2;
  for (let count = body.readInt16BE(0); count > 0; count--) {
    const size = body.readInt32BE(at);
    at += 4;
    cells.push(size < 0 ? null : body.toString('utf8', at, at + size));
    at += Math.max(0, size);
  }
  return cells;
}

/** Whether a DataRow's cells end where it ends. */
export function isWellFormed(body: Buffer): boolean {
  if (body.length < 2) return false;
  let at = 2;
  for (let count = body.readInt16BE(0); count > 0; count--) {
    if (at + 4 > body.length) return false;
    const size = body.readInt32BE(at);
    at += 4 + Math.max(0, size);
    if (size < -1 || at > body.length) return false;
  }
  return at === body.length;
}
