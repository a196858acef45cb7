/**
 * One cheap pass over a cell that says which detectors could find anything in it. A detector whose bit is clear cannot:
 * `detectors.test.ts` holds the two together. Most cells of most tables have no bit set and go on untouched.
 */

export const candidate = {
  card: 1,
  ssn: 2,
  iban: 4,
  email: 8,
  phone: 16,
  ip: 32,
  jwt: 64,
  'cloud-key': 128,
} as const;

/** Set when the cell has a backslash followed by `u`, so that characters may be hidden in escapes. */
export const escapedBit = 256;

// Digits, dots and colons are counted; the others say something by what stands beside them. A byte is looked up once and
// its weight added: branches on bytes that nobody can foresee would cost several times as much. A block is so short that
// no count runs over into the next.
const digitWeight = 1;
const dotWeight = 1 << 8;
const colonWeight = 1 << 16;
const markWeight = 1 << 24;
const blockBytes = 127;
/** Of a sum: there are dots or marks. */
const marked = 0x7f00_ff00;

const atSign = 1;
const dot = 2;
const capitalJ = 3;
const underscore = 4;
const hyphen = 5;
const capitalI = 6;
const equals = 7;
const backslash = 8;

const weights = new Int32Array(256);
const marks = new Uint8Array(256);
weights.fill(digitWeight, 0x30, 0x3a);
for (const [text, kind] of [
  ['@', atSign],
  ['.', dot],
  ['J', capitalJ],
  ['_', underscore],
  ['-', hyphen],
  ['I', capitalI],
  ['=', equals],
  ['\\', backslash],
] as const) {
  marks[text.charCodeAt(0)] = kind;
  weights[text.charCodeAt(0)] = kind === dot ? dotWeight : markWeight;
}
weights[0x3a] = colonWeight;

const lowerE = 0x65;
const lowerT = 0x74;
const lowerU = 0x75;
const lowerX = 0x78;
const lowerY = 0x79;
const lowerZ = 0x7a;
const capitalA = 0x41;
const capitalG = 0x47;
const capitalS = 0x53;

/** Fewest characters of an IBAN (Norway's). */
const shortestIban = 15;

/** Bits of `candidate` and `escapedBit` for src[start, end). */
export function candidatesIn(src: Uint8Array, start: number, end: number): number {
  let digits = 0;
  let dots = 0;
  let colons = 0;
  let isMarked = false;
  for (let from = start; from < end; from += blockBytes) {
    const to = Math.min(from + blockBytes, end);
    let sum = 0;
    for (let at = from; at < to; at++) sum = (sum + (weights[src[at] as number] as number)) | 0;
    isMarked ||= (sum & marked) !== 0;
    digits += sum & 0xff;
    dots += (sum >> 8) & 0xff;
    colons += (sum >> 16) & 0xff;
  }
  let bits = isMarked ? markedIn(src, start, end) : 0;
  if (digits >= 2) {
    if (end - start >= shortestIban) bits |= candidate.iban;
    if (digits >= 9) bits |= candidate.ssn;
    if (digits >= 10) bits |= candidate.phone;
    if (digits >= 13) bits |= candidate.card;
    if (dots >= 3 && digits >= 4) bits |= candidate.ip;
  }
  if (colons >= 2 && digits >= 1) bits |= candidate.ip;
  return bits;
}

function markedIn(src: Uint8Array, start: number, end: number): number {
  let bits = 0;
  for (let at = start; at < end; at++) {
    const kind = marks[src[at] as number] as number;
    if (kind === 0) continue;
    switch (kind) {
      case atSign:
        bits |= candidate.email;
        break;
      case dot:
        if (src[at - 1] === capitalG && src[at - 2] === capitalS) bits |= candidate['cloud-key'];
        break;
      case capitalJ:
        if (src[at - 1] === lowerY && src[at - 2] === lowerE) bits |= candidate.jwt;
        break;
      case underscore:
        bits |= candidate['cloud-key'];
        break;
      case hyphen:
        // `-----BEGIN`, `glpat-`, `sk-ant-`, `xoxb-`
        if (src[at + 1] === 0x2d || src[at - 1] === lowerT || src[at - 4] === lowerX) bits |= candidate['cloud-key'];
        break;
      case capitalI:
        // AKIA, ASIA, AIza
        if (src[at + 1] === capitalA || src[at + 1] === lowerZ) bits |= candidate['cloud-key'];
        break;
      case equals:
        if (src[at - 1] === lowerY) bits |= candidate['cloud-key'];
        break;
      case backslash:
        if (src[at + 1] === lowerU) bits |= escapedBit;
        break;
      default:
        break;
    }
  }
  return bits;
}
