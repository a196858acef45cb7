/** Statements that define something: CREATE, ALTER, DROP, GRANT, COMMENT … */
import type { Node, RangeVar } from 'libpg-query';
import { rest, unknown, withUnknown, type Effects } from './effect.ts';
import type { Catalogue } from './statement.ts';
import { createTemporaryTable, makesTemporary, temporaryDropped, temporaryReason } from './temporary.ts';
import { bodyIf, stringsOf, type Tree } from './tree.ts';
import { collectUses, notInCatalogue, usesOfRelations, type Uses } from './uses.ts';

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

export function definition(kind: string, body: Tree, tree: Node, catalogue: Catalogue): Effects {
  const command = commandOf(kind, body);
  const created = definitions.get(kind);
  const isCode = kind === 'DoStmt' || kind === 'CallStmt';
  if (isCode) return unknown(command, `${command} runs code of which its text does not show what it reads`);
  if (created === undefined) return unknown(command, `the command ${command} is not understood`);
  const made = body[created] as RangeVar | undefined;
  if (makesTemporary(made)) {
    return kind === 'CreateStmt'
      ? createTemporaryTable(body, catalogue)
      : unknown(command, 'temporary views, sequences and types are not followed');
  }
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
  uses = withUnknown(uses, temporaryReason(kind, body, uses, catalogue));
  return { ...rest, class: 'ddl', command, uses, temporary: temporaryDropped(kind, body) };
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
