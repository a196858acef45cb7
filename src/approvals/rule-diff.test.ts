/** What counts as widening access. Each case that is wider here is one that must not be applied by one person alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rulesFromFiles } from '../config/rules.ts';
import type { RuleSet } from '../config/rules-schema.ts';
import { CountersignError } from '../errors.ts';
import { checkRules, warningsOf } from './rule-check.ts';
import { ruleDiff } from './rule-diff.ts';

const empty: RuleSet = {
  connections: [],
  bindings: [],
  masking: [],
  workflows: [],
  policies: { defaults: true, files: [] },
};

/** A set from YAML and Cedar texts. */
function rules(yaml: string, cedar = ''): RuleSet {
  const files = [{ name: 'rules.yaml', text: yaml }, ...(cedar === '' ? [] : [{ name: 'p.cedar', text: cedar }])];
  return rulesFromFiles(files, empty);
}

type Effect = 'wider' | 'narrower' | 'same';

function effectOf(from: RuleSet, to: RuleSet): Effect {
  const effects = new Set(ruleDiff(from, to).map((change) => change.effect));
  return effects.has('wider') ? 'wider' : effects.has('narrower') ? 'narrower' : 'same';
}

function both(from: RuleSet, to: RuleSet, forth: Effect, back: Effect, name: string): void {
  assert.equal(effectOf(from, to), forth, `${name}: ${JSON.stringify(ruleDiff(from, to))}`);
  assert.equal(effectOf(to, from), back, `${name}, back: ${JSON.stringify(ruleDiff(to, from))}`);
}

const binding = (group: string, duties: string, labels = '{}') =>
  `bindings: [{ group: base, duties: [approver] }, { group: ${group}, duties: [${duties}], labels: ${labels} }]`;

void test('bindings: a group, a duty or fewer labels more is wider; less is narrower, unless a duty held somebody back', () => {
  const none = rules('bindings: [{ group: base, duties: [approver] }]');
  both(none, rules(binding('x', 'executor')), 'wider', 'narrower', 'a group');
  both(rules(binding('x', 'executor')), rules(binding('x', 'executor, auditor')), 'wider', 'narrower', 'a duty');
  both(
    rules(binding('x', 'executor', '{ env: test }')),
    rules(binding('x', 'executor')),
    'wider',
    'narrower',
    'labels',
  );
  both(
    rules(binding('x', 'executor', '{ env: test }')),
    rules(binding('x', 'executor', '{ env: prod }')),
    'wider',
    'wider',
    'other labels',
  );
  both(rules(binding('x', 'designer')), none, 'narrower', 'wider', 'a designer');
  both(
    rules(binding('x', 'designer, executor')),
    rules(binding('x', 'executor')),
    'wider',
    'wider',
    'a designer who executes',
  );
  const split = `bindings: [{ group: base, duties: [approver] }, { group: x, duties: [executor] }, { group: x, duties: [auditor] }]`;
  assert.equal(effectOf(rules(binding('x', 'executor, auditor')), rules(split)), 'same');
  const forbid = 'forbid (principal in Duty::"auditor", action == Action::"read", resource);';
  both(
    rules(binding('x', 'auditor'), forbid),
    rules('bindings: [{ group: base, duties: [approver] }]', forbid),
    'wider',
    'wider',
    'a forbid by duty',
  );
  const byContext = 'forbid (principal, action == Action::"read", resource) when { context.duty == "executor" };';
  assert.equal(
    effectOf(
      rules(binding('x', 'executor'), byContext),
      rules('bindings: [{ group: base, duties: [approver] }]', byContext),
    ),
    'wider',
  );
});

void test('policies: a permit or any other text is wider, a forbid more or a further condition is narrower', () => {
  const set = (cedar: string) => rules('{}', cedar);
  const none = set('// nothing');
  const permit = '@id("r") permit (principal in Group::"r", action == Action::"read", resource);';
  const tight =
    '@id("r") permit (principal in Group::"r", action == Action::"read", resource) when { !context.touchesMasked };';
  const forbid = '@id("f") forbid (principal, action == Action::"ddl", resource);';
  both(none, set(permit), 'wider', 'narrower', 'permit');
  both(none, set(forbid), 'narrower', 'wider', 'forbid');
  both(set(permit), set(tight), 'narrower', 'wider', 'condition');
  both(set(permit), set(permit.replace('"read"', '"sample"')), 'wider', 'wider', 'another action');
  both(
    set(forbid),
    set(forbid.replace('"ddl", resource', '"ddl", resource == Connection::"crm"')),
    'wider',
    'wider',
    'scope of a forbid',
  );
  both(
    set(forbid),
    set('@id("f") forbid (principal, action == Action::"ddl", resource) when { context.paging };'),
    'wider',
    'wider',
    'condition of a forbid',
  );
  assert.equal(effectOf(set(permit), set(`// moved\n\n@id("other") @reason("x")\n${permit.slice(8)}`)), 'same');
  const defaults = (on: boolean) => rules(`policies: { defaults: ${on} }`);
  both(defaults(true), defaults(false), 'narrower', 'wider', 'default permissions');
});

const way = (text: string, more = '') => `workflows: [{ match: { labels: { env: prod } }, ${text} }${more}]`;

void test('workflows: less of anything, or another reach that is not shown to be stricter, is wider', () => {
  const strict = way('approvals: { count: 2, groups: [dba] }, strict: true, expiresMs: 1000');
  const cases: Record<string, string> = {
    'fewer approvals': way('approvals: { count: 1, groups: [dba] }, strict: true, expiresMs: 1000'),
    'more groups': way('approvals: { count: 2, groups: [dba, all] }, strict: true, expiresMs: 1000'),
    'no groups': way('approvals: { count: 2 }, strict: true, expiresMs: 1000'),
    'strict off': way('approvals: { count: 2, groups: [dba] }, expiresMs: 1000'),
    'waits longer': way('approvals: { count: 2, groups: [dba] }, strict: true, expiresMs: 2000'),
    'grants live longer': way(
      'approvals: { count: 2, groups: [dba] }, strict: true, expiresMs: 1000, grantExpiresMs: 999999999',
    ),
    'break-glass': way('approvals: { count: 2, groups: [dba] }, strict: true, expiresMs: 1000, breakGlass: {}'),
    'an escalation': way(
      'approvals: { steps: [{ count: 2, groups: [dba], escalation: { afterMs: 5, groups: [all] } }] }, strict: true, expiresMs: 1000',
    ),
    removed: 'workflows: []',
    'other labels': strict.replace('env: prod', 'env: test'),
    'other kinds': strict.replace('labels: { env: prod }', 'labels: { env: prod }, kinds: [job]'),
    'hidden behind another': strict.replace('[{', '[{ match: {} }, {'),
  };
  for (const [name, text] of Object.entries(cases)) assert.equal(effectOf(rules(strict), rules(text)), 'wider', name);
  both(rules('workflows: []'), rules(strict), 'narrower', 'wider', 'added');
  const more = way(
    'approvals: { steps: [{ count: 2, groups: [dba] }, { groups: [board] }] }, strict: true, expiresMs: 500',
  );
  both(rules(strict), rules(more), 'narrower', 'wider', 'a step more');
  const quiet = strict.replace('strict', 'quietHours: { timeZone: UTC, from: "20:00", to: "06:00" }, strict');
  both(rules(strict), rules(quiet), 'narrower', 'wider', 'quiet hours');
  const allOf = (groups: string) => rules(way(`approvals: { steps: [{ allOf: [${groups}] }] }`));
  both(allOf('dba, privacy'), allOf('dba'), 'wider', 'narrower', 'a group of allOf');
  both(allOf('dba, privacy'), allOf('dba, legal'), 'wider', 'wider', 'another group of allOf');
  // A place for `team` becomes one for `legal`, whose members could take none before.
  const mixed = (text: string) => rules(way(`approvals: { steps: [{ ${text} }] }`));
  assert.equal(effectOf(mixed('count: 2, groups: [team]'), mixed('count: 2, groups: [team], allOf: [legal]')), 'wider');
  assert.equal(
    effectOf(mixed('count: 2, groups: [team]'), mixed('count: 3, groups: [team], allOf: [legal]')),
    'narrower',
  );
  assert.equal(effectOf(mixed('allOf: [dba, dba]'), mixed('allOf: [dba], count: 2')), 'wider');
  assert.equal(
    effectOf(mixed('allOf: [dba], groups: [team], count: 2'), mixed('allOf: [dba, dba], groups: [team], count: 2')),
    'wider',
  );
  const glass = (text: string) => rules(way(`approvals: { steps: [${text}] }, breakGlass: {}`));
  assert.equal(effectOf(glass('{ groups: [dba] }'), glass('{ groups: [dba] }, { groups: [interns] }')), 'wider');
});

const masks = (columns: string, more = '') =>
  rules(`masking: [{ name: m, appliesTo: { data: personal }, columns: [${columns}] ${more} }]`);

void test('masking: a rule less, a weaker one, or another form of what is shown is wider', () => {
  const ssn = '{ match: ssn, mask: redact }';
  both(masks(ssn), masks(''), 'wider', 'narrower', 'a rule');
  both(masks(ssn), masks('{ match: ssn, mask: last4 }'), 'wider', 'narrower', 'a weaker mask');
  both(masks(ssn), masks('{ match: ssn, mask: "null" }'), 'narrower', 'wider', 'null');
  both(masks('{ match: a, mask: last4 }'), masks('{ match: a, mask: email-domain }'), 'wider', 'wider', 'another form');
  both(masks(ssn), masks('{ match: ssn, mask: redact, predicates: is-null }'), 'wider', 'narrower', 'predicates');
  both(masks(ssn), masks('{ match: customers.ssn, mask: redact }'), 'wider', 'wider', 'another reach');
  // The stronger rule counts where both reach: a new one may lay open what the old one hid.
  assert.equal(
    effectOf(
      masks('{ match: mail, mask: last4 }'),
      masks('{ match: mail, mask: last4 }, { match: "*", mask: email-domain }'),
    ),
    'wider',
  );
  assert.equal(
    effectOf(masks('{ match: mail, mask: last4 }'), masks('{ match: mail, mask: last4 }, { match: born, mask: year }')),
    'narrower',
  );
  const partial = (start: number, end: number) =>
    `{ match: a, mask: { kind: partial, keepStart: ${start}, keepEnd: ${end} } }`;
  // A value of six characters is withheld by the first, and shows three of its characters under the second.
  both(masks(partial(2, 2)), masks(partial(1, 2)), 'wider', 'wider', 'partial');
  const round = (to: number) => masks(`{ match: a, mask: { kind: round, to: ${to} } }`);
  both(round(10), round(30), 'narrower', 'wider', 'round');
  both(round(10), round(20), 'wider', 'wider', 'round, with a border where there was none');
  both(masks(partial(2, 2)), masks(partial(3, 0)), 'wider', 'wider', 'partial, another part');
  both(
    masks(`${partial(4, 0)}, ${partial(0, 4)}`),
    masks(`${partial(0, 4)}, ${partial(4, 0)}`),
    'wider',
    'wider',
    'order of equals',
  );
  const prod = rules('masking: [{ name: m, columns: [{ match: ssn, mask: redact }] }]');
  both(masks(ssn), prod, 'narrower', 'wider', 'more connections');
  const card = (mask: string) => masks(ssn, `, detectors: [{ detect: card, mask: ${mask} }]`);
  both(card('redact'), masks(ssn), 'wider', 'narrower', 'a detector');
  both(card('redact'), card('last4'), 'wider', 'narrower', 'a weaker detector');
  assert.equal(
    effectOf(
      masks(ssn),
      rules('masking: [{ name: other, appliesTo: { data: personal }, columns: [{ match: SSN, mask: redact }] }]'),
    ),
    'same',
  );
  // Detectors look only into columns that no rule names.
  const beside = (more: string) => masks(`${ssn} ${more}`, ', detectors: [{ detect: card }]');
  both(
    beside(''),
    beside(', { match: notes, mask: { kind: partial, keepStart: 40, keepEnd: 0 } }'),
    'wider',
    'wider',
    'a rule instead of a detector',
  );
  both(beside(''), beside(', { match: notes, mask: hash }'), 'wider', 'wider', 'a digest instead of a detector');
  both(
    beside(''),
    beside(', { match: notes, mask: redact }'),
    'narrower',
    'wider',
    'a whole mask instead of a detector',
  );
  const budget = (name: string) =>
    rules(
      `masking: [{ name: ${name}, columns: [{ match: a, mask: hash, predicates: { kind: equality, perHour: 5 } }] }]`,
    );
  assert.equal(effectOf(budget('one'), budget('two')), 'wider', 'a name that renews a budget');
});

void test('files: parts that are not named stay, several are put together, and mistakes have a place', () => {
  const current = rules(binding('x', 'executor'), '@id("a") permit (principal, action == Action::"show", resource);');
  const next = rulesFromFiles(
    [
      { name: 'b.yaml', text: 'workflows: [{}]' },
      { name: 'a.yaml', text: 'workflows: [{ name: first }]' },
    ],
    current,
  );
  assert.deepEqual(
    next.workflows.map(({ name }) => name),
    ['first', undefined],
  );
  assert.deepEqual([next.bindings, next.policies], [current.bindings, current.policies]);
  const wrong = (name: string, text: string, message: RegExp) =>
    assert.throws(
      () => checkRules(rulesFromFiles([{ name, text }], current), [{ name: 'crm', labels: {}, engine: 'postgres' }]),
      (error) => error instanceof CountersignError && error.code === 'policy_invalid' && message.test(error.message),
      `${name}: ${text}`,
    );
  wrong('w.yaml', 'workflows:\n  - approvals: { count: 0 }', /w\.yaml:2:\d+: workflows\.0\.approvals\.count/);
  wrong('w.yaml', 'workflows:\n  - quietHours: { timeZone: Mars, from: "1", to: "06:00" }', /timeZone.*[\s\S]*from/);
  wrong('b.yaml', 'bindings:\n  - { group: g, duties: [king] }', /b\.yaml:2:\d+: bindings\.0\.duties\.0/);
  wrong('b.yaml', 'identity: {}', /Unrecognized key/);
  wrong('p.cedar', 'permit (principal, action, resource);\npermit (nonsense);', /p\.cedar: line 2/);
  wrong('p.cedar', '\n@id("x")\npermit (principal, action == Action::"fly", resource);', /p\.cedar:2: .*fly/);
  wrong(
    'm.yaml',
    'masking: [{ name: m, appliesTo: { no: where }, columns: [{ match: "a..b", mask: redact }] }]',
    /m\/columns\[0\]/,
  );
  wrong('t.txt', 'x', /t\.txt/);
  wrong('b.yaml', 'bindings: [{ group: g, duties: [designer, executor, auditor] }]', /nobody could decide.*crm/);
  wrong('b.yaml', 'bindings: [{ group: g, duties: [admin], labels: { env: prod } }]', /nobody could decide.*crm/);
});

void test('connections: a new one, and any other thing about one, is wider; only one less is narrower', () => {
  const one = {
    name: 'erp',
    engine: 'postgres',
    host: 'db.example.com',
    port: 5432,
    database: 'erp',
    labels: { env: 'test' },
    searchPath: ['public'],
    tls: { mode: 'verify-full' },
    users: { gateway: 'g', designer: 'd', executor: 'e' },
  };
  const other = { ...one, name: 'hr' };
  const having = (...connections: object[]) => rules(JSON.stringify({ connections }));
  both(having(), having(one), 'wider', 'narrower', 'a connection');
  both(having(one), having(one, other), 'wider', 'narrower', 'one more');
  assert.equal(effectOf(having(one, other), having(other, one)), 'same');
  // What is decided on is said, whatever it is.
  const cases: [object, string][] = [
    [{ host: 'db.example.org' }, 'target postgres db.example.org:5432 instead of postgres db.example.com:5432'],
    [{ port: 5433 }, 'target postgres db.example.com:5433 instead of'],
    [{ database: 'hr' }, 'database "hr" instead of "erp"'],
    [{ labels: {} }, 'labels {} instead of {"env":"test"}'],
    [{ labels: { env: 'test', data: 'personal' } }, 'labels {"env":"test","data":"personal"} instead of'],
    [{ searchPath: ['public', 'hr'] }, 'search path ["public","hr"] instead of ["public"]'],
    [{ searchPath: ['public, hr'] }, 'search path ["public, hr"] instead of ["public"]'],
    [{ tls: { mode: 'verify-full', serverName: 'other' } }, 'TLS verified as "other" instead of'],
    [{ tls: { mode: 'verify-full', negotiation: 'direct' } }, 'TLS verified as "db.example.com", direct instead of'],
    [{ tls: { mode: 'verify-full', serverName: 'db.example.com' } }, 'connection erp changes: how it is written'],
    [{ users: { ...one.users, gateway: 'x' } }, 'log-ins {"gateway":"x","designer":"d","executor":"e"} instead of'],
    [{ users: { ...one.users, designer: 'x' } }, 'log-ins {"gateway":"g","designer":"x","executor":"e"} instead of'],
    [{ users: { ...one.users, executor: 'x' } }, 'log-ins {"gateway":"g","designer":"d","executor":"x"} instead of'],
    [{ name: 'crm' }, 'new connection crm: database "erp" at postgres db.example.com:5432'],
  ];
  for (const [change, text] of cases) {
    both(having(one), having({ ...one, ...change }), 'wider', 'wider', JSON.stringify(change));
    const said = ruleDiff(having(one), having({ ...one, ...change })).map(({ what }) => what);
    assert.ok(said.join('\n').includes(text), `${JSON.stringify(change)}: ${said.join('\n')}`);
  }
  const masked = rules(
    `${JSON.stringify({ connections: [one] }).slice(1, -1)}\n`.replace(/^"connections":/, 'connections: ') +
      'masking: [{ name: pii, appliesTo: { env: test }, columns: [{ match: ssn, mask: redact }] }]',
  );
  const bare = { ...masked, connections: masked.connections.map((each) => ({ ...each, name: 'erp2', labels: {} })) };
  const both2 = { ...masked, connections: [...masked.connections, ...bare.connections] };
  assert.deepEqual(warningsOf(both2, []), ['connections: erp2 is the database of erp, and is not masked by pii']);
  assert.deepEqual(warningsOf(masked, []), []);
  // However the same place is written, and whichever of the two is the new one.
  const [erp] = masked.connections;
  assert.ok(erp);
  for (const host of ['DB.example.com', 'db.example.com.']) {
    const file: RuleSet['connections'][number] = { ...erp, name: 'file', host, labels: {} };
    assert.deepEqual(warningsOf(masked, [file]), [
      'connections: file is the database of erp, and is not masked by pii',
    ]);
  }
  assert.match(JSON.stringify(ruleDiff(masked, both2)), /nothing is masked there; nobody has a duty there/);
  assert.throws(
    () => checkRules(both2, [{ name: 'erp', engine: 'postgres', labels: {} }]),
    /there is a connection erp already/,
  );
});
