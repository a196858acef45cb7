/** Ways to break a stream of protocol bytes. */
import type { Random } from './random.ts';

interface Frame {
  readonly start: number;
  readonly end: number;
}

function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + Math.max(4, bytes.readInt32BE(at + 1)));
    frames.push({ start: at, end });
    at = end;
  }
  // What is too short for a message, after another mutation, is broken as one.
  return frames.length > 0 ? frames : [{ start: 0, end: bytes.length }];
}

const cut = (bytes: Buffer, start: number, end: number, between: Buffer): Buffer =>
  Buffer.concat([bytes.subarray(0, start), between, bytes.subarray(end)]);

const nothing = Buffer.alloc(0);
const hugeLengths = [0, 1, 3, 4, 5, 0x7fffffff, -1, -2147483648, 0x00ffffff, 0x10000, 0x01000000];

type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer;

/** Inside of messages. */
export const byteMutations: Readonly<Record<string, Mutation>> = {
  flip: (bytes, random) => {
    const copy = Buffer.from(bytes);
    for (let count = 1 + random.below(3); count > 0; count--) {
      const at = random.below(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
    }
    return copy;
  },
  overwrite: (bytes, random) => {
    const copy = Buffer.from(bytes);
    copy[random.below(copy.length)] = random.below(256);
    return copy;
  },
  insert: (bytes, random) => {
    const at = random.below(bytes.length);
    return cut(bytes, at, at, Buffer.from(Array.from({ length: 1 + random.below(6) }, () => random.below(256))));
  },
  delete: (bytes, random) => {
    const at = random.below(bytes.length);
    return cut(bytes, at, Math.min(bytes.length, at + 1 + random.below(8)), nothing);
  },
  duplicate: (bytes, random) => {
    const at = random.below(bytes.length);
    const end = Math.min(bytes.length, at + 1 + random.below(40));
    return cut(bytes, end, end, bytes.subarray(at, end));
  },
  truncate: (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  'length of a message': (bytes, random) => {
    const copy = Buffer.from(bytes);
    const frame = random.pick(framesOf(bytes));
    if (frame.start + 5 <= copy.length) {
      const length = random.chance(0.5)
        ? random.pick(hugeLengths)
        : copy.readInt32BE(frame.start + 1) + random.below(9) - 4;
      copy.writeInt32BE(length | 0, frame.start + 1);
    }
    return copy;
  },
  'an inner number': (bytes, random) => {
    const copy = Buffer.from(bytes);
    if (copy.length < 4) return copy;
    copy.writeInt32BE(random.pick(hugeLengths) | 0, random.below(copy.length - 3));
    return copy;
  },
};

/** Whole messages. */
export const frameMutations: Readonly<Record<string, Mutation>> = {
  'drop a message': (bytes, random) => {
    const frame = random.pick(framesOf(bytes));
    return cut(bytes, frame.start, frame.end, nothing);
  },
  'repeat a message': (bytes, random) => {
    const frame = random.pick(framesOf(bytes));
    return cut(bytes, frame.end, frame.end, bytes.subarray(frame.start, frame.end));
  },
  'swap messages': (bytes, random) => {
    const frames = framesOf(bytes);
    const at = random.below(Math.max(1, frames.length - 1));
    const [a, b] = [frames[at], frames[at + 1]];
    if (a === undefined || b === undefined) return bytes;
    return cut(bytes, a.start, b.end, Buffer.concat([bytes.subarray(b.start, b.end), bytes.subarray(a.start, a.end)]));
  },
  'another type': (bytes, random) => {
    const copy = Buffer.from(bytes);
    copy[random.pick(framesOf(bytes)).start] = random.chance(0.7) ? 0x41 + random.below(58) : random.below(256);
    return copy;
  },
  'splice in messages of another session': (bytes, random, other) => {
    const at = random.pick(framesOf(bytes)).start;
    const foreign = random.pick(framesOf(other));
    return cut(bytes, at, at, other.subarray(foreign.start, foreign.end));
  },
};
