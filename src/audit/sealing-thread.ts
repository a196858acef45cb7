/** The thread behind `sealing.ts`: compresses, encrypts, digests and writes segments, away from the sessions' event loop. */
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { compressPiece, sealSegment } from './segment.ts';
import type { Sealed, SealReply, SealRequest } from './sealing.ts';

function seal({ fd, key, sessionId, number, memory, length }: SealRequest): Sealed {
  const piece = compressPiece(Buffer.from(memory, 0, length));
  const digest = createHash('sha256');
  let bytes = 0;
  for (const part of sealSegment(key, sessionId, number, piece, length)) {
    digest.update(part);
    for (let done = 0; done < part.length; ) done += writeSync(fd, part, done);
    bytes += part.length;
  }
  return { sha256: digest.digest('hex'), bytes };
}

parentPort?.on('message', (request: SealRequest) => {
  let reply: SealReply;
  try {
    reply = { id: request.id, ...seal(request) };
  } catch (error) {
    reply = { id: request.id, failure: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(reply);
});
