import colors from 'picocolors';
import { bytes, count, facts, table } from './output.ts';

/** A plan as the API gives it; the parts that people read. */
export interface PlanView {
  readonly strategy: string;
  readonly reason: string;
  readonly source: string;
  readonly key: readonly {
    readonly column: string;
    readonly type: string;
    readonly source: string;
    readonly notNullProved: boolean;
  }[];
  readonly chunks: readonly {
    readonly no: number;
    readonly lower?: readonly string[];
    readonly upper?: readonly string[];
    readonly nulls: boolean;
  }[];
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
  readonly outputs: readonly {
    readonly name: string;
    readonly typeName: string;
    readonly sources: readonly string[];
    readonly mask?: string;
  }[];
  readonly sample: { readonly columns: readonly string[]; readonly rows: readonly (readonly (string | null)[])[] };
  readonly output: { readonly format: string; readonly to: string };
  readonly limits: {
    readonly rows?: number;
    readonly bytes?: number;
    readonly concurrency: number;
    readonly rowsPerSecond?: number;
    readonly statementTimeoutMs: number;
  };
  readonly warnings: readonly string[];
}

/** What an approver reads: what leaves, in which pieces, under which masks, and how it looks. */
export function planText(plan: PlanView): string {
  const { limits } = plan;
  const bounds = plan.chunks.filter((chunk) => !chunk.nulls).slice(0, 4);
  return [
    colors.bold('plan'),
    facts([
      [
        'chunks',
        `${plan.chunks.length} by ${plan.key.map((key) => key.column).join(', ') || '(no key)'}: ${plan.strategy}, ${plan.reason}`,
      ],
      [
        'bounds',
        bounds.map((chunk) => `[${chunk.lower?.join(',') ?? '-∞'}, ${chunk.upper?.join(',') ?? '∞'})`).join(' ') +
          (plan.chunks.length > bounds.length ? ' …' : ''),
      ],
      [
        'NULL keys',
        plan.chunks.some((chunk) => chunk.nulls) ? 'a chunk of their own' : 'none: the key is proved NOT NULL',
      ],
      ['estimate', `${count(plan.estimatedRows)} rows, ${bytes(plan.estimatedBytes)}`],
      ['output', `${plan.output.format} to ${plan.output.to}`],
      [
        'limits',
        [
          limits.rows === undefined ? 'no row cap' : `${count(limits.rows)} rows`,
          limits.bytes === undefined ? 'no byte cap' : bytes(limits.bytes),
          `${limits.concurrency} at a time`,
          limits.rowsPerSecond === undefined ? 'no throttle' : `${count(limits.rowsPerSecond)} rows/s`,
        ].join(', '),
      ],
      ...plan.warnings.map((warning): [string, string] => ['warning', colors.yellow(warning)]),
    ]),
    '',
    table(
      ['OUTPUT COLUMN', 'TYPE', 'COMES FROM', 'MASK'],
      plan.outputs.map((column) => [
        column.name,
        column.typeName,
        column.sources.join(', ') || '(constant)',
        column.mask === undefined ? colors.dim('none (detectors only)') : colors.green(column.mask),
      ]),
    ),
    '',
    colors.bold(`masked sample (first ${Math.min(plan.sample.rows.length, 5)} of ${plan.sample.rows.length} rows)`),
    table(
      plan.sample.columns,
      plan.sample.rows.slice(0, 5).map((row) => row.map((cell) => (cell === null ? null : shorten(cell)))),
    ),
  ].join('\n');
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length > 32 ? `${line.slice(0, 31)}…` : line;
}
