/** A statement's own parameters ($1, $2 …) as `:name` parameters of a job, named and typed by what they are compared with. */
import { columnPath } from '../sql/paging-step.ts';
import { parseStatements, scanTokens } from '../sql/parse.ts';
import type { Catalogue, CatalogueColumn } from '../sql/statement.ts';
import { isTree, stringsOf } from '../sql/tree.ts';
import type { Node } from 'libpg-query';
import { findParameters, type ParameterType } from './parameters.ts';

export interface NamedParameter {
  readonly name: string;
  readonly type: ParameterType;
}

const maxBytes = 256 * 1024;

/** @param write what stands for a parameter in the text; `:name` by default */
export function withNamedParameters(
  source: string,
  catalogue: Catalogue | undefined,
  write: (parameter: NamedParameter) => string = ({ name }) => `:${name}`,
): { readonly text: string; readonly parameters: readonly NamedParameter[] } {
  const text = withoutColonNames(source);
  const tokens = (scanTokens(text, { maxBytes }) ?? []).filter(({ kind }) => kind === 'parameter');
  const hints = new Map<number, Hint>();
  const parsed = parseStatements(text, { maxBytes });
  for (const { tree } of parsed.ok ? parsed.statements : []) collectHints(tree, hints);
  const named = new Map<number, NamedParameter>();
  const taken = new Set<string>();
  let result = '';
  let at = 0;
  for (const token of tokens) {
    const number = Number(token.text.slice(1));
    let parameter = named.get(number);
    if (parameter === undefined) {
      parameter = parameterFor(number, hints.get(number), catalogue, taken);
      named.set(number, parameter);
      taken.add(parameter.name);
    }
    // A name or a digit right behind it would become part of its name.
    const needsSpace = /[A-Za-z0-9_]/.test(text[token.end] ?? '');
    result += text.slice(at, token.start) + write(parameter) + (needsSpace ? ' ' : '');
    at = token.end;
  }
  return { text: result + text.slice(at), parameters: [...named.values()] };
}

/** `a[1:n]` would read as a parameter of a job; `a[1: n]` does not. */
function withoutColonNames(source: string): string {
  let result = '';
  let at = 0;
  for (const use of findParameters(source)) {
    result += `${source.slice(at, use.start)}: `;
    at = use.start + 1;
  }
  return result + source.slice(at);
}

interface Hint {
  readonly column: string | undefined;
  readonly cast: string | undefined;
}

function collectHints(value: unknown, hints: Map<number, Hint>): void {
  if (Array.isArray(value)) {
    for (const item of value) collectHints(item, hints);
    return;
  }
  if (!isTree(value)) return;
  const expression = value['A_Expr'];
  if (isTree(expression)) {
    const sides = [expression['lexpr'], expression['rexpr']] as (Node | undefined)[];
    const column = sides.map((side) => columnPath(side)?.at(-1)).find((name) => name !== undefined);
    for (const side of sides) for (const one of parametersIn(side)) hints.set(one.number, { column, cast: one.cast });
  }
  for (const inner of Object.values(value)) collectHints(inner, hints);
}

/** A parameter, perhaps in a cast or a list. */
function parametersIn(value: unknown, cast?: string): { readonly number: number; readonly cast: string | undefined }[] {
  if (Array.isArray(value)) return value.flatMap((item) => parametersIn(item, cast));
  if (!isTree(value)) return [];
  const { ParamRef: parameter, TypeCast: typeCast, List: list } = value;
  if (isTree(parameter)) return [{ number: Number(parameter['number'] ?? 0), cast }];
  if (isTree(list)) return parametersIn(list['items'], cast);
  if (!isTree(typeCast) || !isTree(typeCast['typeName'])) return [];
  return parametersIn(typeCast['arg'], stringsOf(typeCast['typeName']['names'] as Node[] | undefined).at(-1));
}

function parameterFor(
  number: number,
  hint: Hint | undefined,
  catalogue: Catalogue | undefined,
  taken: ReadonlySet<string>,
): NamedParameter {
  const { column, cast } = hint ?? { column: undefined, cast: undefined };
  const name = column !== undefined && /^[a-z_][a-z0-9_]{0,62}$/.test(column) ? column : `p${number}`;
  const free = taken.has(name) ? `p${number}` : name;
  const columnType = cast ?? (column === undefined ? undefined : typeOfColumns(column, catalogue));
  return { name: taken.has(free) ? `p_${number}` : free, type: parameterType(columnType) };
}

/** The type of the columns of that name, if they agree. */
function typeOfColumns(name: string, catalogue: Catalogue | undefined): string | undefined {
  const columns = (catalogue?.relations ?? []).flatMap((relation): CatalogueColumn[] =>
    relation.columns.filter((column) => column.name === name),
  );
  const types = new Set(columns.map(({ typeName }) => parameterType(typeName)));
  return types.size === 1 ? columns[0]?.typeName : undefined;
}

function parameterType(typeName: string | undefined): ParameterType {
  if (typeName === undefined) return 'text';
  if (/^(int[248]?|integer|bigint|smallint|oid)$/.test(typeName)) return 'int';
  if (/^(numeric|decimal|real|double precision|float[48]?)/.test(typeName)) return 'numeric';
  if (typeName.startsWith('bool')) return 'boolean';
  if (typeName === 'date') return 'date';
  return typeName.startsWith('timestamp') ? 'timestamp' : 'text';
}
