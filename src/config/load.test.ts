import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { CountersignError } from '../errors.ts';
import { loadConfiguration, parseConfiguration, readSecret } from './load.ts';

const minimal = `
dataDirectory: data
store: { url: "postgresql://localhost/control" }
gateway: { postgres: { requireTls: false } }
identity: { issuer: "https://login.example.com" }
connections:
  - name: crm
    engine: postgres
    host: db
    database: crm
    credentials:
      gateway: { user: g, password: { env: G } }
      designer: { user: d, password: x }
      executor: { user: e, password: x }
`;

function problems(text: string): string {
  try {
    parseConfiguration(text, 'c.yaml');
  } catch (error) {
    assert.equal((error as CountersignError).code, 'configuration_invalid');
    return (error as CountersignError).message;
  }
  throw new Error('this configuration had to be refused');
}

describe('a configuration', () => {
  it('has defaults for everything that can have one', () => {
    const configuration = parseConfiguration(minimal, 'c.yaml');
    assert.equal(configuration.gateway.limits.handshakeTimeoutMs, 15_000);
    assert.equal(configuration.sampling.rowsPerHour, 100);
    assert.deepEqual(configuration.connections[0]?.tls, { mode: 'verify-full' });
    assert.deepEqual(
      configuration.bindings.map((binding) => binding.group),
      ['chunk-designers', 'chunk-executors', 'auditors'],
    );
  });

  it('is refused with file, line and field, all problems at once', () => {
    const text = problems(minimal.replace('host: db', 'hosts: db').replace('name: crm', 'name: "C R M"'));
    assert.match(text, /c\.yaml:\d+:\d+: connections\.0\.name/);
    assert.match(text, /c\.yaml:\d+:\d+: connections\.0.*hosts/);
    assert.match(text, /c\.yaml:7:/);
  });

  it('is refused with a duplicate key, a duplicate name, and TLS that is required but not there', () => {
    assert.match(problems(`${minimal}dataDirectory: other\n`), /c\.yaml:\d+:\d+: .*unique/i);
    const connection = minimal.slice(minimal.indexOf('  - name'));
    assert.match(problems(minimal + connection), /crm is used twice/);
    assert.match(problems(minimal.replace('requireTls: false', 'requireTls: true')), /certificate is needed/);
  });
});

describe('the ways to the gateway and to a target', () => {
  const ways = minimal
    .replace(
      'postgres: { requireTls: false }',
      'postgres: { host: [127.0.0.1, "::1"], socket: run, tls: { certFile: g.crt, keyFile: g.key, clientCaFile: c.crt } }',
    )
    .replace(
      '    host: db',
      '    tls: { mode: verify-full, certFile: t.crt, keyFile: t.key, negotiation: direct }\n    host: db',
    );

  it('are several addresses, a socket and certificates, whose paths count from the file', (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'countersign-config-'));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(path.join(folder, 'c.yaml'), ways);
    const { gateway, connections } = loadConfiguration(path.join(folder, 'c.yaml'));
    const at = (name: string) => path.join(folder, name);
    assert.deepEqual(gateway.postgres, {
      host: ['127.0.0.1', '::1'],
      port: 6432,
      socket: at('run'),
      tls: { certFile: at('g.crt'), keyFile: at('g.key'), clientCaFile: at('c.crt') },
      requireTls: true,
    });
    const channel = { mode: 'verify-full', certFile: at('t.crt'), keyFile: at('t.key'), negotiation: 'direct' };
    assert.deepEqual(connections[0]?.tls, channel);
  });

  it('are refused with half a certificate, no address, and a limit that PostgreSQL cannot take', () => {
    assert.match(problems(ways.replace(', keyFile: t.key', '')), /crm: tls\.certFile and tls\.keyFile/);
    assert.match(problems(ways.replace('[127.0.0.1, "::1"]', '[]')), /gateway\.postgres\.host/);
    const limit = ways.replace('gateway: {', 'gateway: { limits: { statementTimeoutMs: 2147483648 },');
    assert.match(problems(limit), /statementTimeoutMs/);
  });
});

describe('what a masking rule lets predicates do', () => {
  const ruled = (predicates: string) =>
    `${minimal}masking: [ { name: m, columns: [ { match: ssn, mask: redact, predicates: ${predicates} } ] } ]\n`;

  it('is nothing, is null, or so many equalities an hour', () => {
    for (const [written, expected] of [
      ['deny', 'deny'],
      ['is-null', 'is-null'],
      ['{ kind: equality, perHour: 5 }', { kind: 'equality', perHour: 5 }],
    ] as const) {
      const [template] = parseConfiguration(ruled(written), 'c.yaml').masking;
      assert.deepEqual(template?.columns[0]?.predicates, expected);
    }
    for (const written of ['equality', '{ kind: equality }', '{ kind: equality, perHour: 0 }', 'allow'])
      assert.match(problems(ruled(written)), /masking\.0\.columns\.0\.predicates/);
  });
});

describe('a secret', () => {
  it('is a text, a variable or a file; a missing one is named', () => {
    assert.equal(readSecret('plain'), 'plain');
    assert.equal(readSecret({ env: 'A' }, { A: 'from the environment' }), 'from the environment');
    assert.throws(() => readSecret({ env: 'A' }, {}), /variable A/);
    assert.throws(() => readSecret({ file: '/nonexistent/secret' }), /\/nonexistent\/secret/);
  });
});
