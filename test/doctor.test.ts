/** `doctor` on a real target: a set-up in which each pitfall was made on purpose, and one without any. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { makeCertificate } from '../demo/certificate.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { startOidcProvider } from '../demo/oidc-provider.ts';
import { doctor } from '../src/wiring/doctor.ts';
import type { DoctorReport } from '../src/review/doctor.ts';
import { openStore } from '../src/store/database.ts';
import { migrate } from '../src/store/migrate.ts';
import { upsertPrincipal } from '../src/store/principals.ts';

const password = 'doctor-test';
const rawValue = 'dora@example.org';

let home: string;
let postgres: EmbeddedPostgres;
let provider: Awaited<ReturnType<typeof startOidcProvider>>;
let admin: pg.Client;
/** Passwords as the configuration should have them: not in it. */
let secretFile: string;

before(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'countersign-doctor-'));
  const certificate = await makeCertificate({ hosts: ['localhost', '127.0.0.1'] });
  for (const [name, text] of Object.entries({
    ca: certificate.caPem,
    crt: certificate.certPem,
    key: certificate.keyPem,
    secret: password,
  })) {
    await writeFile(path.join(home, name), text, { mode: 0o600 });
  }
  secretFile = path.join(home, 'secret');
  postgres = await startEmbeddedPostgres({
    databases: ['crm', 'control'],
    tls: { certPem: certificate.certPem, keyPem: certificate.keyPem },
  });
  provider = await startOidcProvider({ services: [] });
  await writeFile(path.join(home, 'store'), postgres.url('control'), { mode: 0o600 });
  const { store } = openStore(postgres.url('control'));
  await migrate(store);
  for (const [id, group] of Object.entries({
    dana: 'chunk-designers',
    eli: 'chunk-executors',
    erin: 'chunk-executors',
    ana: 'auditors',
  })) {
    const person = { id, human: id, kind: 'person' as const, displayName: id, email: undefined, groups: [group] };
    await upsertPrincipal(store, person, new Date());
  }
  await store.destroy();
  admin = new pg.Client({ connectionString: postgres.url('crm') });
  await admin.connect();
  for (const role of ['cs_gateway', 'cs_designer', 'cs_executor'])
    await admin.query(`create role ${role} login password '${password}'`);
  await admin.query(`
    create table customers (id int primary key, label text, contact text, email text, since date);
    insert into customers select g, 'label ' || g, case when g % 2 = 0 then '${rawValue}' end, 'm' || g || '@example.org', now() from generate_series(1, 50) g;
    create table ledger (id int primary key, amount int);
    create table "Odd ""name" (id int, "Geburts-Datum" date);
    revoke create on schema public from public;
    grant select on customers, ledger to cs_gateway, cs_designer, cs_executor;
    grant execute on function pg_hba_file_rules() to cs_gateway;
    grant select on pg_hba_file_rules to cs_gateway`);
});

after(async () => {
  await admin?.end().catch(() => undefined);
  await provider?.close();
  await postgres?.stop();
  await rm(home, { recursive: true, force: true });
});

type Raw = Record<string, unknown> & { connections: Record<string, unknown>[] };

/** A sound configuration, changed by `change`. */
async function report(change: (raw: Raw) => void = () => undefined): Promise<DoctorReport> {
  const credential = (user: string) => ({ user, password: { file: secretFile } });
  const raw: Raw = {
    dataDirectory: path.join(home, 'data'),
    store: { url: { file: path.join(home, 'store') } },
    gateway: { postgres: { tls: { certFile: path.join(home, 'crt'), keyFile: path.join(home, 'key') } } },
    identity: { issuer: provider.issuer },
    connections: [
      {
        name: 'crm',
        engine: 'postgres',
        host: 'localhost',
        port: postgres.port,
        database: 'crm',
        labels: { data: 'personal' },
        tls: { mode: 'verify-full', caFile: path.join(home, 'ca') },
        credentials: {
          gateway: credential('cs_gateway'),
          designer: credential('cs_designer'),
          executor: credential('cs_executor'),
        },
      },
    ],
    masking: [
      {
        name: 'personal',
        appliesTo: {},
        columns: [
          { match: 'email', mask: 'email-domain' },
          { match: 'contact', mask: 'redact' },
          { match: 'geburts-datum', mask: 'year' },
        ],
      },
    ],
  };
  change(raw);
  const file = path.join(home, 'countersign.yaml');
  await writeFile(file, JSON.stringify(raw));
  await chmod(file, 0o600);
  return doctor(file);
}

const checks = ({ findings }: DoctorReport) => [...new Set(findings.map(({ check }) => check))].toSorted();

async function withChange(change: string, back: string, work: () => Promise<void>): Promise<void> {
  await admin.query(change);
  try {
    await work();
  } finally {
    await admin.query(back);
  }
}

describe('a sound set-up', () => {
  it('has no findings, and nothing is left out', async () => {
    // The session that made it would be one that goes around the gateway.
    await admin.end();
    try {
      assert.deepEqual(await report(), { findings: [], worst: undefined, skipped: [] });
    } finally {
      admin = new pg.Client({ connectionString: postgres.url('crm') });
      await admin.connect();
    }
  });
});

describe('each pitfall', () => {
  const accounts: [string, string, string, RegExp][] = [
    ['account-superuser', 'alter role cs_executor superuser', 'alter role cs_executor nosuperuser', /executor account/],
    [
      'account-createrole',
      'alter role cs_executor createrole',
      'alter role cs_executor nocreaterole',
      /executor account/,
    ],
    ['account-createdb', 'alter role cs_executor createdb', 'alter role cs_executor nocreatedb', /executor account/],
    ['account-bypassrls', 'alter role cs_designer bypassrls', 'alter role cs_designer nobypassrls', /designer account/],
    [
      'account-replication',
      'alter role cs_gateway replication',
      'alter role cs_gateway noreplication',
      /gateway account/,
    ],
    [
      'account-role-pg_execute_server_program',
      'create role deep; grant pg_execute_server_program to deep; grant deep to cs_executor',
      'drop role deep',
      /executor account/,
    ],
    [
      'account-role-pg_read_server_files',
      'grant pg_read_server_files to cs_executor',
      'revoke pg_read_server_files from cs_executor',
      /executor/,
    ],
    [
      'account-role-pg_read_all_data',
      'grant pg_read_all_data to cs_gateway',
      'revoke pg_read_all_data from cs_gateway',
      /gateway account/,
    ],
    [
      'account-owner',
      'alter table ledger owner to cs_executor',
      'alter table ledger owner to postgres; grant select on ledger to cs_executor',
      /executor/,
    ],
    [
      'account-create',
      'grant create on schema public to cs_executor',
      'revoke create on schema public from cs_executor',
      /executor account/,
    ],
    [
      'account-writes',
      'grant insert on ledger to cs_gateway',
      'revoke insert on ledger from cs_gateway',
      /gateway account/,
    ],
  ];
  for (const [check, change, back, where] of accounts) {
    it(`${check} is found, and nothing else of accounts`, async () => {
      await withChange(change, back, async () => {
        const found = (await report()).findings.filter((finding) => finding.check.startsWith('account-'));
        const named = found.filter((finding) => finding.check === check);
        assert.equal(named.length, 1, JSON.stringify(found));
        assert.match(named[0]?.where ?? '', where);
        // A member of pg_read_all_data reads more; an owner may write.
        assert.deepEqual(
          found.filter((finding) => finding.check !== check && !where.test(finding.where)),
          [],
        );
      });
    });
  }

  it('accounts that are missing or shared', async () => {
    const missing = await report(({ connections }) => {
      const credentials = connections[0]?.['credentials'] as Record<string, object>;
      credentials['executor'] = { user: 'cs_nobody', password: { file: secretFile } };
      credentials['designer'] = credentials['gateway'] ?? {};
    });
    assert.ok(checks(missing).includes('account-missing'));
    const shared = missing.findings.filter(({ check }) => check === 'account-shared');
    assert.equal(shared.length, 1);
    assert.match(shared[0]?.what ?? '', /gateway, designer/);
  });

  it('ways around the gateway', async () => {
    const stranger = await report();
    assert.deepEqual(checks(stranger), ['reach-session']);
    assert.match(stranger.findings[0]?.what ?? '', /session of postgres/);
    const { rows } = await admin.query<{ hba_file: string }>('show hba_file');
    const file = rows[0]?.hba_file ?? '';
    const sound = await readFile(file, 'utf8');
    const hba = async (lines: string) => {
      await writeFile(file, `${sound}\n${lines}\n`);
      await admin.query('select pg_reload_conf()');
      return report();
    };
    try {
      const open = await hba(
        'host all all 0.0.0.0/0 scram-sha-256\nhostssl crm cs_gateway,cs_executor 10.0.0.0/8 scram-sha-256\nhost other all 0.0.0.0/0 trust',
      );
      assert.deepEqual(checks(open), ['reach-hba', 'reach-session']);
      assert.equal(open.findings.filter(({ check }) => check === 'reach-hba').length, 1);
      assert.ok(checks(await hba('host crm all 10.0.0.1/32 trust')).includes('reach-trust'));
      assert.ok(checks(await hba('host all cs_gateway 10.0.0.1/32 password')).includes('reach-cleartext'));
    } finally {
      await writeFile(file, sound);
      await admin.query('select pg_reload_conf()');
    }
    await withChange(
      'revoke select on pg_hba_file_rules from cs_gateway',
      'grant select on pg_hba_file_rules to cs_gateway',
      async () => assert.ok(checks(await report()).includes('reach-unknown')),
    );
  });

  it('duties and workflows that do not add up', async () => {
    const unbound = await report((raw) => {
      raw['bindings'] = [
        { group: 'chunk-designers', duties: ['designer'] },
        { group: 'chunk-executors', duties: ['executor'] },
        { group: 'nobodies', duties: ['auditor'] },
      ];
    });
    const found = unbound.findings.map(({ check, where }) => `${check} ${where}`);
    assert.ok(found.includes('duty-unbound connection crm: duty approver'), found.join());
    assert.ok(found.includes('duty-held-by-nobody connection crm: duty auditor'), found.join());
    const many = await report((raw) => {
      raw['workflows'] = [
        { match: { labels: { data: 'other' } }, approvals: { count: 1 } },
        { match: { kinds: ['job'] }, approvals: { count: 3 } },
        { approvals: { count: 1, groups: ['board'] } },
      ];
    });
    assert.deepEqual(
      many.findings.filter(({ check }) => check !== 'reach-session').map(({ check, where }) => `${check} ${where}`),
      [
        'approval-impossible connection crm: approval of a job',
        'approval-impossible connection crm: approval of a statement',
        'workflow-idle workflows[0]',
      ],
    );
  });

  it('columns without a mask, by name and by values, and rules without a column; no value is told', async () => {
    const unmasked = await report((raw) => {
      raw['masking'] = [
        { name: 'typo', appliesTo: {}, columns: [{ match: 'customers.e_mail', mask: 'redact' }] },
        { name: 'elsewhere', appliesTo: { data: 'none' }, columns: [{ match: 'email', mask: 'redact' }] },
      ];
    });
    const found = unmasked.findings
      .filter(({ check }) => check.startsWith('masking-'))
      .map(({ check, where }) => `${check} ${where}`);
    assert.deepEqual(found, [
      'masking-missing-values connection crm: public.customers.contact',
      'masking-missing-name connection crm: public.Odd "name.Geburts-Datum',
      'masking-missing-name connection crm: public.customers.email',
      'masking-idle-rule masking template typo, columns[0]',
      'masking-idle-template masking template elsewhere',
    ]);
    const values = unmasked.findings.find(({ check }) => check === 'masking-missing-values');
    assert.match(values?.what ?? '', /100% of 25 sampled values look like: email/);
    assert.ok(!JSON.stringify(unmasked).includes('example.org'));
    const byName = await report((raw) => {
      raw['doctor'] = {
        sampleRows: 0,
        ignore: [{ check: 'masking-missing-name', where: '*geburts*' }, { check: 'reach-*' }],
      };
      raw['masking'] = [{ name: 'one', appliesTo: {}, columns: [{ match: 'label', mask: 'redact' }] }];
    });
    assert.deepEqual(
      byName.findings.map(({ where }) => where),
      ['connection crm: public.customers.email'],
    );
    assert.equal(byName.worst, 'medium');
  });

  it('a table that the gateway may not read is judged by its names', async () => {
    await withChange(
      'revoke select on customers from cs_gateway',
      'grant select on customers to cs_gateway',
      async () => {
        const blind = await report((raw) => {
          raw['masking'] = [{ name: 'one', appliesTo: {}, columns: [{ match: 'label', mask: 'redact' }] }];
        });
        assert.ok(checks(blind).includes('masking-missing-name'));
        assert.ok(!checks(blind).includes('masking-missing-values'));
        assert.deepEqual(blind.skipped, []);
      },
    );
  });

  it('weak TLS', async () => {
    const expiring = await report((raw) => {
      raw['doctor'] = { certificateWarningMs: 60 * 86_400_000 };
    });
    assert.deepEqual(expiring.skipped, []);
    assert.deepEqual(
      expiring.findings
        .filter(({ check }) => check === 'certificate-expires')
        .map(({ where }) => where)
        .toSorted(),
      ["connection crm: the target's certificate", 'gateway.postgres.tls'],
    );
    const plain = await report((raw) => {
      const [connection] = raw.connections;
      if (connection !== undefined) connection['tls'] = { mode: 'disable' };
    });
    assert.equal(plain.findings.find(({ check }) => check === 'tls-disabled')?.severity, 'info', 'on this machine');
  });

  it('settings, files and a target that is away', async () => {
    const data = path.join(home, 'data');
    for (const name of ['', 'log', 'keys', 'recordings']) {
      await mkdir(path.join(data, name), { recursive: true });
      await chmod(path.join(data, name), name === 'log' || name === 'keys' ? 0o777 : 0o750);
    }
    const loose = await report((raw) => {
      raw['gateway'] = { postgres: { requireTls: false }, workers: 256 };
      raw['api'] = { host: '0.0.0.0' };
      (raw.connections[0] ?? {})['port'] = 1;
    });
    await rm(data, { recursive: true });
    assert.deepEqual(checks(loose), [
      'file-keys-readable',
      'file-writable',
      'setting-api-tls',
      'setting-public-url',
      'setting-require-tls',
      'setting-workers',
      'target-unreachable',
    ]);
    assert.equal(loose.worst, 'critical');
    assert.ok(loose.skipped.some(({ check }) => check === 'masking-idle-rule'));
    const stored = await report((raw) => {
      raw['store'] = { url: postgres.url('crm').replace('127.0.0.1', 'localhost') };
    });
    const found = checks(stored);
    assert.ok(
      found.includes('store-is-target') && found.includes('secret-in-file') && found.includes('store-unreachable'),
      found.join(),
    );
  });
});
