/** An ErrorResponse or NoticeResponse that is too large to be taken whole: its short fields, and nothing of its texts. */
import { CountersignError } from '../../errors.ts';
import type { NoticeFields } from './backend.ts';

/** Severity, SQLSTATE, position. */
const shortFields: ReadonlySet<string> = new Set(['S', 'V', 'C', 'P']);
/** In bytes; the longest severity has 7. */
const longestField = 32;

export class FieldStream {
  readonly fields: NoticeFields = {};
  readonly #value = Buffer.alloc(longestField);
  #length = 0;
  /** Undefined before a field's type byte; empty behind the end of the list. */
  #letter: string | undefined;

  write(src: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at++) {
      const byte = src[at] as number;
      if (this.#letter === '') throw malformed('bytes are left behind the last field');
      if (this.#letter === undefined) {
        this.#letter = byte === 0 ? '' : String.fromCharCode(byte);
        this.#length = 0;
      } else if (byte === 0) {
        if (shortFields.has(this.#letter)) this.fields[this.#letter] = this.#value.toString('latin1', 0, this.#length);
        this.#letter = undefined;
      } else if (this.#length < longestField) this.#value[this.#length++] = byte;
    }
  }

  end(): void {
    if (this.#letter !== '') throw malformed('the message ends too early');
  }
}

function malformed(what: string): CountersignError {
  return new CountersignError('protocol_violation', `ErrorResponse or NoticeResponse: ${what}`);
}
