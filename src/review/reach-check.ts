/** Can the target be reached around the gateway? As far as the target lets its account see. */
import net from 'node:net';
import type { TargetQuery } from './account-check.ts';
import type { Finding } from './finding.ts';

export interface ReachFacts {
  readonly connection: string;
  readonly database: string;
  /** The gateway's accounts at this target. */
  readonly accounts: readonly string[];
  readonly listenAddresses: string | undefined;
  /** undefined: the gateway's account may not read pg_hba_file_rules. */
  readonly hba: readonly HbaRule[] | undefined;
  /** Sessions of other accounts in this database, or of the gateway's accounts from elsewhere. */
  readonly strangers: readonly {
    readonly user: string;
    readonly address: string;
    readonly application: string;
    readonly sessions: number;
  }[];
}

export interface HbaRule {
  readonly line: number;
  readonly type: string;
  readonly databases: readonly string[];
  readonly users: readonly string[];
  readonly address: string | undefined;
  readonly netmask: string | undefined;
  readonly method: string;
}

/** @throws what the target throws, except where a right is missing */
export async function reachFacts(
  query: TargetQuery,
  connection: string,
  database: string,
  accounts: readonly string[],
): Promise<ReachFacts> {
  const { rows: settings } = await query(`select setting from pg_catalog.pg_settings where name = 'listen_addresses'`);
  // Of accounts that it is no member of, the gateway's account sees who, and neither from where nor with what.
  const own = `a.usename = any(${textArray(accounts)})`;
  const { rows } = await query(`select a.usename,
      case when a.backend_type is null then 'an address that cannot be seen' else coalesce(pg_catalog.host(a.client_addr), 'the machine itself') end,
      case when ${own} then '' else coalesce(a.application_name, '') end, pg_catalog.count(*)::text
    from pg_catalog.pg_stat_activity a
    where a.datname = pg_catalog.current_database() and coalesce(a.backend_type, 'client backend') = 'client backend'
      and case when ${own} then a.backend_type is not null and a.client_addr is distinct from
        (select s.client_addr from pg_catalog.pg_stat_activity s where s.pid = pg_catalog.pg_backend_pid())
        else a.usename is not null end
    group by 1, 2, 3 order by 1, 2, 3 limit 100`);
  return {
    connection,
    database,
    accounts,
    listenAddresses: settings[0]?.[0] ?? undefined,
    hba: await hbaRules(query),
    strangers: rows.map(([user, address, application, sessions]) => ({
      user: user ?? '',
      address: address ?? '',
      application: application ?? '',
      sessions: Number(sessions),
    })),
  };
}

async function hbaRules(query: TargetQuery): Promise<readonly HbaRule[] | undefined> {
  try {
    const { rows } = await query(`select line_number::text, type, pg_catalog.array_to_json(database)::text,
        pg_catalog.array_to_json(user_name)::text, address, netmask, auth_method
      from pg_catalog.pg_hba_file_rules where error is null order by line_number`);
    return rows.map(([line, type, databases, users, address, netmask, method]) => ({
      line: Number(line),
      type: type ?? '',
      databases: JSON.parse(databases ?? '[]') as string[],
      users: JSON.parse(users ?? '[]') as string[],
      address: address ?? undefined,
      netmask: netmask ?? undefined,
      method: method ?? '',
    }));
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
    if (code === '42501') return undefined;
    throw error;
  }
}

function textArray(names: readonly string[]): string {
  return `array[${names.map((name) => `pg_catalog.convert_from('\\x${Buffer.from(name, 'utf8').toString('hex')}'::bytea, 'UTF8')`).join(', ')}]::text[]`;
}

/** Pure. */
export function reachFindings(facts: ReachFacts): Finding[] {
  return [...hba(facts), ...sessions(facts)];
}

function* hba(facts: ReachFacts): Generator<Finding> {
  const where = `connection ${facts.connection}`;
  const why = 'who reaches the database past the gateway is neither masked, nor held, nor recorded';
  if (facts.hba === undefined) {
    yield {
      check: 'reach-unknown',
      severity: 'info',
      where,
      what: `the gateway’s account may not read pg_hba_file_rules, so it is not known who may log in around the gateway${facts.listenAddresses === undefined ? '' : `; the target listens at ${facts.listenAddresses}`}`,
      why,
      remedy:
        'look at pg_hba.conf, or grant execute on function pg_hba_file_rules() and select on pg_hba_file_rules to the gateway account for this check',
    };
    return;
  }
  for (const rule of facts.hba) {
    if (!matchesDatabase(rule, facts.database) || rule.method === 'reject') continue;
    const at = `${where}: pg_hba.conf line ${rule.line}`;
    if (rule.method === 'trust') {
      yield {
        check: 'reach-trust',
        severity: rule.type === 'local' ? 'high' : 'critical',
        where: at,
        what: `${rule.type === 'local' ? 'local users' : (rule.address ?? 'hosts')} log in as ${rule.users.join(', ')} without any proof (trust)`,
        why,
        remedy: 'use scram-sha-256 and list the gateway’s accounts only',
      };
      continue;
    }
    const isOpen = rule.type !== 'local' && isManyHosts(rule);
    const others = rule.users.filter((user) => !facts.accounts.includes(user));
    if (isOpen && others.length > 0) {
      yield {
        check: 'reach-hba',
        severity: 'medium',
        where: at,
        what: `${others.join(', ')} may log in from ${hosts(rule)}`,
        why,
        remedy: 'let only the gateway’s hosts in, and only its accounts',
      };
    }
    if (rule.method === 'password' && rule.type !== 'hostssl' && rule.type !== 'local') {
      yield {
        check: 'reach-cleartext',
        severity: 'high',
        where: at,
        what: 'passwords travel in clear text',
        why: 'whoever reads one logs in around the gateway',
        remedy: 'use scram-sha-256 and hostssl',
      };
    }
  }
}

function matchesDatabase({ databases }: HbaRule, database: string): boolean {
  return databases.some(
    (name) => name === 'all' || name === database || name === 'sameuser' || name === 'samerole' || name.startsWith('/'),
  );
}

/** More than the hosts of one small network: every address, or a prefix shorter than 24 bits (IPv6: 64). */
function isManyHosts({ address, netmask }: HbaRule): boolean {
  if (address === undefined) return false;
  if (address === 'all' || address === 'samenet') return true;
  // A host name may stand for any number of hosts; one that begins with a dot stands for a domain.
  if (net.isIP(address) === 0) return address.startsWith('.');
  if (netmask === undefined) return false;
  const isFour = net.isIPv4(address);
  if (isFour && address.startsWith('127.')) return false;
  if (!isFour && (address === '::1' || netmask === 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')) return false;
  return isFour ? !netmask.startsWith('255.255.255.') : !netmask.startsWith('ffff:ffff:ffff:ffff');
}

function hosts({ address, netmask }: HbaRule): string {
  return address === 'all' || netmask === undefined
    ? `${address === 'all' ? 'any address' : address}`
    : `${address} (mask ${netmask})`;
}

function* sessions(facts: ReachFacts): Generator<Finding> {
  for (const { user, address, application, sessions: count } of facts.strangers) {
    const isAccount = facts.accounts.includes(user);
    yield {
      check: 'reach-session',
      severity: isAccount ? 'high' : 'medium',
      where: `connection ${facts.connection}: database ${facts.database}`,
      what: `${count} open ${count === 1 ? 'session' : 'sessions'} of ${user} from ${address}${application === '' ? '' : ` (${printable(application)})`} did not come through this gateway`,
      why: isAccount
        ? 'somebody elsewhere knows the password of an account of the gateway'
        : 'what they read is neither masked, nor held, nor recorded',
      remedy: isAccount
        ? 'change its password, unless this is another node of the gateway'
        : 'find out who it is, and let them come through the gateway',
    };
  }
}

function printable(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} ._/:@-]/gu, '?').slice(0, 63);
}
