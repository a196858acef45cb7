/** What is not understood: where it may run, and what becomes of a session in which it did. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { compileMasking, type MaskingTemplate } from '../masking/policy.ts';
import { compilePolicies } from '../policy/engine.ts';
import { loadParser } from '../sql/parse.ts';
import { sampleCatalogue } from '../sql/sample-catalogue.ts';
import { Admissions } from './admission.ts';
import { GateConnection } from './connection.ts';

before(loadParser);

const masking = (...templates: Partial<MaskingTemplate>[]) =>
  compileMasking(
    templates.map((template) => ({ name: 't', appliesTo: {}, columns: [], detectors: [], ...template })),
    {},
    { hashKey: Buffer.alloc(32) },
  );
const nothing = masking();
const columns = masking({ columns: [{ match: 'ssn', mask: 'redact' }] });
const elsewhere = masking({ columns: [{ match: 'no_such_column', mask: 'redact' }] });
const detectors = masking({ detectors: [{ detect: 'card', mask: 'redact' }] });

const permitting = compilePolicies({
  files: [
    {
      name: 'p.cedar',
      text: `permit (principal, action in [Action::"read", Action::"write", Action::"session", Action::"unknown"], resource);
        permit (principal, action == Action::"ddl", resource) when { context.approved };`,
    },
  ],
});

function connectionWith(rules: typeof nothing): GateConnection {
  return new GateConnection({
    name: 'crm',
    engine: 'postgres',
    labels: {},
    masking: rules,
    source: { fingerprint: async () => 'one', load: async () => sampleCatalogue },
    clock: { now: () => 0 },
    catalogueTtlMs: 1_000,
  });
}

function sessionOf(connection: GateConnection): Admissions {
  const principal = { id: 'p', human: 'p', kind: 'person', displayName: 'P', email: undefined, groups: [] } as const;
  return new Admissions({
    connection,
    identity: { sessionId: 's', principal, duties: ['executor'], duty: 'executor', runId: undefined },
    policies: () => permitting,
    maxStatementBytes: 100_000,
    sampleRowsPerHour: 0,
  });
}

const notUnderstood = [
  "do $$ begin perform set_config('search_path', 'evil', false); end $$",
  'call p()',
  'execute x',
  'select leak(1)',
  'select * from made_in_this_transaction',
  'selec 1',
  "select set_config('search_path', 'evil', false)",
  'set search_path to evil, public',
  'set role somebody',
  'select * from pg_stats',
];

describe('what is not understood', () => {
  for (const text of notUnderstood) {
    it(`runs where nothing is masked, and nowhere else: ${text}`, async () => {
      for (const [rules, expected] of [
        [nothing, 'allow'],
        [elsewhere, 'allow'],
        [columns, 'deny'],
        [detectors, 'deny'],
      ] as const) {
        const admission = await sessionOf(connectionWith(rules)).admit(text);
        assert.equal(admission.verdict, expected);
        assert.equal(
          admission.statements[0]?.touchesMasked,
          rules !== nothing && rules !== elsewhere && !/^(set |select set_config)/.test(text),
        );
      }
    });
  }

  it('is never held beside a statement that is', async () => {
    const session = sessionOf(connectionWith(nothing));
    assert.equal((await session.admit('create table t2 (id int)')).verdict, 'hold');
    assert.equal((await session.admit('create table t2 (id int); select leak(1)')).verdict, 'deny');
  });
});

describe('a session in which something runs that is not understood', () => {
  it('is told when something is masked, once, and not after its end', async () => {
    const connection = connectionWith(nothing);
    const told: string[] = [];
    const session = (name: string) => {
      const one = sessionOf(connection);
      one.whenUncertain(() => told.push(name));
      return one;
    };
    const [plain, unknown, cached, closed] = ['plain', 'unknown', 'cached', 'closed'].map(session);
    await plain?.admit('select id from customers');
    await unknown?.admit('call p()');
    cached?.cached('call p()');
    await closed?.admit('call p()');
    closed?.close();
    await connection.refresh();
    assert.deepEqual(told, []);
    connection.setMasking(detectors);
    await connection.refresh();
    connection.setMasking(columns);
    await connection.refresh();
    assert.deepEqual(told, ['unknown', 'cached']);
  });

  it('is told when the target cannot be asked any more', async () => {
    let isGone = false;
    const source = {
      fingerprint: async () => {
        if (isGone) throw new Error('gone');
        return 'one';
      },
      load: async () => sampleCatalogue,
    };
    const options = { name: 'crm', engine: 'postgres', labels: {}, masking: nothing, source } as const;
    const connection = new GateConnection({ ...options, clock: { now: () => 0 }, catalogueTtlMs: 1 });
    const session = sessionOf(connection);
    const told = new Promise<void>((resolve) => session.whenUncertain(resolve));
    await session.admit('call p()');
    isGone = true;
    await Promise.race([told, setTimeout(2_000).then(() => assert.fail('nobody was told'))]);
  });
});

describe('a session in which something ran that is not understood', () => {
  for (const text of notUnderstood) {
    it(`is over as soon as something is masked: ${text}`, async () => {
      const connection = connectionWith(nothing);
      const [first, second, third] = [sessionOf(connection), sessionOf(connection), sessionOf(connection)];
      await first.admit(text);
      // By the verdict that the first session left behind; what an EXECUTE runs is different in each.
      const left = second.cached(text);
      assert.equal(left === undefined, text.startsWith('execute'));
      assert.equal((left ?? (await second.admit(text))).verdict, 'allow');
      await third.admit('select id from customers');
      for (const rules of [columns, detectors]) {
        connection.setMasking(rules);
        for (const session of [first, second]) {
          const admission = await session.admit('select id from customers');
          assert.deepEqual([admission.verdict, admission.policies], ['deny', ['countersign/uncertain-session']]);
          assert.equal(session.cached('select id from customers'), undefined);
        }
        assert.equal((await third.admit('select id from customers')).verdict, 'allow');
        assert.equal(third.cached('select id from customers')?.verdict, 'allow');
        assert.equal(first.cached('select id from customers'), undefined);
        assert.equal((await first.admit('select id from customers')).verdict, 'deny');
      }
    });
  }
});
