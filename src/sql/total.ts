/**
 * Which operations are total: they go well whatever the value is, and take as long whatever it is. Errors and time are
 * the only things that still tell about a value whose output is masked, so every operation that is not here counts as a
 * predicate on what it is applied to.
 */
import type { A_Expr, FuncCall, JsonOutput, Node, TypeName } from 'libpg-query';
import { totalExceptForTypes, totalFunctions, totalOfOne, totalWithConstants } from './functions.ts';
import { noSources, splitKey, type Sources } from './scope.ts';
import type { Catalogue } from './statement.ts';
import { bodyIf, constantText, integerOf, stringsOf } from './tree.ts';

/** Making text longer, and picking a part of a JSON value: where there is none, the answer is null. */
const totalOperators = new Set(['||', '->', '->>', '#>', '#>>']);

export function isTotalOperator(expression: A_Expr): boolean {
  return expression.kind === 'AEXPR_OP' && totalOperators.has(stringsOf(expression.name).at(-1) ?? '');
}

/** Every value has a text, and an explicit cast cuts it to length. Not "char": a number may be out of its range. */
const totalCasts = new Set(['text', 'varchar', 'bpchar', 'name', 'citext']);

export function isTotalCast(type: TypeName | undefined): boolean {
  const path = stringsOf(type?.names);
  if (path.length > 1 && path[0] !== 'pg_catalog') return false;
  return type?.arrayBounds === undefined && totalCasts.has(path.at(-1) ?? '');
}

/** RETURNING of a JSON constructor: to a length, or to any other type, may fail. */
export function isTotalOutput(output: JsonOutput | undefined): boolean {
  const type = output?.typeName;
  if (type === undefined) return true;
  const name = stringsOf(type.names).at(-1) ?? '';
  return type.arrayBounds === undefined && /^(json|jsonb|text)$/.test(name);
}

/** @param parts the sources of each argument */
export function isTotalCall(call: FuncCall, parts: readonly Sources[], catalogue: Catalogue): boolean {
  const name = stringsOf(call.funcname).at(-1) ?? '';
  // How many arguments an array makes is up to the value.
  if (call.func_variadic === true) return false;
  const except = totalExceptForTypes.get(name);
  if (except !== undefined) return !parts.some((sources) => hasType(sources, except, catalogue));
  if (totalFunctions.has(name)) return true;
  if (totalOfOne.has(name)) return parts.length === 1;
  const position = totalWithConstants.get(name);
  if (position === undefined) return false;
  // citext has its own, which take a regular expression's replacement.
  if (/^(replace|split_part|translate)$/.test(name) && hasType(parts[position] ?? noSources, noType, catalogue))
    return false;
  const controls = (call.args ?? []).filter((_, index) => index !== position);
  return controls.every((control) => isShortConstant(control)) && controlsAreHarmless(name, controls);
}

/** `(x).f` is f(x). */
export function isTotalField(name: string): boolean {
  return totalFunctions.has(name) || totalOfOne.has(name);
}

/** Trying a long list of characters or delimiters takes longer the later the value is found in it. */
const maxConstant = 100;

function isShortConstant(node: Node): boolean {
  const constant = bodyIf(node, 'A_Const');
  return constant !== undefined && (constantText(constant) ?? '').length <= maxConstant;
}

function controlsAreHarmless(name: string, controls: readonly Node[]): boolean {
  const [first, second] = controls.map((node) => constantText(bodyIf(node, 'A_Const') ?? {}) ?? '');
  switch (name) {
    // With a text it is a regular expression.
    case 'substring':
      return controls.every((node) => integerOf(node) !== undefined) && (integerOf(controls[1]) ?? 0) >= 0;
    // They fail on every value but NULL.
    case 'substr':
      return controls.every((node) => integerOf(node) !== undefined) && (integerOf(controls[1]) ?? 0) >= 0;
    case 'split_part':
      return (integerOf(controls[1]) ?? 0) !== 0;
    case 'encode':
      return /^(base64|escape|hex)$/i.test(first ?? '');
    // What grows where something is found can grow until it fails.
    case 'replace':
      return (second ?? '').length <= (first ?? '').length;
    // V multiplies and RN makes an integer: both are out of range for large numbers.
    case 'to_char':
      return !/v|rn/i.test(first ?? '');
    // Other encodings do not have every character.
    case 'convert_to':
      return /^utf-?8$/i.test(first ?? '');
    default:
      return true;
  }
}

/** None of the server's own, so that only types of users are found. */
const noType = /(?!)/;

const typesByCatalogue = new WeakMap<Catalogue, Map<number, string>>();

/** True also where a column has a type of the users, of which we do not know what it is made of. */
export function hasType(sources: Sources, pattern: RegExp, catalogue: Catalogue): boolean {
  let types = typesByCatalogue.get(catalogue);
  if (types === undefined) typesByCatalogue.set(catalogue, (types = new Map()));
  for (const key of sources) {
    let type = types.get(key);
    if (type === undefined) types.set(key, (type = typeOf(key, catalogue)));
    if (type.includes('.') || pattern.test(type)) return true;
  }
  return false;
}

/** As format_type prints it under an empty search_path: a type outside pg_catalog has a dot in it. */
function typeOf(key: number, catalogue: Catalogue): string {
  const { relationOid, attnum } = splitKey(key);
  const column = catalogue.relationByOid(relationOid)?.columns.find((one) => one.attnum === attnum);
  return column?.typeName ?? '.';
}

export const arrayType = /\[\]$/;
