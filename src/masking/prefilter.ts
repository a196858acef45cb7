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

const digit = 1;
const atSign = 2;
const dot = 3;
const colon = 4;
const capitalJ = 5;
const underscore = 6;
const hyphen = 7;
const capitalI = 8;
const equals = 9;
const backslash = 10;

const classes = new Uint8Array(256);
classes.fill(digit, 0x30, 0x3a);
for (const [text, kind] of [
  ['@', atSign],
  ['.', dot],
  [':', colon],
  ['J', capitalJ],
  ['_', underscore],
  ['-', hyphen],
  ['I', capitalI],
  ['=', equals],
  ['\\', backslash],
] as const) {
  classes[text.charCodeAt(0)] = kind;
}

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
  let bits = 0;
  for (let at = start; at < end; at++) {
    const kind = classes[src[at] as number] as number;
    if (kind === 0) continue;
    switch (kind) {
      case digit:
        digits++;
        break;
      case atSign:
        bits |= candidate.email;
        break;
      case dot:
        dots++;
        if (src[at - 1] === capitalG && src[at - 2] === capitalS) bits |= candidate['cloud-key'];
        break;
      case colon:
        colons++;
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
