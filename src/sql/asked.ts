/** What one lineage analysis has met besides predicates: questions that a masking rule can allow. */
import type { SelectStmt } from 'libpg-query';
import { noSources, type Sources } from './scope.ts';

export interface Asked {
  /** Columns of which it is asked only whether they are NULL. */
  readonly nullTests: Set<number>;
  /** Columns that are compared with constants in the WHERE of `outermost`, with the number of constants. */
  readonly equalities: Map<number, number>;
  /** The SELECT that is the statement itself. */
  readonly outermost: SelectStmt | undefined;
}

/** Of what is left, nothing depends on the values. */
export function askedIfNull(run: Asked, sources: Sources): Sources {
  for (const key of sources) run.nullTests.add(key);
  return noSources;
}
