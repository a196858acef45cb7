/**
 * Where the masking rules reach in one catalogue: through views, inheritance, partitions and generated columns. Built
 * once per catalogue; a changed catalogue gets a new index.
 *
 * A rule names a column; the same values can be read under other names. So rules spread until nothing changes any more,
 * and only ever get stronger:
 * - parents and children (partitions) share a rule by column name, in both directions;
 * - a generated column takes the rules of the columns it is computed from;
 * - a view's column takes those of its sources, and a rule on a view's column is a rule on its sources;
 * - a view that cannot be read is masked whole, if it may reach anything masked.
 * A value that is computed from a masked one and not the value itself is redacted.
 */
import type { Catalogue, CatalogueRelation, ColumnRef, Lineage, OutputColumn } from '../sql/statement.ts';
import { firstUserOid } from './type-oids.ts';
import { compareMasks, isStronger, strongerRule, type ColumnRule, type ConnectionMasking } from './policy.ts';

export interface MaskIndex {
  rule(relationOid: number, attnum: number): ColumnRule | undefined;
  /** The rule for a value that holds whole rows of the relation. */
  wholeRowRule(relationOid: number): ColumnRule | undefined;
  /** True if reading the relation can read anything masked: in it, or in what a view is made of. */
  touches(relationOid: number): boolean;
  /** True if a column of the relation itself is masked. */
  relationHasMasks(relationOid: number): boolean;
  /** False for relations that users made and the catalogue does not have. */
  knows(relationOid: number): boolean;
  /** Is `source` among the base columns of this column of a view? False for what is no view's column. */
  derivesFrom(relationOid: number, attnum: number, source: Pick<ColumnRef, 'relationOid' | 'attnum'>): boolean;
}

export type ViewLineage = (relation: CatalogueRelation) => Lineage;

export function buildMaskIndex(masking: ConnectionMasking, catalogue: Catalogue, viewLineage: ViewLineage): MaskIndex {
  if (!masking.hasColumnRules) return emptyIndex;
  return new Builder(masking, catalogue, viewLineage).build();
}

const emptyIndex: MaskIndex = {
  rule: () => undefined,
  wholeRowRule: () => undefined,
  touches: () => false,
  relationHasMasks: () => false,
  knows: () => true,
  derivesFrom: () => false,
};

interface View {
  readonly relation: CatalogueRelation;
  /** Output columns by attnum; undefined where the definition could not be read. */
  readonly outputs: ReadonlyMap<number, OutputColumn> | undefined;
  /** OIDs of the base relations in the lineage. */
  readonly sources: ReadonlySet<number>;
  readonly mentions: (relation: CatalogueRelation) => boolean;
  /** For a view that could not be read: it calls something of the users', which can read anything. */
  readonly callsUserCode: boolean;
}

class Builder {
  readonly #catalogue: Catalogue;
  readonly #rules = new Map<number, Map<number, ColumnRule>>();
  readonly #touched = new Set<number>();
  readonly #views: readonly View[];
  #changed = false;

  constructor(masking: ConnectionMasking, catalogue: Catalogue, viewLineage: ViewLineage) {
    this.#catalogue = catalogue;
    for (const relation of catalogue.relations) {
      for (const column of relation.columns) {
        this.#strengthen(relation.oid, column.attnum, masking.columnRule(relation.schema, relation.name, column.name));
      }
    }
    this.#views = catalogue.relations.filter(isUserView).map((relation) => readView(relation, catalogue, viewLineage));
  }

  build(): MaskIndex {
    // A rule on a view's column first becomes one on its sources, so that every other way to them is closed as well.
    for (const view of this.#views) this.#pushDown(view);
    do {
      this.#changed = false;
      for (const relation of this.#catalogue.relations) {
        this.#shareWithFamily(relation);
        this.#coverGenerated(relation);
      }
      for (const view of this.#views) this.#coverView(view);
      this.#spreadTouch();
    } while (this.#changed);
    return this.#index();
  }

  #strengthen(oid: number, attnum: number, rule: ColumnRule | undefined): void {
    if (rule === undefined) return;
    let columns = this.#rules.get(oid);
    if (columns === undefined) this.#rules.set(oid, (columns = new Map()));
    const known = columns.get(attnum);
    if (!isStronger(rule, known)) return;
    columns.set(attnum, strongerRule(known, rule) ?? rule);
    this.#touched.add(oid);
    this.#changed = true;
  }

  #shareWithFamily(relation: CatalogueRelation): void {
    const columns = this.#rules.get(relation.oid);
    if (columns === undefined) return;
    for (const oid of [...relation.children, ...relation.parents]) {
      const relative = this.#catalogue.relationByOid(oid);
      if (relative === undefined) continue;
      for (const column of relation.columns) {
        const counterpart = relative.columns.find((candidate) => candidate.name === column.name);
        if (counterpart !== undefined) this.#strengthen(oid, counterpart.attnum, columns.get(column.attnum));
      }
    }
  }

  #coverGenerated(relation: CatalogueRelation): void {
    const columns = this.#rules.get(relation.oid);
    if (columns === undefined) return;
    for (const column of relation.columns) {
      for (const name of column.generatedFrom ?? []) {
        const source = relation.columns.find((candidate) => candidate.name === name);
        const rule = source === undefined ? undefined : columns.get(source.attnum);
        if (rule !== undefined) this.#strengthen(relation.oid, column.attnum, asRedaction(rule));
      }
    }
  }

  #pushDown(view: View): void {
    const columns = this.#rules.get(view.relation.oid);
    if (columns === undefined || view.outputs === undefined) return;
    for (const [attnum, rule] of columns) {
      const output = view.outputs.get(attnum);
      for (const source of output?.sources ?? []) {
        if (isSystem(source.relationOid)) continue;
        this.#strengthen(source.relationOid, source.attnum, isVerbatim(output) ? rule : asRedaction(rule));
      }
    }
  }

  #coverView(view: View): void {
    const { relation, outputs } = view;
    if (outputs === undefined) {
      const reason = this.#reasonToCover(view);
      for (const column of reason === undefined ? [] : relation.columns)
        this.#strengthen(relation.oid, column.attnum, reason);
      return;
    }
    for (const [attnum, output] of outputs) {
      let strongest: ColumnRule | undefined;
      for (const source of output.sources)
        strongest = strongerRule(strongest, this.#rule(source.relationOid, source.attnum));
      if (strongest !== undefined)
        this.#strengthen(relation.oid, attnum, isVerbatim(output) ? strongest : asRedaction(strongest));
    }
  }

  /** For a view that could not be read. */
  #reasonToCover(view: View): ColumnRule | undefined {
    if (view.callsUserCode)
      return { id: `unreadable view ${view.relation.schema}.${view.relation.name}`, mask: 'redact' };
    for (const oid of this.#touched) {
      const masked = this.#catalogue.relationByOid(oid);
      if (masked === undefined || masked.oid === view.relation.oid || !view.mentions(masked)) continue;
      const [rule] = this.#rules.get(oid)?.values() ?? [];
      return { id: rule?.id ?? `unreadable view ${view.relation.schema}.${view.relation.name}`, mask: 'redact' };
    }
    return undefined;
  }

  /** What reads a touched relation, by a view's definition or as a parent, is touched, even where no column shows anything of it. */
  #spreadTouch(): void {
    const touch = (oid: number): void => {
      if (this.#touched.has(oid)) return;
      this.#touched.add(oid);
      this.#changed = true;
    };
    for (const view of this.#views) {
      if (this.#touched.has(view.relation.oid)) continue;
      if (view.callsUserCode) touch(view.relation.oid);
      for (const oid of this.#touched) {
        const relation = this.#catalogue.relationByOid(oid);
        if (view.sources.has(oid) || (relation !== undefined && view.mentions(relation))) {
          touch(view.relation.oid);
          break;
        }
      }
    }
    for (const relation of this.#catalogue.relations) {
      if (relation.children.some((child) => this.#touched.has(child))) touch(relation.oid);
    }
  }

  #rule(oid: number, attnum: number): ColumnRule | undefined {
    return this.#rules.get(oid)?.get(attnum);
  }

  #index(): MaskIndex {
    const rules = this.#rules;
    const touched = this.#touched;
    const catalogue = this.#catalogue;
    const outputs = new Map(this.#views.map((view) => [view.relation.oid, view.outputs]));
    return {
      rule: (oid, attnum) => rules.get(oid)?.get(attnum),
      wholeRowRule: (oid) => {
        let strongest: ColumnRule | undefined;
        for (const rule of rules.get(oid)?.values() ?? []) strongest = strongerRule(strongest, rule);
        return strongest === undefined ? undefined : asRedaction(strongest);
      },
      touches: (oid) => touched.has(oid),
      relationHasMasks: (oid) => rules.has(oid),
      knows: (oid) => isSystem(oid) || catalogue.relationByOid(oid) !== undefined,
      derivesFrom: (oid, attnum, source) =>
        outputs
          .get(oid)
          ?.get(attnum)
          ?.sources.some((base) => base.relationOid === source.relationOid && base.attnum === source.attnum) ?? false,
    };
  }
}

function isSystem(oid: number): boolean {
  return oid < firstUserOid;
}

function isUserView(relation: CatalogueRelation): boolean {
  return (relation.kind === 'view' || relation.kind === 'materialized-view') && !isSystem(relation.oid);
}

function isVerbatim(output: OutputColumn | undefined): boolean {
  return output !== undefined && output.verbatim && output.sources.length === 1;
}

function asRedaction(rule: ColumnRule): ColumnRule {
  return compareMasks(rule.mask, 'redact') >= 0 ? rule : { ...rule, mask: 'redact' };
}

function readView(relation: CatalogueRelation, catalogue: Catalogue, viewLineage: ViewLineage): View {
  const words = new Set(relation.definition?.match(/[\w$\u0080-\uffff]+/g));
  const lineage = viewLineage(relation);
  const outputs = lineage.resolved ? outputsByNumber(relation, lineage.outputs) : undefined;
  const sources = new Set<number>();
  if (lineage.resolved) {
    for (const source of [...lineage.outputs.flatMap((output) => output.sources), ...lineage.predicates])
      sources.add(source.relationOid);
  }
  const { definition } = relation;
  return {
    relation,
    outputs,
    sources,
    mentions: (other) => definition === undefined || mentionsName(definition, words, other.name),
    callsUserCode:
      outputs === undefined &&
      (definition === undefined ||
        definition.includes('OPERATOR(') ||
        [...catalogue.userFunctions].some((name) => mentionsName(definition, words, name))),
  };
}

/** Definitions come deparsed: a name stands in them as it is, in quotes if it needs any, with quotes doubled. */
function mentionsName(definition: string, words: ReadonlySet<string>, name: string): boolean {
  return /^[\w$\u0080-\uffff]+$/.test(name) ? words.has(name) : definition.includes(name.replaceAll('"', '""'));
}

function outputsByNumber(
  relation: CatalogueRelation,
  outputs: readonly OutputColumn[],
): ReadonlyMap<number, OutputColumn> | undefined {
  if (outputs.length !== relation.columns.length) return undefined;
  const byNumber = relation.columns.toSorted((a, b) => a.attnum - b.attnum);
  return new Map(byNumber.map((column, position) => [column.attnum, outputs[position] as OutputColumn]));
}
