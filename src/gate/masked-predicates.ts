/** What a statement asks about masked columns besides returning them, against what the columns' rules let it ask. */
import { predicatesOf } from '../masking/policy.ts';
import type { ColumnRef, Lineage } from '../sql/statement.ts';
import type { CatalogueSnapshot } from './connection.ts';

/** Comparisons with constants that each execution takes from a budget. */
export interface EqualityTests {
  readonly values: number;
  /** Per hour: the smallest that a rule of one of the columns gives. */
  readonly limit: number;
}

export interface MaskedPredicates {
  /** Columns of which more is asked than their rules let, as schema.relation.column. */
  readonly refused: readonly string[];
  /** Columns that are compared with constants as their rules let it. */
  readonly compared: readonly string[];
  readonly tests: EqualityTests | undefined;
}

const nothing: MaskedPredicates = { refused: [], compared: [], tests: undefined };

export function maskedPredicatesOf(lineage: Lineage, { maskIndex }: CatalogueSnapshot): MaskedPredicates {
  if (!lineage.resolved || lineage.predicates.length + lineage.nullTests.length === 0) return nothing;
  const ruleOf = (column: ColumnRef) => maskIndex.rule(column.relationOid, column.attnum);
  const compared: string[] = [];
  let tests: EqualityTests | undefined;
  for (const { column, values } of lineage.equalities) {
    const allowed = predicatesOf(ruleOf(column));
    if (typeof allowed === 'string') continue;
    compared.push(nameOf(column));
    tests = addTests(tests, { values, limit: allowed.perHour });
  }
  const isRefusedNullTest = (column: ColumnRef) => {
    const rule = ruleOf(column);
    return rule !== undefined && predicatesOf(rule) === 'deny';
  };
  const refused = [
    ...lineage.predicates.filter((column) => ruleOf(column) !== undefined && !compared.includes(nameOf(column))),
    ...lineage.nullTests.filter(isRefusedNullTest),
  ];
  return { refused: refused.map((column) => nameOf(column)), compared, tests };
}

export function addTests(one: EqualityTests | undefined, other: EqualityTests | undefined): EqualityTests | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return { values: one.values + other.values, limit: Math.min(one.limit, other.limit) };
}

function nameOf(column: ColumnRef): string {
  return `${column.schema}.${column.relation}.${column.column}`;
}
