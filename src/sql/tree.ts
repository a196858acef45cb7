/**
 * Reading PostgreSQL's raw parse tree as libpg_query prints it: every node is an object with one key, its kind; a field
 * that holds a node of one fixed kind (`larg`, `relation`, `typeName` …) has the body without that key; a field with
 * the default value (0, false, empty) is left out.
 */
import type { A_Const, Node } from 'libpg-query';

type KeysOf<U> = U extends unknown ? keyof U : never;
export type NodeKind = KeysOf<Node>;
type BodyOf<K extends NodeKind> = Extract<Node, Record<K, unknown>>[K];
/** A node with its kind as a discriminant. */
export type Tagged = { [K in NodeKind]: { readonly kind: K; readonly body: BodyOf<K> } }[NodeKind];

/** undefined for a missing node and for `{}`, which stands for a null pointer in a list. */
export function tagged(node: Node | undefined): Tagged | undefined {
  if (node === undefined) return undefined;
  for (const kind in node) return { kind, body: (node as Record<string, unknown>)[kind] } as Tagged;
  return undefined;
}

export function kindSet<K extends NodeKind>(...kinds: readonly K[]): ReadonlySet<K> {
  return new Set(kinds);
}

/** As `tagged`, for a switch that must have a line for each kind of its set and one for all others (and for nothing). */
export type TaggedAs<K extends NodeKind> =
  | { readonly [P in K]: { readonly kind: P; readonly body: BodyOf<P> } }[K]
  | { readonly kind: 'other'; readonly name: string };

export function taggedAs<K extends NodeKind>(node: Node | undefined, kinds: ReadonlySet<K>): TaggedAs<K> {
  const found = tagged(node);
  if (found === undefined) return { kind: 'other', name: 'nothing' };
  return (kinds as ReadonlySet<string>).has(found.kind) ? (found as TaggedAs<K>) : { kind: 'other', name: found.kind };
}

export function bodyIf<K extends NodeKind>(node: Node | undefined, kind: K): BodyOf<K> | undefined {
  if (node === undefined) return undefined;
  return (node as unknown as Partial<Record<K, BodyOf<K>>>)[kind];
}

/** The text of a String node. */
export function stringOf(node: Node | undefined): string | undefined {
  const string = bodyIf(node, 'String');
  return string === undefined ? undefined : (string.sval ?? '');
}

/** The strings of a list of String nodes; anything else in it (a star, a subscript) is left out. */
export function stringsOf(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => stringOf(node) ?? []);
}

/** The integer of a constant; zero is printed as an empty object. */
export function integerOf(node: Node | undefined): number | undefined {
  const constant = bodyIf(node, 'A_Const');
  return constant?.ival === undefined ? undefined : (constant.ival.ival ?? 0);
}

/** A constant as text, as SET takes it. */
export function constantText(constant: A_Const): string | undefined {
  if (constant.sval !== undefined) return constant.sval.sval ?? '';
  if (constant.ival !== undefined) return String(constant.ival.ival ?? 0);
  if (constant.fval !== undefined) return constant.fval.fval;
  if (constant.boolval !== undefined) return constant.boolval.boolval === true ? 'true' : 'false';
  return undefined;
}

export type Tree = { readonly [field: string]: unknown };

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isKind(field: string): boolean {
  const code = field.charCodeAt(0);
  return code >= 65 && code <= 90;
}
