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
  /** Class of each statement in the text. Left out counts as `unknown`, which matches every workflow's `classes`. */
  readonly classes?: readonly StatementClass[] | undefined;
}

export interface GrantTarget {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** The server's own identifier (PostgreSQL: pg_control_system().system_identifier). */
  readonly systemIdentifier: string;
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
  /** null = no cap. */
  readonly caps: { readonly rows: number | null; readonly bytes: number | null };
  /** Who may execute: whoever holds the duty and, where groups are named, is in one of them. */
  readonly executors: { readonly duty: 'executor' | 'designer'; readonly groups: readonly string[] };
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
    executors: { duty: input.executors.duty, groups: sorted(input.executors.groups) },
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

/** One field of the digest, in words. `value` is undefined where the field is absent. */
interface Field {
  readonly label: string;
  readonly value: Json | undefined;
  /** The value itself may be shown to people: it is no data and no secret. */
  readonly plain?: boolean;
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
  const { job, statement, target, plan, output, caps, executors, expiry } = input;
  return [
    { label: 'request kind', value: input.kind, plain: true },
    { label: 'job name', value: job?.name, plain: true },
    { label: 'job path', value: job?.path, plain: true },
    { label: 'job content', value: job?.contentDigest },
    { label: 'commit', value: job?.commit },
    { label: 'authors', value: job?.authors.map(({ human, name, role }) => ({ human, name, role })) },
    { label: 'statement text', value: statement?.text },
    { label: 'statement parameters', value: statement?.parameters },
    { label: 'statement classes', value: statement?.classes, plain: true },
    { label: 'target host', value: target.host, plain: true },
    { label: 'target port', value: target.port, plain: true },
    { label: 'target database', value: target.database, plain: true },
    { label: 'target system identifier', value: target.systemIdentifier, plain: true },
    { label: 'target engine', value: target.engine, plain: true },
    { label: 'search_path', value: input.searchPath, plain: true },
    ...definitionFields(input),
    ...Object.entries(input.parameters).map(([name, value]) => ({ label: `parameter ${name}`, value })),
    { label: 'chunk strategy', value: plan?.strategy, plain: true },
    { label: 'chunk key', value: plan?.key, plain: true },
    { label: 'chunk count', value: plan?.count, plain: true },
    { label: 'chunk bounds', value: plan?.bounds },
    ...Object.entries(output ?? {}).map(([name, value]) => ({ label: `output ${name}`, value, plain: true })),
    { label: 'masking policy', value: input.maskingDigest },
    { label: 'row cap', value: caps.rows, plain: true },
    { label: 'byte cap', value: caps.bytes, plain: true },
    { label: 'who may execute: duty', value: executors.duty, plain: true },
    { label: 'who may execute: groups', value: executors.groups, plain: true },
    { label: 'expiry', value: expiry.durationMs, plain: true },
  ];
}

/** One field for each name; two definitions of one name (overloaded functions) are one field of several digests. */
function definitionFields(input: GrantInput): Field[] {
  const byName = Map.groupBy(input.definitions, (definition) => definition.name);
  return [...byName].map(([name, definitions]) => {
    const digests = definitions.map((definition) => definition.digest);
    return { label: `definition of ${name}`, value: digests.length === 1 ? digests[0] : digests };
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
