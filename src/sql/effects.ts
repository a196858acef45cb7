/**
 * What a statement does, by its kind: class, command tag, setting, transaction step. Every kind that is not named here is
 * `unknown`; so is a known kind in a form whose effect its text does not show.
 */
import type { DeclareCursorStmt, Node, RangeVar, SelectStmt, TransactionStmt, VariableSetStmt } from 'libpg-query';
import { isBuiltInType } from './functions.ts';
import { settingCallOf } from './set-config.ts';
import type { Catalogue, CatalogueRelation, StatementClass, StatementFacts } from './statement.ts';
import { type Tree, bodyIf, constantText, kindSet, stringOf, stringsOf, taggedAs } from './tree.ts';
import { collectUses, notInCatalogue, noUses, relationOf, usesOfRelations, type Uses } from './uses.ts';

export interface Effects {
  readonly class: StatementClass;
  readonly command: string;
  readonly setting: StatementFacts['setting'];
  readonly transaction: StatementFacts['transaction'];
  readonly cursor: StatementFacts['cursor'];
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

const noRows: Shape = { kind: 'columns', names: [] };

const rest = { setting: undefined, transaction: undefined, cursor: undefined, uses: noUses, shape: noRows };

function unknown(command: string, reason: string, uses: Uses = noUses): Effects {
  const unknowns = [...uses.unknowns, reason];
  return { ...rest, class: 'unknown', command, uses: { ...uses, unknowns }, shape: { kind: 'unresolved', reason } };
}

const session = { reading: 'session', checkNames: true } as const;

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
    case 'DeallocateStmt':
      return { ...rest, class: 'session', command: statement.body.isall === true ? 'DEALLOCATE ALL' : 'DEALLOCATE' };
    case 'DiscardStmt':
      return { ...rest, class: 'session', command: (statement.body.target ?? 'DISCARD_ALL').replace('_', ' ') };
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
    const shadow = shadowReason(uses.into, catalogue);
    const stored: Shape = { kind: 'stored', query: tree };
    return { ...rest, class: 'ddl', command: 'SELECT INTO', uses: withUnknown(uses, shadow), shape: stored };
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

const closing = (name: string | undefined): Effects['cursor'] =>
  name === undefined ? { action: 'close-all' } : { action: 'close', name };

/** CURSOR_OPT_HOLD in PostgreSQL's parsenodes.h. */
const cursorOptionHold = 0x20;

/** It returns no rows itself, but opens all rows of its query to FETCH: so it counts as the query. */
function declareCursor(body: DeclareCursorStmt, catalogue: Catalogue): Effects {
  const { portalname: name = '', options = 0, query: inner } = body;
  const command = 'DECLARE CURSOR';
  const uses = collectUses(inner, catalogue, session);
  const reads = !uses.modifies && !uses.locks && uses.signals === undefined;
  if (inner === undefined || bodyIf(inner, 'SelectStmt') === undefined || !reads || uses.into !== undefined) {
    return unknown(command, 'a cursor of a statement that is no plain SELECT', uses);
  }
  const cursor = { action: 'declare', name, holds: (options & cursorOptionHold) !== 0 } as const;
  return { ...rest, class: 'read', command, cursor, uses, shape: { kind: 'query', query: inner } };
}

function createTableAs(body: Tree, catalogue: Catalogue): Effects {
  const materialized = body['objtype'] === 'OBJECT_MATVIEW';
  const command = materialized ? 'CREATE MATERIALIZED VIEW' : 'CREATE TABLE AS';
  const inner = body['query'] as Node;
  if (bodyIf(inner, 'SelectStmt') === undefined) return unknown(command, `${command} EXECUTE`);
  const into = (body['into'] as { rel?: RangeVar } | undefined)?.rel;
  const uses = withUnknown(collectUses(inner, catalogue, session), shadowReason(into, catalogue));
  // A materialized view keeps its definition, so its columns stay traceable; the rows of a new table are not.
  return { ...rest, class: 'ddl', command, uses, shape: materialized ? noRows : { kind: 'stored', query: inner } };
}

function transaction(body: TransactionStmt): Effects {
  const made = (step: StatementFacts['transaction'], command: string): Effects => {
    return { ...rest, class: 'transaction', command, transaction: step };
  };
  switch (body.kind) {
    case 'TRANS_STMT_BEGIN':
      return made('begin', 'BEGIN');
    case 'TRANS_STMT_START':
      return made('begin', 'START TRANSACTION');
    case 'TRANS_STMT_COMMIT':
      return made('commit', 'COMMIT');
    case 'TRANS_STMT_ROLLBACK':
      return made('rollback', 'ROLLBACK');
    case 'TRANS_STMT_SAVEPOINT':
      return made('savepoint', 'SAVEPOINT');
    case 'TRANS_STMT_RELEASE':
      return made('savepoint', 'RELEASE');
    case 'TRANS_STMT_ROLLBACK_TO':
      return made('savepoint', 'ROLLBACK');
    case 'TRANS_STMT_PREPARE':
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED':
    case undefined:
      return unknown('PREPARE TRANSACTION', 'a prepared transaction outlives its session');
    default:
      body.kind satisfies never;
      return unknown('TRANSACTION', 'an unknown transaction command');
  }
}

function setting(body: VariableSetStmt): Effects {
  const name = (body.name ?? '').toLowerCase();
  const command = body.kind === 'VAR_RESET' || body.kind === 'VAR_RESET_ALL' ? 'RESET' : 'SET';
  const made = (named: string, value: string | undefined): Effects => {
    return { ...rest, class: 'setting', command, setting: { name: named, value } };
  };
  switch (body.kind) {
    case 'VAR_SET_VALUE':
      return made(name, constantsOf(body.args));
    case 'VAR_SET_DEFAULT':
    case 'VAR_SET_CURRENT':
    case 'VAR_RESET':
      return made(name, undefined);
    case 'VAR_RESET_ALL':
      return made('all', undefined);
    case 'VAR_SET_MULTI':
      if (name !== 'transaction' && name !== 'session characteristics') return unknown('SET', `SET ${name}`);
      return { ...rest, class: 'transaction', command: 'SET', transaction: 'other' };
    case undefined:
      return unknown('SET', 'an unknown form of SET');
    default:
      body.kind satisfies never;
      return unknown('SET', 'an unknown form of SET');
  }
}

function settingBySelect(select: SelectStmt, catalogue: Catalogue): Effects | undefined {
  const call = settingCallOf(select, catalogue);
  if (call === undefined) return undefined;
  const { name, value, columns, parameters } = call;
  const uses = { ...noUses, parameters };
  const shape: Shape = { kind: 'columns', names: columns };
  return { ...rest, class: 'setting', command: 'SET', setting: { name, value }, uses, shape };
}

/** Several values (`search_path`, `DateStyle`) come as one text with commas, as SHOW would print them. */
function constantsOf(args: readonly Node[] | undefined): string | undefined {
  const values: string[] = [];
  for (const arg of args ?? []) {
    const constant = bodyIf(arg, 'A_Const');
    const value = constant === undefined ? undefined : constantText(constant);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values.length === 0 ? undefined : values.join(', ');
}

/** Kinds that define something. Value: the field with the relation that does not exist before, if there is one. */
const definitions: ReadonlyMap<string, string> = new Map([
  ['CreateStmt', 'relation'],
  ['CreateSeqStmt', 'sequence'],
  ['ViewStmt', 'view'],
  ['CompositeTypeStmt', 'typevar'],
  ...`AlterCollationStmt AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt AlterDefaultPrivilegesStmt
  AlterDomainStmt AlterEnumStmt AlterEventTrigStmt AlterExtensionContentsStmt AlterExtensionStmt AlterFdwStmt
  AlterForeignServerStmt AlterFunctionStmt AlterObjectDependsStmt AlterObjectSchemaStmt AlterOpFamilyStmt
  AlterOperatorStmt AlterOwnerStmt AlterPolicyStmt AlterPublicationStmt AlterRoleSetStmt AlterRoleStmt AlterSeqStmt
  AlterStatsStmt AlterTSConfigurationStmt AlterTSDictionaryStmt AlterTableMoveAllStmt AlterTableSpaceOptionsStmt
  AlterTableStmt AlterTypeStmt AlterUserMappingStmt CommentStmt CreateAmStmt CreateCastStmt CreateConversionStmt
  CreateDomainStmt CreateEnumStmt CreateEventTrigStmt CreateExtensionStmt CreateFdwStmt CreateForeignServerStmt
  CreateForeignTableStmt CreateFunctionStmt CreateOpClassStmt CreateOpFamilyStmt CreatePLangStmt CreatePolicyStmt
  CreatePublicationStmt CreateRangeStmt CreateRoleStmt CreateSchemaStmt CreateStatsStmt CreateTableSpaceStmt
  CreateTransformStmt CreateTrigStmt CreateUserMappingStmt CreatedbStmt DefineStmt DropOwnedStmt DropRoleStmt DropStmt
  DropTableSpaceStmt DropUserMappingStmt DropdbStmt GrantRoleStmt GrantStmt IndexStmt ReassignOwnedStmt RefreshMatViewStmt
  RenameStmt RuleStmt SecLabelStmt`
    .split(/\s+/)
    .map((kind) => [kind, ''] as const),
]);

function definition(kind: string, body: Tree, tree: Node, catalogue: Catalogue): Effects {
  const command = commandOf(kind, body);
  const created = definitions.get(kind);
  if (created === undefined) return unknown(command, `the command ${command} is not understood`);
  const made = body[created] as RangeVar | undefined;
  const inside =
    created === '' ? (kind === 'CreateForeignTableStmt' ? withoutBase(body) : tree) : { ...body, [created]: undefined };
  // A schema's elements and a function's body name what does not exist yet, or is looked at when it is called.
  const opaque = kind === 'CreateSchemaStmt' || kind === 'CreateFunctionStmt' || kind === 'RuleStmt';
  const found = collectUses(inside, catalogue, { reading: 'session', checkNames: false });
  const missingIsFine = opaque || body['missing_ok'] === true || body['if_not_exists'] === true;
  const own = ownName(kind, body, made, catalogue);
  const missing = own === undefined ? undefined : notInCatalogue(own);
  let uses: Uses = { ...found, unknowns: missingIsFine ? [] : found.unknowns.filter((reason) => reason !== missing) };
  if (kind !== 'ViewStmt') uses = { ...uses, relations: uses.relations.map((use) => ({ ...use, access: 'write' })) };
  uses = withDropped(kind, body, uses, catalogue);
  return { ...rest, class: 'ddl', command, uses: withUnknown(uses, shadowReason(made, catalogue)) };
}

/**
 * The one relation that need not be in the catalogue: the table itself, where a foreign key of it points back, and an index
 * that gets another name. ALTER INDEX takes a table too, so that name must be free: a temporary one would hide what bears it.
 */
function ownName(kind: string, body: Tree, made: RangeVar | undefined, catalogue: Catalogue): RangeVar | undefined {
  if (kind === 'CreateStmt') return made;
  if (kind !== 'RenameStmt' || body['renameType'] !== 'OBJECT_INDEX') return undefined;
  const isFree = catalogue.relationByName(undefined, String(body['newname'])) === undefined;
  return isFree ? (body['relation'] as RangeVar | undefined) : undefined;
}

function withoutBase(body: Tree): Tree {
  return { ...body, base: { ...(body['base'] as Tree), relation: undefined } };
}

/** DROP names its relations as lists of strings. */
function withDropped(kind: string, body: Tree, uses: Uses, catalogue: Catalogue): Uses {
  if (kind !== 'DropStmt' || !/TABLE|VIEW|SEQUENCE/.test(String(body['removeType']))) return uses;
  const named = ((body['objects'] as Node[] | undefined) ?? []).flatMap((object) => {
    const path = stringsOf(bodyIf(object, 'List')?.items);
    const relation = catalogue.relationByName(path.at(-2), path.at(-1) ?? '');
    return relation === undefined ? [] : [{ relation, access: 'write' as const }];
  });
  return { ...uses, relations: [...uses.relations, ...usesOfRelations(named, catalogue).relations] };
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

/** A temporary relation is found before any other of its name, and only by its own session: we would not see it. */
function shadowReason(created: RangeVar | undefined, catalogue: Catalogue): string | undefined {
  const { relname: name, schemaname: schema, relpersistence: persistence } = created ?? {};
  if (name === undefined || (persistence !== 't' && schema?.startsWith('pg_temp') !== true)) return undefined;
  if (isBuiltInType(name)) return `a temporary relation ${name} would hide the type of that name`;
  if (catalogue.relationByName(undefined, name) === undefined) return undefined;
  return `a temporary relation ${name} would hide the relation of that name`;
}

function withUnknown(uses: Uses, reason: string | undefined): Uses {
  return reason === undefined ? uses : { ...uses, unknowns: [...uses.unknowns, reason] };
}

const specialCommands: ReadonlyMap<string, string> = new Map([
  ['CreateStmt', 'CREATE TABLE'],
  ['CreateForeignTableStmt', 'CREATE FOREIGN TABLE'],
  ['CreateSeqStmt', 'CREATE SEQUENCE'],
  ['AlterSeqStmt', 'ALTER SEQUENCE'],
  ['CreateTrigStmt', 'CREATE TRIGGER'],
  ['CreateEventTrigStmt', 'CREATE EVENT TRIGGER'],
  ['CreatedbStmt', 'CREATE DATABASE'],
  ['DropdbStmt', 'DROP DATABASE'],
  ['ViewStmt', 'CREATE VIEW'],
  ['IndexStmt', 'CREATE INDEX'],
  ['RuleStmt', 'CREATE RULE'],
  ['CompositeTypeStmt', 'CREATE TYPE'],
  ['CreateEnumStmt', 'CREATE TYPE'],
  ['CreateRangeStmt', 'CREATE TYPE'],
  ['AlterEnumStmt', 'ALTER TYPE'],
  ['AlterTSDictionaryStmt', 'ALTER TEXT SEARCH DICTIONARY'],
  ['AlterTSConfigurationStmt', 'ALTER TEXT SEARCH CONFIGURATION'],
  ['RefreshMatViewStmt', 'REFRESH MATERIALIZED VIEW'],
  ['GrantRoleStmt', 'GRANT ROLE'],
  ['SecLabelStmt', 'SECURITY LABEL'],
  ['DeclareCursorStmt', 'DECLARE CURSOR'],
  ['CallStmt', 'CALL'],
]);

/** The tag as PostgreSQL would print it, near enough for people and policies. */
function commandOf(kind: string, body: Tree): string {
  const special = specialCommands.get(kind);
  if (special !== undefined) return special;
  if (kind === 'GrantStmt') return body['is_grant'] === true ? 'GRANT' : 'REVOKE';
  if (kind === 'FetchStmt') return body['ismove'] === true ? 'MOVE' : 'FETCH';
  if (kind === 'VacuumStmt') return body['is_vacuumcmd'] === true ? 'VACUUM' : 'ANALYZE';
  if (kind === 'CreateFunctionStmt') return body['is_procedure'] === true ? 'CREATE PROCEDURE' : 'CREATE FUNCTION';
  const object = objectWords(
    body['removeType'] ?? body['renameType'] ?? body['objectType'] ?? body['objtype'] ?? body['kind'],
  );
  if (kind === 'DropStmt') return `DROP ${object}`;
  if (kind === 'DefineStmt') return `CREATE ${object}`;
  if (kind === 'AlterTableStmt' || kind === 'RenameStmt' || /^AlterO(bject|wner)/.test(kind)) return `ALTER ${object}`;
  return kind
    .replace(/Stmt$/, '')
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .toUpperCase();
}

function objectWords(type: unknown): string {
  if (typeof type !== 'string') return '';
  return type
    .replace(/^OBJECT_/, '')
    .replace('MATVIEW', 'MATERIALIZED VIEW')
    .replaceAll('_', ' ');
}
