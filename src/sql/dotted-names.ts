/**
 * Names behind the alias of a function in FROM. What such a function returns is a value and no row, so `x.name` is name(x)
 * if there is no such column, with any function of one argument. Behind a row only a function of users can stand.
 */
import type { Node, RangeFunction } from 'libpg-query';
import { outputName } from './column-name.ts';
import { knownFields } from './functions.ts';
import { bodyIf, stringsOf } from './tree.ts';

export class DottedNames {
  /** `x.name`, by x. */
  readonly #references = new Map<string, Set<string>>();
  /** What functions in FROM are called, with the columns that are named there. */
  readonly #items = new Map<string, ReadonlySet<string>[]>();

  reference(fields: readonly Node[] | undefined): void {
    const [qualifier, name, ...more] = stringsOf(fields);
    if (qualifier === undefined || name === undefined || more.length > 0 || knownFields.has(name)) return;
    const names = this.#references.get(qualifier);
    if (names === undefined) this.#references.set(qualifier, new Set([name]));
    else names.add(name);
  }

  functionItem({ alias, functions }: RangeFunction): void {
    const [call] = bodyIf(functions?.[0], 'List')?.items ?? [];
    const name = alias?.aliasname ?? outputName(call, new WeakMap());
    const columns = new Set([name, ...stringsOf(alias?.colnames)]);
    this.#items.set(name, [...(this.#items.get(name) ?? []), columns]);
  }

  /** Those that not every function of that alias has as a column. */
  ofFunctions(): readonly string[] {
    return [...this.#items].flatMap(([item, all]) =>
      [...(this.#references.get(item) ?? [])].filter((name) => all.some((columns) => !columns.has(name))),
    );
  }
}
