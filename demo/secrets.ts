/**
 * A fast search for many known secrets in many bytes: does anything that left the gateway hold one of them?
 *
 * Card numbers are found however they are grouped (spaces or dashes), e-mail addresses in any case, social security
 * numbers as they are written, all of them also in the middle of other digits or letters, in text and in binary
 * messages. What is compressed, encrypted, encoded (base64, hex) or UTF-16 must be decoded first; the caller does that.
 */
import { createReadStream } from 'node:fs';

export type SecretKind = 'ssn' | 'card' | 'email';

export interface Finding {
  readonly kind: SecretKind;
  /** The file, or `bytes` for buffers. */
  readonly source: string;
  /** Of the first byte, counted from the start of the file, or of all buffers together. */
  readonly offset: number;
  readonly value: string;
}

export class SecretSet {
  readonly #values: Readonly<Record<SecretKind, Set<string>>> = { ssn: new Set(), card: new Set(), email: new Set() };
  readonly #emailDomains = new Set<string>();

  add(kind: SecretKind, value: string): void {
    const normal = normalise(kind, value);
    this.#values[kind].add(normal);
    if (kind === 'email') this.#emailDomains.add(normal.slice(normal.indexOf('@') + 1));
  }

  /** `value` as it was written, or in any other spelling that the search knows. */
  has(kind: SecretKind, value: string): boolean {
    return this.#values[kind].has(normalise(kind, value));
  }

  /** As `has`, without the work: `value` is digits only for a card, lower case for an e-mail address. */
  hasNormal(kind: SecretKind, value: string): boolean {
    return this.#values[kind].has(value);
  }

  get size(): number {
    const { ssn, card, email } = this.#values;
    return ssn.size + card.size + email.size;
  }

  get emailDomains(): ReadonlySet<string> {
    return this.#emailDomains;
  }
}

function normalise(kind: SecretKind, value: string): string {
  if (kind === 'email') return value.toLowerCase();
  return kind === 'card' ? value.replaceAll(/[ -]/g, '') : value;
}

// Longer than any spelling of a secret; what the end of one chunk and the start of the next may share.
const overlapBytes = 160;
const defaultChunkBytes = 1024 * 1024;
const cardLength = 16;

/**
 * Every place where one of `secrets` stands. Buffers are consecutive pieces of one stream; a string names a file,
 * which is a stream of its own. They are searched `chunkBytes` at a time.
 */
export async function searchSecrets(
  haystack: Iterable<Buffer | string> | AsyncIterable<Buffer | string>,
  secrets: SecretSet,
  chunkBytes = defaultChunkBytes,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const scanner = new Scanner('bytes', secrets, findings, chunkBytes);
  for await (const item of haystack) {
    if (typeof item !== 'string') {
      scanner.push(item);
      continue;
    }
    const fileScanner = new Scanner(item, secrets, findings, chunkBytes);
    for await (const chunk of createReadStream(item, { highWaterMark: chunkBytes })) fileScanner.push(chunk as Buffer);
    fileScanner.end();
  }
  scanner.end();
  return findings;
}

class Scanner {
  readonly #source: string;
  readonly #secrets: SecretSet;
  readonly #findings: Finding[];
  readonly #chunkBytes: number;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** The end of what was scanned, which is scanned again in front of the next chunk. */
  #overlap = Buffer.alloc(0);
  #offset = 0;

  constructor(source: string, secrets: SecretSet, findings: Finding[], chunkBytes: number) {
    this.#source = source;
    this.#secrets = secrets;
    this.#findings = findings;
    this.#chunkBytes = chunkBytes;
  }

  push(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= this.#chunkBytes) this.#scan(false);
  }

  end(): void {
    this.#scan(true);
  }

  #scan(isLast: boolean): void {
    const bytes = Buffer.concat([this.#overlap, ...this.#waiting]);
    this.#waiting = [];
    this.#waitingBytes = 0;
    // A match that starts in the tail may go on in the next chunk: it is left to the next scan.
    const limit = isLast ? bytes.length : Math.max(0, bytes.length - overlapBytes);
    const text = bytes.toString('latin1');
    this.#scanCards(text, limit);
    this.#scanSsns(text, limit);
    this.#scanEmails(text, limit);
    this.#overlap = bytes.subarray(limit);
    this.#offset += limit;
  }

  #found(kind: SecretKind, position: number, value: string): void {
    this.#findings.push({ kind, source: this.#source, offset: this.#offset + position, value });
  }

  #scanCards(text: string, limit: number): void {
    for (const match of text.matchAll(/\d(?:[ -]?\d){15,}/g)) {
      const run = match[0];
      const places: number[] = [];
      let digits = '';
      for (let place = 0; place < run.length; place += 1) {
        const code = run.charCodeAt(place);
        if (code < 48) continue;
        places.push(match.index + place);
        digits += run[place];
      }
      for (let first = 0; first + cardLength <= digits.length; first += 1) {
        const place = places[first] ?? 0;
        if (place >= limit) return;
        const candidate = digits.slice(first, first + cardLength);
        if (this.#secrets.hasNormal('card', candidate)) this.#found('card', place, candidate);
      }
    }
  }

  #scanSsns(text: string, limit: number): void {
    // A look-ahead, so that overlapping candidates are all seen.
    for (const { 1: candidate = '', index } of text.matchAll(/(?=(\d{3}-\d{2}-\d{4}))/g)) {
      if (index < limit && this.#secrets.hasNormal('ssn', candidate)) this.#found('ssn', index, candidate);
    }
  }

  #scanEmails(text: string, limit: number): void {
    for (let at = text.indexOf('@'); at !== -1; at = text.indexOf('@', at + 1)) {
      const domainRun = /^[A-Za-z0-9.-]{1,80}/.exec(text.slice(at + 1, at + 81))?.[0].toLowerCase();
      if (domainRun === undefined) continue;
      const localRun = /[A-Za-z0-9._%+-]{1,64}$/.exec(text.slice(Math.max(0, at - 64), at))?.[0].toLowerCase() ?? '';
      for (const domain of this.#secrets.emailDomains) {
        if (!domainRun.startsWith(domain)) continue;
        for (let length = localRun.length; length > 0; length -= 1) {
          const candidate = `${localRun.slice(-length)}@${domain}`;
          if (at - length < limit && this.#secrets.hasNormal('email', candidate))
            this.#found('email', at - length, candidate);
        }
      }
    }
  }
}
