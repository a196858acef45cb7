/**
 * SQL cursors of a session. FETCH does not say in its text what it returns: its rows are masked by what was admitted when
 * the cursor was declared. A cursor is known from the moment the target has confirmed its DECLARE; one that has ended at
 * the target without our knowing (with its transaction) only makes the target refuse the FETCH.
 */
import { CountersignError } from '../errors.ts';
import type { AdmittedStatement } from './admission.ts';
import { ByServerName } from './server-names.ts';

interface OpenCursor {
  readonly statement: AdmittedStatement;
  readonly maskingDigest: string;
  /** It outlives its transaction. */
  readonly holds: boolean;
}

export class Cursors {
  readonly #open = new ByServerName<OpenCursor>();

  /** The target has carried out a statement; `tag` is its own word on what it did. */
  completed(statement: AdmittedStatement, tag: string, maskingDigest: string): void {
    const { cursor } = statement.facts;
    if (cursor?.action === 'declare') {
      if (tag === 'DECLARE CURSOR') this.#open.set(cursor.name, { statement, maskingDigest, holds: cursor.holds });
    }
    if (cursor?.action === 'close') this.forget(cursor.name);
    if (cursor?.action === 'close-all') this.#open.clear();
  }

  has(name: string): boolean {
    return this.#open.has(name);
  }

  /** A portal of the protocol may take the name. */
  forget(name: string): void {
    this.#open.delete(name);
  }

  endTransaction(): void {
    for (const [name, { holds }] of this.#open) if (!holds) this.#open.delete(name);
  }

  clear(): void {
    this.#open.clear();
  }

  /** The FETCH as a statement that is masked like its cursor's query; any other statement as it is. */
  resolve(statement: AdmittedStatement, maskingDigest: string): AdmittedStatement | CountersignError {
    const { cursor } = statement.facts;
    if (cursor?.action !== 'fetch' || !statement.results.canMask) return statement;
    const open = this.#open.get(cursor.name);
    if (open === undefined) {
      return new CountersignError('cursor_unknown', `cursor "${cursor.name}" does not exist`, {
        hint: 'DECLARE it in this session, outside of a text with other statements or a batch that is still open',
      });
    }
    if (open.maskingDigest !== maskingDigest) {
      return new CountersignError('cursor_unknown', `cursor "${cursor.name}" was declared under other masking rules`, {
        hint: 'CLOSE it and DECLARE it again',
      });
    }
    const { touchesMasked, results } = open.statement;
    return { facts: statement.facts, touchesMasked, results };
  }
}
