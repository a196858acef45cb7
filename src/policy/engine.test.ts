import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountersignError } from '../errors.ts';
import { compilePolicies } from './engine.ts';

function compileError(text: string, name = 'crm.cedar'): string {
  try {
    compilePolicies({ files: [{ name, text }] });
  } catch (error) {
    assert(error instanceof CountersignError);
    assert.equal(error.code, 'configuration_invalid');
    return error.message;
  }
  throw new Error('the policies were accepted');
}

const prohibition =
  '@id("no-interns") forbid (principal in Group::"interns", action in Action::"statement", resource);';

void test('a file that does not parse is refused naming file, line and policy', () => {
  const message = compileError('// ünïcode\n@id("first")\npermit (principal action, resource);');
  assert.match(message, /crm\.cedar/);
  assert.match(message, /line 3/);
  assert.match(message, /first/);
});

for (const [what, text, expected] of [
  ['a misspelt action', '@id("x") forbid (principal, action == Action::"reed", resource);', /reed/],
  [
    'a misspelt duty',
    '@id("x") permit (principal in Duty::"desinger", action == Action::"read", resource);',
    /desinger/,
  ],
  [
    'a misspelt attribute',
    '@id("x") permit (principal, action == Action::"read", resource) when { context.aproved };',
    /aproved/,
  ],
  ['a misspelt entity type', '@id("x") forbid (principal in Grupp::"a", action == Action::"read", resource);', /Grupp/],
  ['a policy that can never apply', '@id("x") forbid (principal, action == Action::"read", resource is Request);', /x/],
  ['a template', 'permit (principal == ?principal, action, resource);', /template/],
  ['an unknown error code', '@code("nope") forbid (principal, action == Action::"read", resource);', /nope/],
  ['two policies of one id', `${prohibition}\n${prohibition}`, /no-interns/],
] as const) {
  void test(`${what} is refused`, () => assert.match(compileError(text), expected));
}

void test('no file can take the name, and so the ids, of the built-in rules', () => {
  assert.match(compileError(prohibition, 'countersign'), /built-in/);
  assert.match(compileError(prohibition, 'countersign-default'), /built-in/);
  assert.match(compileError(prohibition, 'a/b.cedar'), /folders/);
});

void test('policies without an id are numbered by their place in the file, also past nine', () => {
  const policies = Array.from(
    { length: 12 },
    (_, index) => `forbid (principal in Group::"g${index}", action == Action::"read", resource);`,
  );
  const compiled = compilePolicies({ files: [{ name: 'many.cedar', text: policies.join('\n') }] });
  assert.match(compiled.policies.get('many.cedar/#3')?.text ?? '', /"g2"/);
  assert.match(compiled.policies.get('many.cedar/#12')?.text ?? '', /"g11"/);
});

void test('the digest names the set: equal for equal policies, another for any change', () => {
  const file = { name: 'a.cedar', text: prohibition };
  const one = compilePolicies({ files: [file] }).digest;
  assert.equal(compilePolicies({ files: [file] }).digest, one);
  const others = [
    compilePolicies({ files: [] }),
    compilePolicies({ files: [file], defaults: false }),
    compilePolicies({ files: [{ ...file, name: 'b.cedar' }] }),
    compilePolicies({ files: [{ ...file, text: prohibition.replace('interns', 'guests') }] }),
  ].map((set) => set.digest);
  assert.equal(new Set([one, ...others]).size, 5);
});

void test('a prohibition whose evaluation fails counts as a prohibition, a permission that fails permits nothing', () => {
  const overflow = '9223372036854775807 + context.rows > 0';
  const question = {
    principal: { type: 'Principal', id: 'd' },
    action: 'sample' as const,
    resource: { type: 'Connection', id: 'crm' },
    context: {
      approved: true,
      duty: 'designer',
      command: 'SELECT',
      rows: 5,
      paging: false,
      relations: [],
      touchesMasked: false,
      nothingMasked: false,
      maskedPredicates: [],
      maskedEqualities: [],
      setting: { name: '', value: '' },
    },
    entities: [
      {
        uid: { type: 'Principal', id: 'd' },
        attrs: { human: 'd', kind: 'person' },
        parents: [{ type: 'Duty', id: 'designer' }],
      },
      { uid: { type: 'Connection', id: 'crm' }, attrs: { name: 'crm', engine: 'postgres' }, parents: [], tags: {} },
    ],
  };
  const set = (effect: string) =>
    compilePolicies({
      files: [
        {
          name: 'f.cedar',
          text: `@id("sum") ${effect} (principal, action == Action::"sample", resource) when { ${overflow} };`,
        },
      ],
    });
  const denied = set('forbid').evaluate(question);
  assert.equal(denied.allowed, false);
  assert.deepEqual(denied.policies, ['f.cedar/sum']);
  assert.equal(set('permit').evaluate(question).allowed, true);
});

void test('a question that does not fit the schema, or is no Unicode, is denied, and the engine goes on', () => {
  const set = compilePolicies({ files: [] });
  const ask = (id: string, context: Record<string, string> = {}) =>
    set.evaluate({
      principal: { type: 'Principal', id },
      action: 'read-log',
      resource: { type: 'Gateway', id: 'this' },
      context,
      entities: [
        {
          uid: { type: 'Principal', id },
          attrs: { human: 'ann', kind: 'person' },
          parents: [
            { type: 'Duty', id: 'auditor' },
            { type: 'Duty', id: 'auditor' },
          ],
        },
      ],
    });
  // Many times: an engine that throws loses memory each time, and in the end denies everybody.
  for (let index = 0; index < 5_000; index++) assert.equal(ask(`\ud800${index}`).allowed, false);
  for (const answer of [ask('ann', { surprise: 'x' }), ask('\ud800')]) {
    assert.equal(answer.allowed, false);
    assert.match(answer.reason ?? '', /could not be evaluated/);
  }
  for (const id of ['ann', '\\ud800', '\\\\ud800', '\u{1f600}']) assert.equal(ask(id).allowed, true, id);
});
