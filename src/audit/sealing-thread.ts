/** The thread behind `sealing.ts`: compresses, encrypts and digests segments, away from the sessions' event loop. */
import { hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { compressPiece, sealSegment } from './segment.ts';
import type { SealReply, SealRequest } from './sealing.ts';

parentPort?.on('message', (request: SealRequest) => {
  const { id, key, sessionId, number, buffer, length } = request;
  const piece = compressPiece(Buffer.from(buffer, 0, length));
  const stored = sealSegment(Buffer.from(key), sessionId, number, piece, length);
  // A copy of its own memory, so that it can be handed over.
  const body = new Uint8Array(stored.length);
  body.set(stored);
  const reply: SealReply = { id, stored: body.buffer, sha256: hash('sha256', stored, 'hex'), buffer };
  parentPort?.postMessage(reply, [reply.stored, buffer]);
});
