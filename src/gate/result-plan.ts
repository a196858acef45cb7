/**
 * From the server's RowDescription to the masker of one statement's rows. The plan is made once per distinct
 * description and kept with the statement, also across Sync, so that a re-executed statement stays masked without a
 * new description.
 */
import { planColumns } from '../masking/plan.ts';
import { compileRowMasker, type RowMasker } from '../masking/rows.ts';
import type { MaskIndex } from '../masking/mask-index.ts';
import type { ConnectionMasking } from '../masking/policy.ts';
import type { StatementFacts } from '../sql/statement.ts';
import type { TemporaryTables } from './temporary-tables.ts';
import { decodeRowDescription, type ResultColumn } from '../wire/postgres/backend.ts';

export interface ResultPlanOptions {
  readonly facts: StatementFacts;
  readonly touchesMasked: boolean;
  readonly maskIndex: MaskIndex;
  readonly masking: ConnectionMasking;
  /** Of the session, where it can have any. */
  readonly temporary?: TemporaryTables | undefined;
}

const maxKeptMaskers = 8;

export class ResultPlan {
  readonly #options: ResultPlanOptions;
  readonly #byDescription: { description: Buffer; masker: RowMasker }[] = [];

  constructor(options: ResultPlanOptions) {
    this.#options = options;
  }

  /** False when no rule and no detector can change anything on this connection. */
  get canMask(): boolean {
    const { masking } = this.#options;
    return masking.hasColumnRules || masking.detectors.active;
  }

  /** The masker for a description as it stands in a buffer, made once per distinct description. */
  forDescription(buffer: Buffer, start: number, end: number): RowMasker {
    for (const kept of this.#byDescription) {
      if (kept.description.length === end - start && kept.description.compare(buffer, start, end) === 0) {
        return kept.masker;
      }
    }
    const masker = this.compile(decodeRowDescription(buffer, start, end));
    if (this.#byDescription.length >= maxKeptMaskers) this.#byDescription.shift();
    this.#byDescription.push({ description: Buffer.from(buffer.subarray(start, end)), masker });
    return masker;
  }

  /** @throws CountersignError `lineage_unresolved` when it cannot be told what to mask. */
  compile(columns: readonly ResultColumn[]): RowMasker {
    const { facts, touchesMasked, maskIndex, masking, temporary } = this.#options;
    const actions = planColumns({
      columns: temporary?.withoutOrigin(columns, facts, maskIndex) ?? columns,
      lineage: facts.lineage,
      relationsTouchMasked: touchesMasked,
      index: maskIndex,
      masking,
    });
    return compileRowMasker(actions);
  }
}

/** A statement's columns with the formats that a Bind asked for (none = text, one = for all, else one each). */
export function withFormats(columns: readonly ResultColumn[], formats: readonly number[]): ResultColumn[] {
  return columns.map((column, index) => {
    const format = formats.length === 1 ? formats[0] : formats[index];
    return { ...column, format: format === 1 ? 1 : 0 };
  });
}
