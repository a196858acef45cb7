import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Duty, Principal } from '../identity/principal.ts';
import type { RelationUse, StatementClass, StatementFacts } from '../sql/statement.ts';
import { compilePolicies, type PolicySet } from './engine.ts';
import { actionOf, decideStatement, type StatementQuestion } from './statement.ts';

const policies = compilePolicies({ files: [] });
const connection = { name: 'crm', labels: { env: 'prod' }, engine: 'postgres' };
const dora: Principal = {
  id: 'dora',
  human: 'dora',
  kind: 'person',
  displayName: 'Dora',
  email: undefined,
  groups: ['chunk-designers'],
};

function relation(name: string, more: Partial<RelationUse> = {}): RelationUse {
  return { oid: 1, schema: 'public', name, kind: 'table', access: 'read', direct: true, ...more };
}

function facts(more: Partial<StatementFacts> = {}): StatementFacts {
  return {
    class: 'read',
    command: 'SELECT',
    text: '',
    relations: [relation('customers')],
    unknowns: [],
    rowsAtMost: undefined,
    paging: false,
    parameters: 0,
    lineage: { resolved: true, outputs: [], predicates: [], nullTests: [], equalities: [] },
    setting: undefined,
    transaction: undefined,
    copyOut: undefined,
    cursor: undefined,
    prepared: undefined,
    temporary: undefined,
    constantFree: false,
    ...more,
  };
}

function decide(question: Partial<StatementQuestion>, duty: Duty = 'designer', set: PolicySet = policies) {
  return decideStatement(set, {
    kind: 'statement',
    identity: { principal: dora, duties: [duty], duty },
    connection,
    touchesMasked: false,
    ...question,
  });
}

function setting(name: string, value: string | undefined, command = 'SET') {
  return decide({ kind: 'setting', setting: { name, value }, command }).verdict;
}

const catalogue = [relation('pg_class', { schema: 'pg_catalog' })];

// [what, facts, within budget, designer, executor]
for (const [what, given, withinBudget, designer, executor] of [
  ['a bulk read', {}, false, 'hold', 'hold'],
  ['a bulk read, whatever the budget', {}, true, 'hold', 'hold'],
  ['a sample in the budget', { rowsAtMost: 20 }, true, 'allow', 'hold'],
  ['a sample beyond the budget', { rowsAtMost: 20 }, false, 'hold', 'hold'],
  ['a step of a paging loop', { rowsAtMost: 20, paging: true }, true, 'hold', 'hold'],
  ['the catalogue', { relations: catalogue }, false, 'allow', 'allow'],
  ['no relation at all', { relations: [] }, false, 'allow', 'allow'],
  ['an empty statement', { class: 'empty', command: '', relations: [] }, false, 'allow', 'allow'],
  ['statistics', { relations: [relation('pg_stats', { schema: 'pg_catalog' })] }, false, 'hold', 'hold'],
  ['a system relation beside a table', { relations: [...catalogue, relation('customers')] }, false, 'hold', 'hold'],
  ['a write', { class: 'write', command: 'DELETE' }, true, 'hold', 'hold'],
  [
    'a catalogue write',
    { relations: [{ ...relation('pg_class', { schema: 'pg_catalog' }), access: 'write' as const }] },
    false,
    'hold',
    'hold',
  ],
  ['DDL', { class: 'ddl', command: 'CREATE TABLE' }, false, 'hold', 'hold'],
  ['COPY TO', { class: 'copy-out', command: 'COPY' }, false, 'hold', 'hold'],
  ['COPY FROM', { class: 'copy-in', command: 'COPY' }, false, 'hold', 'hold'],
  ['BEGIN', { class: 'transaction', command: 'BEGIN', transaction: 'begin' }, false, 'allow', 'allow'],
  [
    'PREPARE TRANSACTION',
    { class: 'transaction', command: 'PREPARE TRANSACTION', transaction: 'other' },
    false,
    'deny',
    'deny',
  ],
  ['SHOW', { class: 'show', command: 'SHOW' }, false, 'allow', 'allow'],
  ['EXPLAIN', { class: 'explain', command: 'EXPLAIN' }, false, 'allow', 'deny'],
  ['DEALLOCATE', { class: 'session', command: 'DEALLOCATE' }, false, 'allow', 'allow'],
  ['DISCARD ALL', { class: 'session', command: 'DISCARD ALL' }, false, 'allow', 'allow'],
  ['an advisory lock', { class: 'session', command: 'ADVISORY LOCK' }, false, 'deny', 'deny'],
  ['NOTIFY', { class: 'session', command: 'NOTIFY' }, false, 'deny', 'deny'],
  ['LISTEN', { class: 'session', command: 'LISTEN' }, false, 'deny', 'deny'],
  ['what is not understood', { class: 'unknown', command: 'DO' }, true, 'deny', 'deny'],
  ['a read with one unknown part', { unknowns: ['function f()'], rowsAtMost: 1 }, true, 'deny', 'deny'],
  ['a setting without its name', { class: 'setting', command: 'SET' }, false, 'deny', 'deny'],
] as const satisfies readonly (readonly [string, Partial<StatementFacts>, boolean, string, string])[]) {
  void test(`${what}: designer ${designer}, executor ${executor}`, () => {
    assert.equal(decide({ facts: facts(given), withinBudget }).verdict, designer);
    assert.equal(decide({ facts: facts(given), withinBudget }, 'executor').verdict, executor);
  });
}

void test('every class has an action, and unknown parts win over every class', () => {
  const classes: readonly StatementClass[] = [
    'read',
    'write',
    'ddl',
    'copy-out',
    'copy-in',
    'transaction',
    'setting',
    'show',
    'explain',
    'session',
    'empty',
    'unknown',
  ];
  for (const one of classes) {
    assert.equal(actionOf(facts({ class: one, unknowns: ['?'] }), true), 'unknown');
  }
  assert.equal(actionOf(facts({ class: 'new class' as StatementClass }), true), 'unknown');
});

void test('other duties than designer and executor run nothing, and a duty that is not held is none', () => {
  for (const duty of ['approver', 'auditor', 'admin'] as const) {
    assert.equal(decide({ facts: facts({ relations: [] }) }, duty).code, 'duty_missing');
    assert.equal(decide({ kind: 'connect' }, duty).code, 'duty_missing');
  }
  const identity = { principal: dora, duties: ['executor'] as const, duty: 'designer' as const };
  assert.equal(decide({ facts: facts({ rowsAtMost: 1 }), withinBudget: true, identity }).verdict, 'deny');
});

void test('who holds both duties has in a session only what its duty gives', () => {
  const identity = { principal: dora, duties: ['designer', 'executor'] as const, duty: 'executor' as const };
  assert.equal(decide({ facts: facts({ rowsAtMost: 1 }), withinBudget: true, identity }).verdict, 'hold');
});

void test('a principal without a human behind it does nothing', () => {
  for (const human of ['', ' ', '\u200b']) {
    const identity = { principal: { ...dora, human }, duties: ['designer'] as const, duty: 'designer' as const };
    const decision = decide({ facts: facts({ relations: [] }), identity });
    assert.deepEqual([decision.verdict, decision.code], ['deny', 'forbidden']);
  }
});

void test('a masked predicate is denied with its code and the names of the columns, not held', () => {
  const maskedPredicates = ['public.customers.ssn'];
  const decision = decide({ facts: facts({ rowsAtMost: 1 }), withinBudget: true, maskedPredicates });
  assert.equal(decision.verdict, 'deny');
  assert.equal(decision.code, 'masked_predicate');
  assert.match(decision.reason, /public\.customers\.ssn/);
  assert.deepEqual(decision.policies, ['countersign/masked-predicate']);
});

void test('EXPLAIN over masked relations is denied, also when nobody said whether they are masked', () => {
  const explain = facts({ class: 'explain', command: 'EXPLAIN' });
  for (const touchesMasked of [true, undefined]) {
    const decision = decide({ facts: explain, touchesMasked });
    assert.deepEqual([decision.verdict, decision.policies], ['deny', ['countersign/explain-masked']]);
  }
});

void test('settings: harmless ones are allowed, those that change how we read are denied whatever a user permits', () => {
  const allowed = [
    ['application_name', 'x'],
    ['statement_timeout', '5s'],
    ['TimeZone', 'UTC'],
    ['DateStyle', 'ISO, MDY'],
    ['client_encoding', "'utf-8'"],
    ['client_encoding', 'UTF8'],
    ['standard_conforming_strings', 'on'],
    ['bytea_output', 'hex'],
    ['client_min_messages', 'warning'],
    ['default_transaction_read_only', 'on'],
    ['work_mem', '1GB'],
    ['enable_seqscan', 'off'],
  ] as const;
  for (const [name, value] of allowed) assert.equal(setting(name, value), 'allow', `${name} = ${value}`);
  const denied = [
    ['search_path', 'evil'],
    ['role', 'postgres'],
    ['session_authorization', 'x'],
    ['client_encoding', 'latin1'],
    ['client_encoding', undefined],
    ['standard_conforming_strings', 'off'],
    ['standard_conforming_strings', undefined],
    ['DateStyle', 'German'],
    ['row_security', 'off'],
    ['session_preload_libraries', 'x'],
    ['bytea_output', 'escape'],
    ['client_min_messages', 'debug5'],
    ['default_transaction_read_only', 'off'],
    ['session_replication_role', 'replica'],
    ['app.tenant', '7'],
    ['all', undefined],
  ] as const;
  for (const [name, value] of denied) assert.equal(setting(name, value), 'deny', `${name} = ${value}`);
  assert.equal(setting('search_path', undefined, 'RESET'), 'deny');
  assert.equal(setting('application_name', undefined, 'RESET'), 'allow');
  assert.equal(setting('all', undefined, 'RESET'), 'allow');

  const generous = compilePolicies({ files: [{ name: 'u.cedar', text: 'permit (principal, action, resource);' }] });
  for (const [name, value] of [
    ['search_path', 'evil'],
    ['client_encoding', 'latin1'],
    ['Role', 'postgres'],
    ['DateStyle', 'SQL'],
    ['client_min_messages', 'log'],
    ['client_min_messages', 'DEBUG1'],
    ['client_min_messages', undefined],
    ['debug_print_plan', 'on'],
    ['auto_explain.log_min_duration', '0'],
    ['log_statement_stats', 'on'],
    ['trace_sort', 'on'],
    ['track_functions', 'all'],
  ] as const) {
    assert.equal(
      decide({ kind: 'setting', setting: { name, value }, command: 'SET' }, 'designer', generous).verdict,
      'deny',
    );
  }
  const quieter = { name: 'client_min_messages', value: 'WARNING' };
  assert.equal(decide({ kind: 'setting', setting: quieter, command: 'SET' }, 'designer', generous).verdict, 'allow');
  assert.equal(decide({ facts: facts({ class: 'unknown' }) }, 'designer', generous).verdict, 'deny');
  assert.equal(decide({ facts: facts(), maskedPredicates: ['a'] }, 'designer', generous).verdict, 'deny');
  assert.equal(decide({ facts: facts() }, 'admin', generous).verdict, 'deny');
  assert.equal(decide({ facts: facts() }, 'designer', generous).verdict, 'allow');
});

void test('what is not understood runs only where nothing is masked, and only for whom a policy names it', () => {
  const set = (text: string) => compilePolicies({ files: [{ name: 'u.cedar', text }] });
  const named = set('permit (principal, action in [Action::"read", Action::"unknown"], resource);');
  const asApproved = set('permit (principal, action == Action::"unknown", resource) when { context.approved };');
  const blankets = [
    'permit (principal, action, resource);',
    'permit (principal, action in Action::"statement", resource);',
    'permit (principal, action, resource) when { action == Action::"unknown" };',
  ].map(set);
  const unknown = facts({ class: 'unknown', unknowns: ['the command DO is not understood'] });
  const verdict = (policy: PolicySet, nothingMasked: boolean | undefined, given = unknown) =>
    decide({ facts: given, nothingMasked }, 'designer', policy).verdict;
  assert.equal(verdict(named, true), 'allow');
  for (const nothingMasked of [false, undefined]) {
    const decision = decide({ facts: unknown, nothingMasked }, 'designer', named);
    assert.deepEqual([decision.verdict, decision.code], ['deny', 'statement_unknown']);
    assert.match(decision.reason, /something is masked.*DO is not understood/);
  }
  for (const policy of [policies, ...blankets]) assert.equal(verdict(policy, true), 'deny');
  assert.equal(verdict(asApproved, true), 'deny', 'nobody can approve it');
  assert.equal(decide({ facts: unknown, nothingMasked: true }, 'admin', named).verdict, 'deny');

  // Settings after which names mean something else count as not understood.
  const setting = (name: string, value: string) =>
    facts({ class: 'setting', command: 'SET', setting: { name, value }, relations: [] });
  for (const [name, value] of [
    ['search_path', 'a'],
    ['role', 'x'],
    ['datestyle', 'german'],
  ] as const) {
    assert.equal(verdict(named, true, setting(name, value)), 'allow', name);
    for (const policy of [policies, ...blankets])
      assert.equal(verdict(policy, true, setting(name, value)), 'deny', name);
    assert.equal(verdict(named, false, setting(name, value)), 'deny', name);
  }
  assert.equal(verdict(named, true, setting('client_encoding', 'latin1')), 'deny');
  assert.equal(verdict(named, true, setting('standard_conforming_strings', 'off')), 'deny');
  const forbidding = set(
    'permit (principal, action == Action::"unknown", resource); forbid (principal, action == Action::"setting", resource);',
  );
  assert.equal(verdict(forbidding, true, setting('search_path', 'a')), 'deny');
});

void test('a user narrows by label, group and relation, and a denial names the rule and its reason', () => {
  const text = `
    @id("no-payroll") @reason("payroll is closed") @hint("ask finance")
    forbid (principal in Group::"chunk-designers", action in Action::"statement", resource)
    when { resource.hasTag("env") && resource.getTag("env") == "prod" && context.relations.contains("public.payroll") };`;
  const set = compilePolicies({ files: [{ name: 'hr.cedar', text }] });
  const payroll = facts({ relations: [relation('payroll')], rowsAtMost: 1 });
  const decision = decide({ facts: payroll, withinBudget: true }, 'designer', set);
  assert.deepEqual(
    [decision.verdict, decision.policies, decision.reason, decision.hint, decision.code],
    ['deny', ['hr.cedar/no-payroll'], 'payroll is closed', 'ask finance', 'statement_denied'],
  );
  const test = { ...connection, labels: { env: 'test' } };
  assert.equal(decide({ facts: payroll, withinBudget: true, connection: test }, 'designer', set).verdict, 'allow');
});

void test('without the default permissions nothing is permitted, and the prohibitions stand', () => {
  const bare = compilePolicies({ files: [], defaults: false });
  assert.equal(decide({ facts: facts({ relations: [] }) }, 'designer', bare).verdict, 'deny');
  assert.equal(decide({ facts: facts({ unknowns: ['?'] }) }, 'designer', bare).code, 'statement_unknown');
});

void test('sessions: connecting is allowed, running a job needs the executor and an approval', () => {
  assert.equal(decide({ kind: 'connect' }).verdict, 'allow');
  assert.equal(decide({ kind: 'run' }).verdict, 'deny');
  assert.equal(decide({ kind: 'run' }, 'executor').verdict, 'hold');
});

void test('what a question does not say counts as the worst', () => {
  assert.equal(decide({ facts: undefined }).verdict, 'deny');
  assert.equal(decide({ kind: 'setting' }).verdict, 'deny');
  assert.equal(decide({ facts: facts({ rowsAtMost: Number.NaN }) }).verdict, 'hold');
});
