/**
 * Database accounts against what their duty needs. The questions go to the target's catalogue through the gateway's own
 * account; the judgement is pure.
 */
import type { Finding } from './finding.ts';

/** What the checks ask a target: one read-only statement, values as text. */
export type TargetQuery = (sql: string) => Promise<{ readonly rows: readonly (readonly (string | null)[])[] }>;

export type AccountDuty = 'gateway' | 'designer' | 'executor';

export interface AccountFacts {
  readonly connection: string;
  readonly duty: AccountDuty;
  readonly user: string;
  /** False: the target has no such account. */
  readonly exists: boolean;
  readonly isSuperuser: boolean;
  readonly createsRoles: boolean;
  readonly createsDatabases: boolean;
  readonly bypassesRowSecurity: boolean;
  readonly replicates: boolean;
  /** Predefined roles (`pg_…`) that it is a member of, directly or through others. */
  readonly predefinedRoles: readonly string[];
  /** Of user relations, as schema.name; at most `maxNames`. */
  readonly owns: readonly string[];
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  readonly createsIn: readonly string[];
}

const maxNames = 1_000;

/** Roles that reach beyond the database's own rights. */
const dangerousRoles: ReadonlySet<string> = new Set([
  'pg_read_server_files',
  'pg_write_server_files',
  'pg_execute_server_program',
  'pg_read_all_data',
  'pg_write_all_data',
  'pg_create_subscription',
  'pg_maintain',
  'pg_signal_backend',
  'pg_use_reserved_connections',
  'pg_database_owner',
]);
const serverRoles: ReadonlySet<string> = new Set([
  'pg_read_server_files',
  'pg_write_server_files',
  'pg_execute_server_program',
]);

/** @throws what the target throws */
export async function accountFacts(
  query: TargetQuery,
  connection: string,
  duty: AccountDuty,
  user: string,
): Promise<AccountFacts> {
  const { rows } = await query(`select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication
    from pg_catalog.pg_roles where rolname = ${literal(user)}`);
  const row = rows[0];
  const is = (column: number) => row?.[column] === 't' || row?.[column] === 'true';
  const names = async (sql: string) => (row === undefined ? [] : (await query(sql)).rows.map(([name]) => name ?? ''));
  const role = `(select oid from pg_catalog.pg_roles where rolname = ${literal(user)})`;
  const withRight = (right: string, kinds: string) =>
    names(`select n.nspname || '.' || c.relname from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in (${kinds}) and ${userSchema} and pg_catalog.has_table_privilege(${role}, c.oid, '${right}')
      order by 1 limit ${maxNames}`);
  return {
    connection,
    duty,
    user,
    exists: row !== undefined,
    isSuperuser: is(0),
    createsRoles: is(1),
    createsDatabases: is(2),
    bypassesRowSecurity: is(3),
    replicates: is(4),
    predefinedRoles: await names(`with recursive member(role) as (
        select ${role} union select m.roleid from pg_catalog.pg_auth_members m join member on m.member = member.role)
      select r.rolname from member join pg_catalog.pg_roles r on r.oid = member.role
      where r.rolname ~ '^pg_' order by 1`),
    owns: await names(`select n.nspname || '.' || c.relname from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f') and ${userSchema} and pg_catalog.pg_has_role(${role}, c.relowner, 'usage')
      order by 1 limit ${maxNames}`),
    reads: await withRight('SELECT', "'r', 'p', 'v', 'm', 'f'"),
    writes: await withRight('INSERT, UPDATE, DELETE, TRUNCATE', "'r', 'p'"),
    createsIn: await names(`select n.nspname from pg_catalog.pg_namespace n
      where ${userSchema} and pg_catalog.has_schema_privilege(${role}, n.oid, 'CREATE') order by 1 limit ${maxNames}`),
  };
}

const userSchema = `n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'`;

function literal(text: string): string {
  return `pg_catalog.convert_from(pg_catalog.decode('${Buffer.from(text, 'utf8').toString('hex')}', 'hex'), 'UTF8')`;
}

export interface AccountNeeds {
  /** Relations that jobs read, as schema.name; undefined = not known, then breadth is not judged. */
  readonly usedRelations: ReadonlySet<string> | undefined;
  /** Duties share one database account: then none is narrower than the broadest. */
  readonly sharedWith: readonly AccountDuty[];
}

/** Pure. */
export function accountFindings(facts: AccountFacts, needs: AccountNeeds): Finding[] {
  const where = `connection ${facts.connection}: ${facts.duty} account ${facts.user}`;
  if (!facts.exists) {
    return [
      {
        check: 'account-missing',
        severity: 'high',
        where,
        what: 'the target has no account of this name, or the gateway cannot see it',
        why: `sessions in the duty of ${facts.duty} cannot open`,
        remedy: `create role ${facts.user} login, with the rights that its duty needs and no more`,
      },
    ];
  }
  return [...attributes(facts, where), ...roles(facts, where), ...rights(facts, where, needs)];
}

function* attributes(facts: AccountFacts, where: string): Generator<Finding> {
  const why =
    'the gateway adds to the rights of the database, it does not replace them: a way past its analysis would reach everything';
  if (facts.isSuperuser) {
    yield {
      check: 'account-superuser',
      severity: 'critical',
      where,
      what: 'it is a superuser',
      why,
      remedy: `alter role ${facts.user} nosuperuser, and grant what its duty needs`,
    };
    return;
  }
  const found: [boolean, string, string, Finding['severity']][] = [
    [facts.createsRoles, 'createrole', 'it may create roles, and give itself the rights of others', 'critical'],
    [facts.replicates, 'replication', 'it may replicate: the whole cluster streams past every rule', 'critical'],
    [facts.bypassesRowSecurity, 'bypassrls', 'it bypasses row-level security', 'high'],
    [facts.createsDatabases, 'createdb', 'it may create databases', 'medium'],
  ];
  for (const [isSo, attribute, what, severity] of found) {
    if (!isSo) continue;
    yield {
      check: `account-${attribute}`,
      severity,
      where,
      what,
      why,
      remedy: `alter role ${facts.user} no${attribute}`,
    };
  }
}

function* roles(facts: AccountFacts, where: string): Generator<Finding> {
  if (facts.isSuperuser) return;
  for (const role of facts.predefinedRoles.filter((name) => dangerousRoles.has(name))) {
    yield {
      check: `account-role-${role}`,
      severity: serverRoles.has(role) ? 'critical' : 'high',
      where,
      what: `it is a member of ${role}`,
      why: serverRoles.has(role)
        ? 'files and programs of the database server are out of reach of every mask'
        : 'it reaches tables that nobody granted to it one by one, also future ones',
      remedy: `revoke ${role} from ${facts.user} (or from the role through which it has it)`,
    };
  }
}

function* rights(facts: AccountFacts, where: string, { usedRelations, sharedWith }: AccountNeeds): Generator<Finding> {
  const { user } = facts;
  if (sharedWith.length > 0) {
    yield {
      check: 'account-shared',
      severity: 'medium',
      where,
      what: `the duties ${[facts.duty, ...sharedWith].join(', ')} use one database account`,
      why: 'a session of the narrower duty has the rights of the broader one',
      remedy: 'give each duty an account of its own',
    };
  }
  if (facts.isSuperuser) return;
  if (facts.owns.length > 0) {
    yield {
      check: 'account-owner',
      severity: 'high',
      where,
      what: `it owns ${listed(facts.owns)}`,
      why: 'an owner changes definitions, drops masks that go by name, and switches row-level security off',
      remedy: `give them another owner: alter table … owner to …, and revoke the owner's role from ${user}`,
    };
  }
  if (facts.createsIn.length > 0) {
    yield {
      check: 'account-create',
      severity: 'medium',
      where,
      what: `it may create objects in ${listed(facts.createsIn)}`,
      why: 'a copy under another name is out of reach of masking rules, which go by name',
      remedy: `revoke create on schema … from ${user} (and from public)`,
    };
  }
  // Executors of write jobs need to write; the gateway's own account and a designer's never do.
  if (facts.duty !== 'executor' && facts.writes.length > 0) {
    yield {
      check: 'account-writes',
      severity: facts.duty === 'gateway' ? 'high' : 'medium',
      where,
      what: `it may write ${listed(facts.writes)}`,
      why:
        facts.duty === 'gateway'
          ? 'the gateway itself only asks'
          : 'designers look at samples; what they write is held',
      remedy: `revoke insert, update, delete, truncate on … from ${user}`,
    };
  }
  if (facts.duty !== 'executor' || usedRelations === undefined) return;
  const unused = facts.reads.filter((name) => !usedRelations.has(name));
  if (unused.length > 0) {
    yield {
      check: 'account-reads-more',
      severity: 'low',
      where,
      what: `it may read ${listed(unused)}, which no job uses`,
      why: 'what no job needs is only ever read by mistake or on purpose',
      remedy: `revoke select on … from ${user}; grant it again with the job that needs it`,
    };
  }
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
