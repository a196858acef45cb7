/**
 * What a statement does, by its kind: class, command tag, setting, transaction step. Every kind that is not named here is
 * `unknown`; so is a known kind in a form whose effect its text does not show.
 */
import type { IntoClause, Node, RangeVar } from 'libpg-query';
import { definition } from './definitions.ts';
import { noRows, rest, session, unknown, type Effects, type Shape } from './effect.ts';
import { deallocate, discard, execute, prepare } from './prepare.ts';
import { closing, declareCursor, setting, settingBySelect, transaction } from './session-effects.ts';
import type { Catalogue } from './statement.ts';
import { fillTemporaryTable, makesTemporary } from './temporary.ts';
import { type Tree, bodyIf, kindSet, stringOf, stringsOf, taggedAs } from './tree.ts';
import { collectUses, noUses, relationOf, usesOfRelations, type Uses } from './uses.ts';

const handledKinds = kindSet(
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'TruncateStmt',
  'ExplainStmt',
  'CopyStmt',
  'CreateTableAsStmt',
  'TransactionStmt',
  'VariableSetStmt',
  'VariableShowStmt',
  'ConstraintsSetStmt',
  'PrepareStmt',
  'ExecuteStmt',
  'DeallocateStmt',
  'DiscardStmt',
  'ListenStmt',
  'UnlistenStmt',
  'DeclareCursorStmt',
  'FetchStmt',
  'NotifyStmt',
  'ClosePortalStmt',
);

export function effectsOf(tree: Node, catalogue: Catalogue): Effects {
  const statement = taggedAs(tree, handledKinds);
  switch (statement.kind) {
    case 'SelectStmt':
      return settingBySelect(statement.body, catalogue) ?? query(tree, statement.kind, catalogue);
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      return query(tree, statement.kind, catalogue);
    case 'TruncateStmt':
      return { ...rest, class: 'write', command: 'TRUNCATE TABLE', uses: written(statement.body.relations, catalogue) };
    case 'ExplainStmt':
      return explain(statement.body.query, statement.body.options, catalogue);
    case 'CopyStmt':
      return copy(statement.body as Tree, catalogue);
    case 'CreateTableAsStmt':
      return createTableAs(statement.body as Tree, catalogue);
    case 'TransactionStmt':
      return transaction(statement.body);
    case 'VariableSetStmt':
      return setting(statement.body);
    case 'VariableShowStmt': {
      const name = statement.body.name ?? '';
      const names = name === 'all' ? ['name', 'setting', 'description'] : [name];
      return { ...rest, class: 'show', command: 'SHOW', shape: { kind: 'columns', names } };
    }
    case 'ConstraintsSetStmt':
      return { ...rest, class: 'transaction', command: 'SET CONSTRAINTS', transaction: 'other' };
    case 'PrepareStmt': {
      const { query: inner } = statement.body;
      return inner === undefined
        ? unknown('PREPARE', 'PREPARE of nothing')
        : prepare(statement.body, effectsOf(inner, catalogue), catalogue);
    }
    case 'ExecuteStmt':
      return execute(statement.body, catalogue);
    case 'DeallocateStmt':
      return deallocate(statement.body);
    case 'DiscardStmt':
      return discard(statement.body);
    case 'ListenStmt':
      return { ...rest, class: 'session', command: 'LISTEN' };
    case 'UnlistenStmt':
      return { ...rest, class: 'session', command: 'UNLISTEN' };
    case 'NotifyStmt':
      return { ...rest, class: 'session', command: 'NOTIFY' };
    case 'DeclareCursorStmt':
      return declareCursor(statement.body, catalogue);
    case 'FetchStmt': {
      const { ismove, portalname: name = '' } = statement.body;
      const command = ismove === true ? 'MOVE' : 'FETCH';
      // What it returns is the cursor's business, which the text does not tell.
      return { ...rest, class: 'session', command, cursor: { action: 'fetch', name } };
    }
    case 'ClosePortalStmt':
      return { ...rest, class: 'session', command: 'CLOSE CURSOR', cursor: closing(statement.body.portalname) };
    case 'other':
    default:
      return definition(
        statement.name,
        (tree as unknown as Readonly<Record<string, Tree>>)[statement.name] ?? {},
        tree,
        catalogue,
      );
  }
}

function query(tree: Node, kind: string, catalogue: Catalogue): Effects {
  const uses = collectUses(tree, catalogue, session);
  if (uses.into !== undefined) {
    const command = 'SELECT INTO';
    if (makesTemporary(uses.into)) {
      const into = bodyIf(tree, 'SelectStmt')?.intoClause;
      return into?.rel === uses.into
        ? fillTemporaryTable(command, into, false, uses, tree, catalogue)
        : unknown(command, 'SELECT INTO inside a query', uses);
    }
    return { ...rest, class: 'ddl', command, uses, shape: { kind: 'stored', query: tree } };
  }
  const command = kind.replace('Stmt', '').toUpperCase();
  const shape: Shape = { kind: 'query', query: tree };
  const reads = kind === 'SelectStmt' && !uses.modifies && !uses.locks;
  if (reads && uses.signals !== undefined && uses.relations.length === 0) {
    return { ...rest, class: 'session', command: uses.signals, uses, shape };
  }
  return { ...rest, class: reads && uses.signals === undefined ? 'read' : 'write', command, uses, shape };
}

/** Only these mean "off"; whatever else is given counts as on. */
const off = new Set(['false', 'off', '0', 'no']);

function explain(inner: Node | undefined, options: readonly Node[] | undefined, catalogue: Catalogue): Effects {
  const analyze = (options ?? []).some((option) => {
    const element = bodyIf(option, 'DefElem');
    if (element?.defname !== 'analyze') return false;
    const integer = bodyIf(element.arg, 'Integer');
    const value = integer === undefined ? (stringOf(element.arg) ?? 'true') : String(integer.ival ?? 0);
    return !off.has(value.toLowerCase());
  });
  if (inner === undefined) return unknown('EXPLAIN', 'EXPLAIN of nothing');
  const effects = effectsOf(inner, catalogue);
  if (effects.temporary !== undefined) return unknown('EXPLAIN', 'EXPLAIN of a temporary table', effects.uses);
  if (effects.shape.kind === 'unresolved') return unknown('EXPLAIN', `EXPLAIN ${effects.command}`, effects.uses);
  return {
    ...effects,
    class: analyze ? effects.class : 'explain',
    command: analyze ? `EXPLAIN ANALYZE ${effects.command}` : 'EXPLAIN',
    // It opens none.
    cursor: undefined,
    shape: { kind: 'explain', inner: effects.shape },
  };
}

function copy(body: Tree, catalogue: Catalogue): Effects {
  const from = body['is_from'] === true;
  const command = from ? 'COPY FROM' : 'COPY TO';
  const inner = body['query'] as Node | undefined;
  const range = body['relation'] as RangeVar | undefined;
  const relation = range === undefined ? undefined : relationOf(range, catalogue, 'session');
  let uses = inner === undefined ? noUses : collectUses(inner, catalogue, session);
  if (relation !== undefined) {
    const named = usesOfRelations([{ relation, access: from ? 'write' : 'read' }], catalogue);
    const where = collectUses(body['whereClause'], catalogue, session);
    uses = { ...where, relations: named.relations, unknowns: [...named.unknowns, ...where.unknowns] };
  }
  if (body['is_program'] === true) return unknown(command, `${command} PROGRAM`, uses);
  if (body['filename'] !== undefined) return unknown(command, `${command} a file on the server`, uses);
  if (range !== undefined && relation === undefined) {
    // Its class stays: how the protocol goes on depends on it.
    const missing = unknown(command, `relation ${range.relname ?? ''} is not in the catalogue`, uses);
    return { ...missing, class: from ? 'copy-in' : 'copy-out' };
  }
  const columns = stringsOf(body['attlist'] as Node[] | undefined);
  if (relation !== undefined) {
    if (from) return { ...rest, class: 'copy-in', command, uses };
    return { ...rest, class: 'copy-out', command, uses, shape: { kind: 'copy-table', relation, columns } };
  }
  if (
    inner === undefined ||
    bodyIf(inner, 'SelectStmt') === undefined ||
    uses.modifies ||
    uses.signals !== undefined ||
    uses.locks ||
    uses.into !== undefined
  ) {
    return unknown(command, 'COPY of a statement that is no plain SELECT', uses);
  }
  return { ...rest, class: 'copy-out', command, uses, shape: { kind: 'query', query: inner } };
}

function createTableAs(body: Tree, catalogue: Catalogue): Effects {
  const materialized = body['objtype'] === 'OBJECT_MATVIEW';
  const command = materialized ? 'CREATE MATERIALIZED VIEW' : 'CREATE TABLE AS';
  const inner = body['query'] as Node;
  if (bodyIf(inner, 'SelectStmt') === undefined) return unknown(command, `${command} EXECUTE`);
  const into = body['into'] as IntoClause | undefined;
  const uses = collectUses(inner, catalogue, session);
  if (into !== undefined && makesTemporary(into.rel)) {
    return materialized
      ? unknown(command, 'a temporary materialized view', uses)
      : fillTemporaryTable(command, into, body['if_not_exists'] === true, uses, inner, catalogue);
  }
  // A materialized view keeps its definition, so its columns stay traceable; the rows of a new table are not.
  return { ...rest, class: 'ddl', command, uses, shape: materialized ? noRows : { kind: 'stored', query: inner } };
}

function written(ranges: readonly Node[] | undefined, catalogue: Catalogue): Uses {
  const missing: string[] = [];
  const named = (ranges ?? []).flatMap((node) => {
    const range = bodyIf(node, 'RangeVar');
    const relation = range === undefined ? undefined : relationOf(range, catalogue, 'session');
    if (relation === undefined) missing.push(`relation ${range?.relname ?? ''} is not in the catalogue`);
    return relation === undefined ? [] : [{ relation, access: 'write' as const }];
  });
  const uses = usesOfRelations(named, catalogue);
  return { ...uses, unknowns: [...uses.unknowns, ...missing] };
}
