/** Trying masks: what a value of one's own would become. The same functions as in flight. */
import { CountersignError } from '../errors.ts';
import { contentAction, type ColumnAction } from './plan.ts';
import { appliesTo, compileMasking, type ConnectionMasking, type MaskingTemplate, type MaskSpec } from './policy.ts';
import { maskCell } from './rows.ts';
import { typeOid } from './type-oids.ts';

export const trialTypes = [
  'text',
  'varchar',
  'date',
  'timestamp',
  'timestamptz',
  'int4',
  'int8',
  'numeric',
  'float8',
  'uuid',
  'json',
  'jsonb',
  'inet',
] as const;

export interface MaskTrial {
  /** As PostgreSQL writes it. */
  readonly value: string;
  readonly type: (typeof trialTypes)[number];
  /** `column`, `table.column` or `schema.table.column`: the rules for it decide, then content. */
  readonly column?: string | undefined;
  /** This mask, whatever the rules say. */
  readonly mask?: MaskSpec | undefined;
}

export interface TriedMask {
  /** null = NULL is delivered. */
  readonly masked: string | null;
  /** What decided: a rule or the mask that was given, a detector, or nothing: the value goes out as it is. */
  readonly by: 'rule' | 'mask' | 'detector' | 'nothing';
  /** Where the rule stands: `template/columns[2]`. */
  readonly rule: string | null;
  readonly mask: MaskSpec | null;
}

/** @param hashKey for `hash`; never the deployment's, which would make a dictionary of every hashed column */
export function tryMask(
  templates: readonly MaskingTemplate[],
  labels: Readonly<Record<string, string>>,
  trial: MaskTrial,
  hashKey: Buffer,
): TriedMask {
  const masking = compileMasking(
    templates.filter((template) => appliesTo(template, labels)),
    labels,
    { hashKey },
  );
  const form = { typeOid: typeOid[trial.type], format: 0 } as const;
  const rule = trial.mask === undefined ? ruleFor(trial.column, masking) : undefined;
  const mask = trial.mask ?? rule?.mask;
  const action: ColumnAction =
    mask === undefined
      ? contentAction(form, masking)
      : { kind: 'mask', mask, ruleId: rule?.id ?? '', hash: masking.hash, hidesNull: false, ...form };
  const masked = maskCell(action, Buffer.from(trial.value, 'utf8'))?.toString('utf8') ?? null;
  const found = masked === trial.value ? 'nothing' : 'detector';
  return {
    masked,
    by: trial.mask !== undefined ? 'mask' : rule !== undefined ? 'rule' : found,
    rule: rule?.id ?? null,
    mask: mask ?? null,
  };
}

function ruleFor(name: string | undefined, masking: ConnectionMasking) {
  if (name === undefined) return undefined;
  const parts = name.split('.');
  const [column, table, schema] = parts.toReversed();
  if (parts.length > 3 || column === undefined || parts.includes('')) {
    throw new CountersignError('input_invalid', `${JSON.stringify(name)} names no column`, {
      hint: 'write column, table.column or schema.table.column',
    });
  }
  return masking.columnRule(schema ?? 'public', table ?? '', column);
}
