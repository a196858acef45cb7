/**
 * Masking: which values may not leave as they are, and what leaves instead. This folder knows rules (this file), where
 * a rule reaches in one target's catalogue (`mask-index.ts`), what happens to each column of one result (`plan.ts`),
 * how a mask looks in each data type (`types.ts`), what gives a secret away by its content (`detectors.ts`), and how
 * rows are rewritten in flight (`rows.ts`). It decides nothing about statements and does no I/O.
 *
 * For the forms of values: PostgreSQL's documentation, chapters 8 and 55.
 */
import { createHmac } from 'node:crypto';
import { CountersignError } from '../errors.ts';
import { digestOf, type Json } from '../lib/canonical-json.ts';
import type { HashValue, KeyedHash, StreamedHash } from './digests.ts';
import { compileDetectors, type CompiledDetectors, type DetectorRule } from './detectors.ts';
import { compileGlob, foldCase } from './glob.ts';

export type MaskSpec =
  | 'redact'
  | 'null'
  | 'last4'
  | 'hash'
  | 'email-domain'
  | 'year'
  | { readonly kind: 'partial'; readonly keepStart: number; readonly keepEnd: number }
  | { readonly kind: 'truncate-date'; readonly to: 'year' | 'month' }
  | { readonly kind: 'round'; readonly to: number };

/**
 * What a statement may do with a masked column besides returning it: nothing; ask whether it is NULL; or, besides that,
 * compare it with so many constants an hour, in all sessions of one human on one connection.
 */
export type PredicateRule = 'deny' | 'is-null' | { readonly kind: 'equality'; readonly perHour: number };

export interface MaskingTemplate {
  readonly name: string;
  /** Connection labels that must all match; empty = every connection. */
  readonly appliesTo: Readonly<Record<string, string>>;
  /** `match`: `column`, `table.column` or `schema.table.column`; `*` in any part stands for any characters; case does not count. */
  readonly columns: readonly {
    readonly match: string;
    readonly mask: MaskSpec;
    /** Default: deny. */
    readonly predicates?: PredicateRule | undefined;
  }[];
  readonly detectors: readonly DetectorRule[];
}

export interface ColumnRule {
  /** Where the rule stands: `template/columns[2]`. */
  readonly id: string;
  readonly mask: MaskSpec;
  /** Not said counts as deny. */
  readonly predicates?: PredicateRule | undefined;
}

/** The rules of one connection, ready for use. */
export interface ConnectionMasking {
  /** SHA-256 (hex) over the canonical JSON of the templates that apply and the identifier of the hash key. */
  readonly digest: string;
  /** False when no template has a column rule, so that no catalogue needs to be searched. */
  readonly hasColumnRules: boolean;
  /** The strongest rule that matches. System schemas are matched only by rules that name the schema without `*`. */
  columnRule(schema: string, table: string, column: string): ColumnRule | undefined;
  readonly detectors: CompiledDetectors;
  readonly hash: KeyedHash;
}

/**
 * @param labels the connection's labels
 * @throws CountersignError `configuration_invalid` naming the template and the rule
 */
export function compileMasking(
  templates: readonly MaskingTemplate[],
  labels: Readonly<Record<string, string>>,
  options: { readonly hashKey: Uint8Array },
): ConnectionMasking {
  const applying = templates.filter((template) => appliesTo(template, labels));
  const patterns = applying.flatMap((template) =>
    template.columns.map((column, index) => compilePattern(`${template.name}/columns[${index}]`, column)),
  );
  const hash = keyedHash(options.hashKey);
  return {
    digest: digestOf({
      templates: applying as unknown as Json,
      hashKeyId: createHmac('sha256', options.hashKey).update('countersign masking key id').digest('hex').slice(0, 32),
    }),
    hasColumnRules: patterns.length > 0,
    columnRule: (schema, table, column) => {
      let found: ColumnRule | undefined;
      for (const pattern of patterns) {
        if (pattern.matches(schema, table, column)) found = strongerRule(found, pattern.rule);
      }
      return found;
    },
    detectors: compileDetectors(
      applying.flatMap((template) => template.detectors.map((rule) => ({ ...rule, template: template.name }))),
      hash,
    ),
    hash,
  };
}

function keyedHash(key: Uint8Array): KeyedHash {
  const begin = (): StreamedHash => {
    const hmac = createHmac('sha256', key);
    return {
      update: (piece) => void hmac.update(piece),
      end: () => hmac.digest(),
    };
  };
  const whole: HashValue = (value) => createHmac('sha256', key).update(value).digest();
  return Object.assign(whole, { begin });
}

/** Do all of the template's labels match? */
export function appliesTo(
  template: Pick<MaskingTemplate, 'appliesTo'>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(template.appliesTo).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  );
}

interface ColumnPattern {
  readonly rule: ColumnRule;
  matches(schema: string, table: string, column: string): boolean;
}

const systemSchemas: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema', 'pg_toast']);

function compilePattern(id: string, { match, mask, predicates }: MaskingTemplate['columns'][number]): ColumnPattern {
  const parts = match.split('.');
  if (parts.length > 3 || parts.some((part) => part === '')) {
    throw new CountersignError(
      'configuration_invalid',
      `masking rule ${id}: cannot read the pattern ${JSON.stringify(match)}`,
      {
        hint: 'write column, table.column or schema.table.column; * stands for any characters, also for a dot inside a name',
      },
    );
  }
  checkMask(id, mask);
  if (typeof predicates === 'object' && !(Number.isSafeInteger(predicates.perHour) && predicates.perHour > 0)) {
    throw new CountersignError(
      'configuration_invalid',
      `masking rule ${id}: equality cannot take ${predicates.perHour}`,
    );
  }
  const [column, table, schema] = parts.toReversed();
  const columnGlob = compileGlob(column ?? '*');
  const tableGlob = compileGlob(table ?? '*');
  const schemaGlob = compileGlob(schema ?? '*');
  const reachesSystem = schema !== undefined && !schema.includes('*');
  return {
    rule: predicates === undefined ? { id, mask } : { id, mask, predicates },
    matches: (inSchema, inTable, inColumn) =>
      (reachesSystem || !systemSchemas.has(inSchema)) &&
      columnGlob(foldCase(inColumn)) &&
      tableGlob(foldCase(inTable)) &&
      schemaGlob(foldCase(inSchema)),
  };
}

/** The configuration's schema says the same; a rule that came another way must not be a rule that masks nothing. */
function checkMask(id: string, mask: MaskSpec): void {
  if (typeof mask === 'string' || mask.kind === 'truncate-date') return;
  const numbers = mask.kind === 'round' ? [mask.to] : [mask.keepStart, mask.keepEnd];
  const sound =
    mask.kind === 'round'
      ? mask.to > 0 && Number.isFinite(mask.to)
      : numbers.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!sound)
    throw new CountersignError(
      'configuration_invalid',
      `masking rule ${id}: ${mask.kind} cannot take ${numbers.join(', ')}`,
    );
}

/** Of two rules the one whose mask shows less; of equals the first. What it lets predicates do is the less of both. */
export function strongerRule(first: ColumnRule | undefined, second: ColumnRule | undefined): ColumnRule | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  const rule = compareMasks(second.mask, first.mask) > 0 ? second : first;
  const [one, other] = [predicatesOf(first), predicatesOf(second)];
  const predicates = allowance(one) <= allowance(other) ? one : other;
  return predicates === predicatesOf(rule) ? rule : { ...rule, predicates };
}

export function predicatesOf(rule: ColumnRule | undefined): PredicateRule {
  return rule?.predicates ?? 'deny';
}

function allowance(rule: PredicateRule): number {
  return rule === 'deny' ? -1 : rule === 'is-null' ? 0 : rule.perHour;
}

/** Whether `second` adds something to `first`: another mask that shows less, or less for predicates. */
export function isStronger(second: ColumnRule, first: ColumnRule | undefined): boolean {
  if (first === undefined || compareMasks(second.mask, first.mask) > 0) return true;
  return allowance(predicatesOf(second)) < allowance(predicatesOf(first));
}

/** Positive when `a` shows less than `b`. A total order: kinds first, then the kinds' own numbers. */
export function compareMasks(a: MaskSpec, b: MaskSpec): number {
  const [kindA, withinA] = strength(a);
  const [kindB, withinB] = strength(b);
  return kindA - kindB || withinA - withinB;
}

/** A higher rank shows less. Masks with the same rank are told apart by their numbers. */
const rankOf = {
  null: 9,
  redact: 8,
  hash: 7,
  year: 6,
  'truncate-date': 6,
  round: 5,
  'email-domain': 4,
  last4: 3,
  partial: 3,
} as const;

/** [rank of the kind, rank within the kind]. */
function strength(mask: MaskSpec): readonly [number, number] {
  if (typeof mask === 'string') return [rankOf[mask], mask === 'year' ? 1 : mask === 'last4' ? -4 : 0];
  if (mask.kind === 'truncate-date') return [rankOf[mask.kind], mask.to === 'year' ? 1 : 0];
  if (mask.kind === 'round') return [rankOf[mask.kind], mask.to];
  return [rankOf[mask.kind], -(mask.keepStart + mask.keepEnd)];
}
