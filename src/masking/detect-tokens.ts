/**
 * Detectors for values with a tell-tale form: e-mail addresses, IP addresses, JSON Web Tokens, keys of cloud services.
 *
 * The regular expressions are ours and reviewed: none nests quantifiers over the same characters, and those with an
 * open end cannot begin inside their own match, so that each is linear. They run on the bytes read as Latin-1, in which
 * an index is a byte offset.
 */
import { isIPv6 } from 'node:net';
import type { OnFinding } from './detect-digits.ts';

// ---- e-mail addresses

const longestLocalPart = 64;
const longestDomain = 253;

/** Letters, digits, `._%+-` and every byte of a character beyond ASCII. */
const localClass = byteClass('._%+-');
const domainClass = byteClass('.-');

function byteClass(punctuation: string): Uint8Array {
  const table = new Uint8Array(256);
  table.fill(1, 0x30, 0x3a).fill(1, 0x41, 0x5b).fill(1, 0x61, 0x7b).fill(1, 0x80);
  for (const character of punctuation) table[character.charCodeAt(0)] = 1;
  return table;
}

export function findEmails(src: Uint8Array, start: number, end: number, onFinding: OnFinding): void {
  let earliest = start;
  for (let at = start; at < end; at++) {
    if (src[at] !== 0x40) continue;
    let from = at;
    const lowest = Math.max(earliest, at - longestLocalPart);
    while (from > lowest && localClass[src[from - 1] as number] === 1) from--;
    while (from < at && (src[from] === 0x2e || src[from] === 0x2d)) from++;
    if (from === at) continue;
    const to = domainEnd(src, at + 1, end);
    if (to === 0) continue;
    onFinding(from, to);
    earliest = to;
    at = to - 1;
  }
}

/** End of a domain name with at least two labels, the last one of two or more bytes that begins with a letter; or 0. */
function domainEnd(src: Uint8Array, from: number, end: number): number {
  const limit = Math.min(end, from + longestDomain);
  let to = from;
  while (to < limit && domainClass[src[to] as number] === 1) to++;
  while (to > from && (src[to - 1] === 0x2e || src[to - 1] === 0x2d)) to--;
  let label = to;
  while (label > from && src[label - 1] !== 0x2e) label--;
  const first = src[label] ?? 0;
  const letter = first >= 0x80 || (first >= 0x41 && first <= 0x5a) || (first >= 0x61 && first <= 0x7a);
  return label - 1 > from && to - label >= 2 && letter && src[from] !== 0x2e ? to : 0;
}

// ---- IP addresses

const ipv4 = /(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)/g;
const ipv6 = /(?<![\w:.])[0-9A-Fa-f:]{6,39}(?![\w:])/g;

export function findIps(text: string, offset: number, onFinding: OnFinding): void {
  for (const match of text.matchAll(ipv4)) onFinding(offset + match.index, offset + match.index + match[0].length);
  for (const match of text.matchAll(ipv6)) {
    const [found] = match;
    if (/\d/.test(found) && isIPv6(found)) onFinding(offset + match.index, offset + match.index + found.length);
  }
}

// ---- JSON Web Tokens: header, payload and signature in base64url; an object's base64url begins with `eyJ` (`{"`)

const jwt = /(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g;

export function findJwts(text: string, offset: number, onFinding: OnFinding): void {
  for (const match of text.matchAll(jwt)) onFinding(offset + match.index, offset + match.index + match[0].length);
}

// ---- keys

const keys = new RegExp(
  [
    '(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])', // Amazon Web Services, key id
    'AIza[\\w-]{35}(?![\\w-])', // Google
    'gh[pousr]_[A-Za-z0-9]{36,}', // GitHub
    'github_pat_\\w{22,}',
    'glpat-[\\w-]{20,}', // GitLab
    '[sr]k_live_[A-Za-z0-9]{16,}', // Stripe
    'whsec_[A-Za-z0-9+/=]{24,}',
    'xox[abeoprs]-[A-Za-z0-9-]{10,}', // Slack
    'sk-ant-[\\w-]{20,}',
    'npm_[A-Za-z0-9]{36,}',
    'SG\\.[\\w-]{16,32}\\.[\\w-]{16,64}', // SendGrid
    'AccountKey=[A-Za-z0-9+/]{80,90}={0,2}', // Azure storage
  ]
    .map((form) => `(?:${form})`)
    .join('|')
    .replace(/^/, '(?<![A-Za-z0-9])(?:')
    .replace(/$/, ')'),
  'g',
);

/** The secret that belongs to a key id has no form of its own; the name before it gives it away. */
const namedSecret =
  /aws_secret(?:_access)?_key["']?[ \t]{0,4}[:=][ \t]{0,4}["']?([A-Za-z0-9+/]{40})(?![A-Za-z0-9+/])/gi;

const privateKeyHeader = /-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----/g;
const privateKeyFooter = /-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----/g;

export function findCloudKeys(text: string, offset: number, onFinding: OnFinding): void {
  for (const match of text.matchAll(keys)) onFinding(offset + match.index, offset + match.index + match[0].length);
  for (const match of text.matchAll(namedSecret)) {
    const to = match.index + match[0].length;
    onFinding(offset + to - (match[1]?.length ?? 0), offset + to);
  }
  // A private key reaches to its footer; without one, to the end.
  let from = 0;
  for (const match of text.matchAll(privateKeyHeader)) {
    if (match.index < from) continue;
    privateKeyFooter.lastIndex = match.index;
    const footer = privateKeyFooter.exec(text);
    from = footer === null ? text.length : footer.index + footer[0].length;
    onFinding(offset + match.index, offset + from);
  }
}
