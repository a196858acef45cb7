/**
 * How the planner reaches a target: through these few questions, which the gate answers. `query` sees raw values and is
 * for planning only (estimates, bounds of a key that is not masked); whatever people see comes from `maskedSample`.
 */
import type { Catalogue, ColumnRef, StatementFacts } from '../sql/statement.ts';

/** A column of a result, as RowDescription has it. */
export interface ReaderColumn {
  readonly name: string;
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  readonly typeModifier: number;
}

export interface ReaderResult {
  readonly columns: readonly ReaderColumn[];
  /** Text format. */
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface TargetReader {
  /** Runs one read-only statement in its own transaction under the planner's own statement time-out. @throws CountersignError or the driver's error with its SQLSTATE in `code` */
  query(sql: string): Promise<ReaderResult>;
  catalogue(): Promise<Catalogue>;
  /** What the gate knows of one statement. */
  facts(sql: string, catalogue: Catalogue): StatementFacts;
  /** Name of the mask that a column rule puts on this base column; undefined = none. */
  maskOf(column: ColumnRef): string | undefined;
  /** Whether the rules of the column let a condition ask if it is NULL. */
  letsTestNull(column: ColumnRef): boolean;
  /** Name of the mask of each output column, by origin, lineage and rule, whichever is widest. @throws lineage_unresolved */
  outputMasks(facts: StatementFacts, columns: readonly ReaderColumn[]): readonly (string | undefined)[];
  /** What a client would be shown of a value in each output column: masks and detectors applied. @throws lineage_unresolved */
  shownCells(facts: StatementFacts, columns: readonly ReaderColumn[]): (column: number, value: string) => string | null;
  /** The first rows of the statement as the executor would get them, through the ordinary masking path. */
  maskedSample(
    sql: string,
    limit: number,
  ): Promise<{ readonly columns: readonly string[]; readonly rows: readonly (readonly (string | null)[])[] }>;
}
