/**
 * What a session has prepared with PREPARE. EXECUTE does not say in its text what it runs: it is decided and masked as the
 * statement that was prepared, read again as of now. A name is known from the moment the target has confirmed its
 * PREPARE, and forgotten as soon as it may mean something else.
 */
import { CountersignError } from '../errors.ts';
import type { Catalogue, RelationUse, StatementFacts } from '../sql/statement.ts';
import { PreparedByName } from './server-names.ts';

export interface SqlStatement {
  /** The whole PREPARE. */
  readonly text: string;
  /** What it meant when it was prepared. */
  readonly relations: StatementFacts['relations'];
}

export class SqlStatements {
  readonly #known = new PreparedByName<SqlStatement>();
  #changes = 0;

  /** Grows with every change. */
  get changes(): number {
    return this.#changes;
  }

  get bytes(): number {
    return this.#known.bytes;
  }

  get(name: string): SqlStatement | undefined {
    return this.#known.get(name);
  }

  /** The target has carried out a statement; `tag` is its own word on what it did. */
  completed({ prepared, text, relations }: StatementFacts, tag: string): void {
    switch (prepared?.action) {
      case 'prepare':
        this.forget(prepared.name);
        if (tag !== 'PREPARE') return;
        this.#known.set(prepared.name, { text, relations });
        this.#changes++;
        return;
      case 'deallocate':
        return this.forget(prepared.name);
      case 'deallocate-all':
        this.#changes++;
        this.#known.clear();
        return;
      case 'execute':
      case undefined:
        return;
      default:
        prepared satisfies never;
    }
  }

  /** The protocol may have made, or ended, a statement of that name: both have one space of names. */
  forget(name: string): void {
    if (this.#known.delete(name)) this.#changes++;
  }
}

/**
 * The first of the relations that a prepared statement named whose name means another one now. Its target goes on with
 * the old one: it looks names up again when what they meant was changed, not when something else gets in their way.
 */
export function shadowedRelation(
  before: StatementFacts['relations'],
  now: StatementFacts['relations'],
  catalogue: Catalogue,
): RelationUse | undefined {
  const named = new Set(now.map(({ oid }) => oid));
  return before.find(({ oid, schema, name, direct }) => {
    if (!direct || named.has(oid)) return false;
    const relation = catalogue.relationByOid(oid);
    return relation?.schema === schema && relation.name === name;
  });
}

export function shadowed({ schema, name }: RelationUse): CountersignError {
  const reason = `countersign: another relation has got in the way of ${schema}.${name} since this was prepared`;
  return new CountersignError('prepared_statement_unknown', reason, { hint: 'prepare it again' });
}
