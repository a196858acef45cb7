/** What a statement asks about masked columns besides returning them, against what the columns' rules let it ask. */
import { predicatesOf } from '../masking/policy.ts';
import type { ColumnRef, Lineage } from '../sql/statement.ts';
import type { CatalogueSnapshot } from './connection.ts';

/** Comparisons with constants that each execution takes from the budget of one masking rule. */
export interface EqualityTests {
  readonly rule: string;
  readonly values: number;
  /** Per hour. */
  readonly limit: number;
}

export interface MaskedPredicates {
  /** Columns of which more is asked than their rules let, as schema.relation.column. */
  readonly refused: readonly string[];
  /** Columns that are compared with constants as their rules let it. */
  readonly compared: readonly string[];
  readonly tests: readonly EqualityTests[];
}

const nothing: MaskedPredicates = { refused: [], compared: [], tests: [] };

export function maskedPredicatesOf(lineage: Lineage, { maskIndex }: CatalogueSnapshot): MaskedPredicates {
  if (!lineage.resolved || lineage.predicates.length + lineage.nullTests.length === 0) return nothing;
  const ruleOf = (column: ColumnRef) => maskIndex.rule(column.relationOid, column.attnum);
  const compared: string[] = [];
  const tests: EqualityTests[] = [];
  for (const { column, values } of lineage.equalities) {
    const rule = ruleOf(column);
    const allowed = predicatesOf(rule);
    if (rule === undefined || typeof allowed === 'string') continue;
    compared.push(nameOf(column));
    tests.push({ rule: rule.id, values, limit: allowed.perHour });
  }
  const isRefusedNullTest = (column: ColumnRef) => {
    const rule = ruleOf(column);
    return rule !== undefined && predicatesOf(rule) === 'deny';
  };
  const refused = [
    ...lineage.predicates.filter((column) => ruleOf(column) !== undefined && !compared.includes(nameOf(column))),
    ...lineage.nullTests.filter(isRefusedNullTest),
  ];
  return { refused: refused.map((column) => nameOf(column)), compared, tests: sumByRule(tests) };
}

/** Columns of one rule share its budget; of several limits the smallest counts. */
export function sumByRule(all: readonly EqualityTests[]): readonly EqualityTests[] {
  const sums = new Map<string, EqualityTests>();
  for (const { rule, values, limit } of all) {
    const sum = sums.get(rule);
    sums.set(rule, {
      rule,
      values: values + (sum?.values ?? 0),
      limit: Math.min(limit, sum?.limit ?? limit),
    });
  }
  return [...sums.values()];
}

function nameOf(column: ColumnRef): string {
  return `${column.schema}.${column.relation}.${column.column}`;
}
