/** Facts in one line, so that tables of statements stay readable: `read id=customers.id x<customers.ssn | pred`. */
import type { ColumnRef, StatementFacts } from './statement.ts';

const column = (ref: ColumnRef): string => `${ref.relation}.${ref.column}`;
const columns = (refs: readonly ColumnRef[]): string =>
  [...new Set(refs.map((ref) => column(ref)))].toSorted().join(',');

/** `name=source` for a verbatim column, `name<sources` for a value that depends on them. */
export function lineageLine(facts: StatementFacts): string {
  const { lineage } = facts;
  if (!lineage.resolved) return `unresolved: ${lineage.reason}`;
  const outputs = lineage.outputs.map(
    (output) => `${output.name}${output.verbatim ? '=' : '<'}${columns(output.sources)}`,
  );
  const predicates = columns(lineage.predicates);
  return [...outputs, ...(predicates === '' ? [] : [`| ${predicates}`])].join(' ');
}
