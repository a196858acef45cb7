/**
 * What planning may ask of a target: estimates and bounds through the gateway's own credential, and samples that people
 * see, which go through the same masking as every other row.
 */
import { maskCell } from '../masking/rows.ts';
import { planColumns, type ColumnAction } from '../masking/plan.ts';
import { predicatesOf } from '../masking/policy.ts';
import { analyse } from '../sql/analyse.ts';
import type { Catalogue, ColumnRef, StatementFacts } from '../sql/statement.ts';
import type { ResultColumn } from '../wire/postgres/backend.ts';
import type { GateConnection } from './connection.ts';

interface TextColumn {
  readonly name: string;
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  readonly typeModifier: number;
}

interface TextResult {
  readonly columns: readonly TextColumn[];
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface ReaderOptions {
  readonly connection: GateConnection;
  readonly query: (sql: string) => Promise<TextResult>;
}

export class GateReader {
  readonly #connection: GateConnection;
  readonly query: (sql: string) => Promise<TextResult>;

  constructor(options: ReaderOptions) {
    this.#connection = options.connection;
    this.query = options.query;
  }

  async catalogue(): Promise<Catalogue> {
    return (await this.#connection.refresh()).catalogue;
  }

  facts(sql: string, catalogue: Catalogue): StatementFacts {
    const [facts, second] = analyse(sql, catalogue, { maxBytes: 1024 * 1024 });
    if (facts === undefined || second !== undefined) throw new Error('one statement is analysed at a time');
    return facts;
  }

  maskOf(column: ColumnRef): string | undefined {
    const rule = this.#connection.current().maskIndex.rule(column.relationOid, column.attnum);
    return rule === undefined ? undefined : maskName(rule.mask);
  }

  letsTestNull(column: ColumnRef): boolean {
    const rule = this.#connection.current().maskIndex.rule(column.relationOid, column.attnum);
    return rule === undefined || predicatesOf(rule) !== 'deny';
  }

  /** @throws CountersignError `lineage_unresolved` */
  outputMasks(facts: StatementFacts, columns: readonly TextColumn[]): (string | undefined)[] {
    return this.#actions(facts, columns).map((action) => (action.kind === 'mask' ? maskName(action.mask) : undefined));
  }

  /** @throws CountersignError `lineage_unresolved` */
  shownCells(facts: StatementFacts, columns: readonly TextColumn[]): (column: number, value: string) => string | null {
    const actions = this.#actions(facts, columns);
    return (column, value) => shown(actions[column], value);
  }

  async maskedSample(sql: string, limit: number): Promise<{ columns: string[]; rows: (string | null)[][] }> {
    const text = `select * from (${sql}\n) as sample_source limit ${Math.trunc(limit)}`;
    const result = await this.query(text);
    const actions = this.#actions(this.facts(text, await this.catalogue()), result.columns);
    const rows = result.rows.map((row) => row.map((cell, index) => shown(actions[index], cell)));
    return { columns: result.columns.map((column) => column.name), rows };
  }

  #actions(facts: StatementFacts, columns: readonly TextColumn[]): readonly ColumnAction[] {
    const { maskIndex } = this.#connection.current();
    return planColumns({
      columns: columns.map((column): ResultColumn => ({ ...column, typeSize: -1, format: 0 })),
      lineage: facts.lineage,
      relationsTouchMasked: facts.relations.some((relation) => maskIndex.touches(relation.oid)),
      index: maskIndex,
      masking: this.#connection.masking,
    });
  }
}

function maskName(mask: string | { readonly kind: string }): string {
  return typeof mask === 'string' ? mask : mask.kind;
}

function shown(action: ColumnAction | undefined, cell: string | null): string | null {
  if (action === undefined) throw new Error('a row has more cells than columns');
  return maskCell(action, cell === null ? null : Buffer.from(cell, 'utf8'))?.toString('utf8') ?? null;
}
