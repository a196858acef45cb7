/** EXPLAIN, never ANALYZE: what the target expects of a statement, without the constants in it unless asked for. */
import type { ExplainNode } from './job-plan.ts';
import type { TargetReader } from './target-reader.ts';

const conditionFields = ['Index Cond', 'Recheck Cond', 'Filter', 'Join Filter', 'Hash Cond', 'Merge Cond', 'TID Cond'];

/** @param conditions whether to keep the conditions of nodes: they quote constants, and statistics choose them */
export async function explain(reader: TargetReader, sql: string, conditions: boolean): Promise<ExplainNode> {
  const { rows } = await reader.query(`explain (format json, costs true, verbose false) ${sql}`);
  const text = rows.map((row) => row[0] ?? '').join('\n');
  const parsed: unknown = JSON.parse(text);
  const plan = Array.isArray(parsed) ? (parsed[0] as { Plan?: unknown } | undefined)?.Plan : undefined;
  if (plan === undefined) throw new Error('the target answered EXPLAIN with something else than a plan');
  return nodeOf(plan as Record<string, unknown>, conditions);
}

function nodeOf(raw: Record<string, unknown>, conditions: boolean): ExplainNode {
  const text = (field: string) => (typeof raw[field] === 'string' ? raw[field] : undefined);
  const condition = conditionFields.flatMap((field) => (text(field) === undefined ? [] : [`${field}: ${text(field)}`]));
  const children = Array.isArray(raw['Plans']) ? (raw['Plans'] as Record<string, unknown>[]) : [];
  return {
    node: text('Node Type') ?? '?',
    relation: text('Relation Name'),
    index: text('Index Name'),
    rows: Number(raw['Plan Rows'] ?? 0),
    cost: Number(raw['Total Cost'] ?? 0),
    width: Number(raw['Plan Width'] ?? 0),
    condition: conditions && condition.length > 0 ? condition.join('; ') : undefined,
    children: children.map((child) => nodeOf(child, conditions)),
  };
}

/** Whether the plan reads some table from end to end. */
export function scansWhole(node: ExplainNode): boolean {
  return node.node === 'Seq Scan' || node.children.some(scansWhole);
}
