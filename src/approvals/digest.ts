/**
 * What an approval is bound to (promise P4, design §5): one value that holds everything that decides what will run,
 * its digest, and the comparison that says in words what drifted. The approver's screen shows every field of it.
 */
import { canonicalJson, digestOf, sha256Hex, type Json } from '../lib/canonical-json.ts';
import type { StatementClass } from '../sql/statement.ts';
import type { AuthorRecord, RequestKind } from '../store/database.ts';

export interface GrantJob {
  readonly name: string;
  /** Path of the definition file in the job repository. */
  readonly path: string;
  /** SHA-256 of the definition file, hex. */
  readonly contentDigest: string;
  readonly commit: string;
  /** Everybody who contributed to this version. */
  readonly authors: readonly AuthorRecord[];
}

export interface GrantStatement {
  /** Exactly the text that is forwarded. */
  readonly text: string;
  /** Bound values in order, as text; undefined = none bound. */
  readonly parameters?: readonly (string | null)[] | undefined;
  /** Of each bound value: the OID of the type that the client declared (0 = none), and how the value was sent. */
  readonly parameterKinds?: readonly { readonly type: number; readonly format: 'text' | 'binary' }[] | undefined;
  /** Class of each statement in the text. Left out counts as `unknown`, which matches every workflow's `classes`. */
  readonly classes?: readonly StatementClass[] | undefined;
  /** Not one execution of the text is approved, but every step of the loop that it is a step of. */
  readonly template?: GrantTemplate | undefined;
}

/** A loop that may go on: the same statement, whose range of keys moves. Its row cap and expiry are the grant's. */
export interface GrantTemplate {
  /** The statement with `:lo` and `:hi` in place of what moves. For people; `shape` is what counts. */
  readonly text: string;
  /** SHA-256 over the parse tree without what moves, and over every other parameter. */
  readonly shape: string;
  /** `range`: lower and upper bound of a key; `keyset`: its lower bound, under LIMIT; `offset`: the position of a row. */
  readonly form: 'range' | 'keyset' | 'offset';
  /** `schema.relation.column`, or `position`. */
  readonly key: string;
  /** The smallest and the largest key that a step may reach, both included. Decimal integers. */
  readonly lowest: string;
  readonly highest: string;
  /** How many statements may use it. */
  readonly uses: number;
  /** Sessions of the same principal on the same connection that began later may use it, too. */
  readonly anySession: boolean;
}

export interface GrantTarget {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** The server's own identifier (PostgreSQL: pg_control_system().system_identifier). */
  readonly systemIdentifier: string;
  /** Another database of the same name has another. */
  readonly databaseOid: string;
  /** Rises when a server is restored to a point in time, or promoted. */
  readonly timeline: number;
  readonly engine: string;
}

export interface GrantPlan {
  readonly strategy: string;
  /** Key column or columns; empty for one chunk. */
  readonly key: readonly string[];
  readonly count: number;
  /** The frozen bounds, as the planner keeps them. They are raw values: shown to nobody, only digested. */
  readonly bounds: Json;
}

export interface GrantInput {
  readonly kind: Exclude<RequestKind, 'policy'>;
  /** For kind `job`. */
  readonly job?: GrantJob | undefined;
  /** For kind `statement`. */
  readonly statement?: GrantStatement | undefined;
  readonly target: GrantTarget;
  readonly searchPath: readonly string[];
  /** Every relation, view and function touched: qualified name, SHA-256 of its definition. */
  readonly definitions: readonly { readonly name: string; readonly digest: string }[];
  /** Job parameters by name: type, range and value. */
  readonly parameters: { readonly [name: string]: Json };
  readonly plan?: GrantPlan | undefined;
  readonly output?: { readonly [member: string]: Json } | undefined;
  /** Digest of the connection's compiled masking rules. */
  readonly maskingDigest: string;
  /** For kind `statement`: digest of the policies under which it was held. They decide what is denied whoever approves. */
  readonly policyDigest?: string | undefined;
  /** null = no cap. */
  readonly caps: { readonly rows: number | null; readonly bytes: number | null };
  /** Who may execute: whoever holds the duty, is in one of the groups that are named, and is what else is named. */
  readonly executors: {
    readonly duty: 'executor' | 'designer';
    readonly groups: readonly string[];
    /** For kind `statement`: whose statement waits, and in which session; undefined = in any of theirs. */
    readonly principal?: string | undefined;
    readonly session?: string | undefined;
  };
  /** How long the grant may be used once it is approved. */
  readonly expiry: { readonly durationMs: number };
}

/** Orders what has no order (authors, definitions, groups), so that equal things have equal digests. */
function normalised(input: GrantInput): GrantInput {
  const sorted = <T extends Json>(items: readonly T[]): T[] =>
    items.toSorted((a, b) => compare(canonicalJson(a), canonicalJson(b)));
  const author = ({ human, name, role }: AuthorRecord) => ({ human, name, role });
  return {
    ...input,
    ...(input.job === undefined ? {} : { job: { ...input.job, authors: sorted(input.job.authors.map(author)) } }),
    definitions: sorted(input.definitions.map(({ name, digest }) => ({ name, digest }))),
    executors: { ...input.executors, groups: sorted(input.executors.groups) },
  };
}

/** The canonical JSON (RFC 8785) that is digested and stored. */
export function grantInputJson(input: GrantInput): string {
  // GrantInput is plain JSON throughout; an interface has no index signature, hence the cast.
  return canonicalJson(normalised(input) as unknown as Json);
}

/** SHA-256 over the canonical JSON, lower-case hex. */
export function grantDigest(input: GrantInput): string {
  return sha256Hex(grantInputJson(input));
}

/** Paths of everything in a `GrantInput` that is a value of its own. */
type PathOf<T> = {
  [K in keyof T & string]-?: HasMembers<NonNullable<T[K]>> extends true ? `${K}.${PathOf<NonNullable<T[K]>>}` : K;
}[keyof T & string];

/** Lists, whatever JSON and members with names of their own are values. */
type HasMembers<T> = [T] extends [string | number | boolean | readonly unknown[]]
  ? false
  : [NonNullable<Json>] extends [T]
    ? false
    : string extends keyof T
      ? false
      : true;

export type GrantField = PathOf<GrantInput>;

/** In words; `plain`: the value itself may be shown to people, because it is no data and no secret. */
const fields: Readonly<Record<GrantField, { readonly label: string; readonly plain?: boolean }>> = {
  kind: { label: 'request kind', plain: true },
  'job.name': { label: 'job name', plain: true },
  'job.path': { label: 'job path', plain: true },
  'job.contentDigest': { label: 'job content' },
  'job.commit': { label: 'commit' },
  'job.authors': { label: 'authors' },
  'statement.text': { label: 'statement text' },
  'statement.parameters': { label: 'statement parameters' },
  'statement.parameterKinds': { label: 'types of statement parameters', plain: true },
  'statement.classes': { label: 'statement classes', plain: true },
  'statement.template.text': { label: 'template text' },
  'statement.template.shape': { label: 'template' },
  'statement.template.form': { label: 'template form', plain: true },
  'statement.template.key': { label: 'template key', plain: true },
  'statement.template.lowest': { label: 'lowest key' },
  'statement.template.highest': { label: 'highest key' },
  'statement.template.uses': { label: 'cap on uses', plain: true },
  'statement.template.anySession': { label: 'later sessions', plain: true },
  'target.host': { label: 'target host', plain: true },
  'target.port': { label: 'target port', plain: true },
  'target.database': { label: 'target database', plain: true },
  'target.systemIdentifier': { label: 'target system identifier', plain: true },
  'target.databaseOid': { label: 'target database OID', plain: true },
  'target.timeline': { label: 'target timeline', plain: true },
  'target.engine': { label: 'target engine', plain: true },
  searchPath: { label: 'search_path', plain: true },
  definitions: { label: 'definition of' },
  parameters: { label: 'parameter' },
  'plan.strategy': { label: 'chunk strategy', plain: true },
  'plan.key': { label: 'chunk key', plain: true },
  'plan.count': { label: 'chunk count', plain: true },
  'plan.bounds': { label: 'chunk bounds' },
  output: { label: 'output', plain: true },
  maskingDigest: { label: 'masking policy' },
  policyDigest: { label: 'policies' },
  'caps.rows': { label: 'row cap', plain: true },
  'caps.bytes': { label: 'byte cap', plain: true },
  'executors.duty': { label: 'who may execute: duty', plain: true },
  'executors.groups': { label: 'who may execute: groups', plain: true },
  'executors.principal': { label: 'who may execute: principal', plain: true },
  'executors.session': { label: 'who may execute: session', plain: true },
  'expiry.durationMs': { label: 'expiry', plain: true },
};

/** Every field of the digest. One that is added to the type has to be added to the list, and needs a test for itself. */
export const grantFields = Object.keys(fields) as readonly GrantField[];

/** How a field is named where it drifted; the names of definitions, parameters and outputs follow it. */
export function fieldLabel(field: GrantField): string {
  return fields[field].label;
}

/** One field of the digest, in words. `value` is undefined where the field is absent. */
interface Field {
  readonly label: string;
  readonly value: Json | undefined;
  /** The value itself may be shown to people: it is no data and no secret. */
  readonly plain?: boolean | undefined;
}

/**
 * What differs between the approved and the current input, in words: `definition of public.customers (3f2a… -> 91bc…)`.
 * Values that can hold data (statement text, parameters, bounds) appear as digests only. Empty exactly when
 * the two digests are equal.
 */
export function drift(approved: GrantInput, current: GrantInput): string[] {
  const before = new Map(fieldsOf(normalised(approved)).map((field) => [field.label, field]));
  const after = new Map(fieldsOf(normalised(current)).map((field) => [field.label, field]));
  const found: string[] = [];
  for (const label of new Set([...before.keys(), ...after.keys()])) {
    const from = before.get(label);
    const to = after.get(label);
    if (text(from) === text(to)) continue;
    found.push(`${label} (${short(from)} -> ${short(to)})`);
  }
  // A field that this list does not know is still part of the digest: never call two different inputs equal.
  if (found.length === 0 && grantDigest(approved) !== grantDigest(current)) {
    found.push(`another field (${grantDigest(approved).slice(0, 12)} -> ${grantDigest(current).slice(0, 12)})`);
  }
  return found;
}

function fieldsOf(input: GrantInput): Field[] {
  return grantFields.flatMap((path): Field[] => {
    const { label, plain } = fields[path];
    if (path === 'definitions') return definitionFields(input, label);
    const value = path
      .split('.')
      .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], input);
    if (path !== 'parameters' && path !== 'output') return [{ label, value: value as Json | undefined, plain }];
    return Object.entries((value ?? {}) as Record<string, Json>).map(([name, one]) => ({
      label: `${label} ${name}`,
      value: one,
      plain,
    }));
  });
}

/** One field for each name; two definitions of one name (overloaded functions) are one field of several digests. */
function definitionFields(input: GrantInput, label: string): Field[] {
  const byName = Map.groupBy(input.definitions, (definition) => definition.name);
  return [...byName].map(([name, definitions]) => {
    const digests = definitions.map((definition) => definition.digest);
    return { label: `${label} ${name}`, value: digests.length === 1 ? digests[0] : digests };
  });
}

function text(field: Field | undefined): string | undefined {
  return field?.value === undefined ? undefined : canonicalJson(field.value);
}

const digestPattern = /^[0-9a-f]{40,}$/;

function short(field: Field | undefined): string {
  if (field?.value === undefined) return 'absent';
  const { value, plain } = field;
  if (typeof value === 'string' && digestPattern.test(value)) return value.slice(0, 12);
  if (plain === true) return typeof value === 'string' ? value : canonicalJson(value);
  return digestOf(value).slice(0, 12);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
