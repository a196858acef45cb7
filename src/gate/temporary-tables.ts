/**
 * The temporary tables of a session, which no catalogue of the gateway shows. One is known from the moment the target has
 * confirmed it:
 *
 * made       CREATE was answered; it is there
 * gone       DROP was answered, and its transaction may still bring it back
 * doubtful   what became of it is not certain (a rollback, an error, other masking rules since): what names it is refused
 *            until it is dropped or made again
 *
 * The end of its transaction forgets what is gone, and what ON COMMIT DROP has dropped.
 */
import type { MaskIndex } from '../masking/mask-index.ts';
import type { Catalogue, CatalogueRelation, RelationUse, StatementFacts, TemporaryUse } from '../sql/statement.ts';
import { firstTemporaryOid, isTemporary, temporaryRelation, withTemporary } from '../sql/temporary.ts';
import type { ResultColumn } from '../wire/postgres/backend.ts';

interface Table {
  state: 'made' | 'gone' | 'doubtful';
  readonly relation: CatalogueRelation;
  readonly dropsAtCommit: boolean;
  readonly maskingDigest: string;
  /** Its transaction has not ended. */
  isOpen: boolean;
}

export class TemporaryTables {
  readonly #tables = new Map<string, Table>();
  /** OIDs that the target's descriptions have shown, by ours. */
  readonly #targetOids = new Map<number, number>();
  #changes = 0;
  #made = 0;
  #seen: { readonly of: Catalogue; readonly maskingDigest: string; readonly catalogue: Catalogue } | undefined;

  /** Grows with every change. */
  get changes(): number {
    return this.#changes;
  }

  get isEmpty(): boolean {
    return this.#tables.size === 0;
  }

  /** The catalogue as the session sees it. */
  in(catalogue: Catalogue, maskingDigest: string): Catalogue {
    if (this.isEmpty) return catalogue;
    const seen = this.#seen;
    if (seen?.of === catalogue && seen.maskingDigest === maskingDigest) return seen.catalogue;
    const tables = [...this.#tables].map(([name, table]) => {
      const isThere = table.state === 'made' && table.maskingDigest === maskingDigest;
      return [name, isThere ? table.relation : undefined] as const;
    });
    this.#seen = { of: catalogue, maskingDigest, catalogue: withTemporary(catalogue, new Map(tables)) };
    return this.#seen.catalogue;
  }

  /** The target has carried out a statement; `tag` is its own word on what it did. */
  completed({ temporary, transaction }: StatementFacts, tag: string, maskingDigest: string): void {
    if (transaction === 'commit' && tag === 'COMMIT') this.transactionEnded();
    if (tag === 'ROLLBACK') this.failed();
    switch (temporary?.action) {
      case 'create':
        return this.#create(temporary, maskingDigest);
      case 'drop':
        for (const name of temporary.names) this.#drop(name);
        return;
      case 'drop-all':
        for (const name of this.#tables.keys()) this.#drop(name);
        return;
      case 'doubt-all':
        return this.#doubt(() => true);
      case undefined:
        return;
      default:
        temporary satisfies never;
    }
  }

  /** What the open transaction did is, or may be, undone. */
  failed(): void {
    this.#doubt((table) => table.isOpen);
  }

  transactionEnded(): void {
    for (const [name, table] of this.#tables) {
      if (!table.isOpen) continue;
      table.isOpen = false;
      if (table.state === 'gone' || (table.state === 'made' && table.dropsAtCommit)) {
        this.#tables.delete(name);
        this.#changed();
      }
    }
  }

  /** Whether one of the relations is of a transaction that has not ended. */
  isOpen(relations: readonly RelationUse[]): boolean {
    return relations.some((relation) => isTemporary(relation) && this.#tables.get(relation.name)?.isOpen === true);
  }

  /**
   * The columns that the target describes, without the origin of those that come from temporary tables. The target's OID of
   * one is learnt from the first column of it, and has to stay the same; where text and target disagree, the origin stays.
   */
  withoutOrigin(columns: readonly ResultColumn[], facts: StatementFacts, index: MaskIndex): readonly ResultColumn[] {
    const own = facts.relations.filter((relation) => isTemporary(relation));
    if (own.length === 0) return columns;
    const outputs = facts.lineage.resolved ? facts.lineage.outputs : [];
    return columns.map((column, position) => {
      if (column.tableOid === 0 || index.knows(column.tableOid)) return column;
      const sources = (outputs[position]?.sources ?? []).filter(({ relationOid }) => relationOid >= firstTemporaryOid);
      const source = sources.find(({ attnum }) => attnum === column.attnum || column.attnum <= 0);
      const oid = source?.relationOid ?? (column.attnum <= 0 && own.length === 1 ? own[0]?.oid : undefined);
      return oid !== undefined && this.#isSame(oid, column.tableOid) ? { ...column, tableOid: 0 } : column;
    });
  }

  #isSame(oid: number, targetOid: number): boolean {
    const known = this.#targetOids.get(oid);
    if (known !== undefined) return known === targetOid;
    if ([...this.#targetOids.values()].includes(targetOid)) return false;
    this.#targetOids.set(oid, targetOid);
    return true;
  }

  #create(use: TemporaryUse & { readonly action: 'create' }, maskingDigest: string): void {
    const known = this.#tables.get(use.name);
    // The table that was there, or may have been, is still the one.
    if (use.ifNotExists && known !== undefined && known.state !== 'gone') return;
    this.#made++;
    this.#tables.set(use.name, {
      state: use.columns === undefined ? 'doubtful' : 'made',
      relation: temporaryRelation(firstTemporaryOid + this.#made, use.name, use.columns ?? []),
      dropsAtCommit: use.dropsAtCommit,
      maskingDigest,
      isOpen: true,
    });
    this.#changed();
  }

  #drop(name: string): void {
    const table = this.#tables.get(name);
    if (table === undefined) return;
    table.state = 'gone';
    table.isOpen = true;
    this.#changed();
  }

  #doubt(which: (table: Table) => boolean): void {
    for (const table of this.#tables.values()) {
      if (!which(table) || table.state === 'doubtful') continue;
      table.state = 'doubtful';
      this.#changed();
    }
  }

  #changed(): void {
    this.#changes++;
    this.#seen = undefined;
  }
}

/** Whether a statement may make a name mean another table, or none. */
export function changesTemporary({ temporary, transaction, command }: StatementFacts): boolean {
  return temporary !== undefined || transaction === 'commit' || command === 'ROLLBACK';
}
