/** The value that `effectsOf` makes of one statement, and what its makers share. */
import type { Node } from 'libpg-query';
import type { CatalogueRelation, StatementClass, StatementFacts } from './statement.ts';
import { noUses, type Uses } from './uses.ts';

export interface Effects {
  readonly class: StatementClass;
  readonly command: string;
  readonly setting: StatementFacts['setting'];
  readonly transaction: StatementFacts['transaction'];
  readonly cursor: StatementFacts['cursor'];
  readonly prepared: StatementFacts['prepared'];
  readonly temporary: StatementFacts['temporary'];
  readonly uses: Uses;
  /** What lineage has to follow. */
  readonly shape: Shape;
}

export type Shape =
  | { readonly kind: 'query'; readonly query: Node }
  /** EXPLAIN: one column that tells about everything inside. */
  | { readonly kind: 'explain'; readonly inner: Shape }
  /** The rows go into another relation or a file of the client; nothing comes back as rows. */
  | { readonly kind: 'stored'; readonly query: Node }
  | { readonly kind: 'copy-table'; readonly relation: CatalogueRelation; readonly columns: readonly string[] }
  | { readonly kind: 'columns'; readonly names: readonly string[] }
  | { readonly kind: 'unresolved'; readonly reason: string };

export const noRows: Shape = { kind: 'columns', names: [] };

export const rest = {
  setting: undefined,
  transaction: undefined,
  cursor: undefined,
  prepared: undefined,
  temporary: undefined,
  uses: noUses,
  shape: noRows,
};

export function unknown(command: string, reason: string, uses: Uses = noUses): Effects {
  const unknowns = [...uses.unknowns, reason];
  return { ...rest, class: 'unknown', command, uses: { ...uses, unknowns }, shape: { kind: 'unresolved', reason } };
}

/** How a statement of the session itself is read. */
export const session = { reading: 'session', checkNames: true } as const;

export function withUnknown(uses: Uses, reason: string | undefined): Uses {
  return reason === undefined ? uses : { ...uses, unknowns: [...uses.unknowns, reason] };
}
