import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { duties as allDuties, type Duty, type Principal } from '../identity/principal.ts';
import { mayAct, mayDecide, mayExecute, mayRequest, mayWithdraw, type DutyRequest, type DutyVerdict } from './duty.ts';
import { compilePolicies, PolicySet } from './engine.ts';
import { humanKey } from './entities.ts';

const policies = compilePolicies({ files: [] });
const connection = { name: 'crm', labels: {}, engine: 'postgres' };

function principal(human: string, more: Partial<Principal> = {}): Principal {
  return { id: human, human, kind: 'person', displayName: human, email: undefined, groups: [], ...more };
}

function request(more: Partial<DutyRequest> = {}): DutyRequest {
  return {
    id: 'req_1',
    kind: 'job',
    title: 'customers-export version 1',
    connection,
    requesterHuman: 'rita',
    authors: [
      { human: 'dora', name: 'Dora', role: 'pusher' },
      { human: 'carl', name: 'Carl', role: 'co-author' },
    ],
    approverHumans: [],
    strict: false,
    keyOf: humanKey,
    ...more,
  };
}

const all: readonly Duty[] = allDuties;

function refused(verdict: DutyVerdict, code: string, policy: string, reason: RegExp): void {
  assert.deepEqual([verdict.allowed, verdict.code], [false, code]);
  assert(verdict.policies.includes(`countersign/${policy}`), `${verdict.policies.join()} has no ${policy}`);
  assert.match(verdict.reason, reason);
}

void test('an author neither approves, rejects nor executes, whichever duties, groups or account they come with', () => {
  for (const who of [
    principal('carl'),
    principal('carl', { groups: ['admins', 'chunk-executors'] }),
    principal('carl', { id: 'etl', kind: 'service' }),
    principal(' Carl '),
    principal('CARL'),
    principal('ca\u200brl'),
  ]) {
    const asker = { principal: who, duties: all };
    refused(mayDecide(policies, asker, request(), 'approve'), 'duty_conflict', 'approver-is-author', /co-author/);
    refused(mayDecide(policies, asker, request(), 'reject'), 'duty_conflict', 'approver-is-author', /may not reject/);
    refused(
      mayExecute(policies, asker, request()),
      'duty_conflict',
      'executor-is-author',
      /authored customers-export version 1 as co-author/,
    );
  }
});

void test('a service account is told whose it is', () => {
  const asker = { principal: principal('dora', { id: 'etl-designer', kind: 'service' }), duties: all };
  assert.match(mayDecide(policies, asker, request(), 'approve').reason, /etl-designer \(owned by dora\) authored/);
});

void test('a requester does not decide', () => {
  const asker = { principal: principal('rita'), duties: all };
  refused(mayDecide(policies, asker, request(), 'approve'), 'duty_conflict', 'approver-is-requester', /asked for/);
});

void test('deciding needs approver, executing a job needs executor; no other duty stands in for it', () => {
  const without = (duty: Duty) => ({ principal: principal('eve'), duties: all.filter((one) => one !== duty) });
  refused(
    mayDecide(policies, without('approver'), request(), 'approve'),
    'duty_missing',
    'approve-needs-approver',
    /approver/,
  );
  refused(mayExecute(policies, without('executor'), request()), 'duty_missing', 'execute-needs-executor', /executor/);
  const eve = (duties: readonly Duty[]) => ({ principal: principal('eve'), duties });
  assert.equal(mayDecide(policies, eve(['approver']), request(), 'approve').allowed, true);
  assert.equal(mayExecute(policies, eve(['executor']), request()).allowed, true);
});

void test('strict: who approved does not execute; otherwise they may', () => {
  const asker = { principal: principal('eve', { id: 'etl', kind: 'service' }), duties: all };
  const approverHumans = ['Eve'];
  refused(
    mayExecute(policies, asker, request({ approverHumans, strict: true })),
    'duty_conflict',
    'executor-is-approver',
    /approved/,
  );
  assert.equal(mayExecute(policies, asker, request({ approverHumans })).allowed, true);
});

void test('a held statement is run by who asked for it and by nobody else', () => {
  const held = request({
    kind: 'statement',
    requesterHuman: 'dora',
    authors: [{ human: 'dora', name: 'Dora', role: 'requester' }],
  });
  assert.equal(mayExecute(policies, { principal: principal('dora'), duties: ['designer'] }, held).allowed, true);
  refused(
    mayExecute(policies, { principal: principal('eve'), duties: all }, held),
    'duty_conflict',
    'executor-is-not-requester',
    /did not ask/,
  );
  refused(
    mayExecute(policies, { principal: principal('dora'), duties: ['auditor'] }, held),
    'duty_missing',
    'execute-needs-session-duty',
    /designer or executor/,
  );
  refused(
    mayDecide(policies, { principal: principal('dora'), duties: all }, held, 'approve'),
    'duty_conflict',
    'approver-is-author',
    /requester/,
  );
});

void test('unknown humans: nobody decides for or beside somebody who is not known', () => {
  const eve = { principal: principal('eve'), duties: all };
  const stranger = { human: '', name: 'x@old.example', role: 'author' };
  const unknown = request({ authors: [...request().authors, stranger] });
  refused(mayDecide(policies, eve, unknown, 'approve'), 'duty_conflict', 'author-unknown', /x@old\.example/);
  refused(mayExecute(policies, eve, unknown), 'duty_conflict', 'author-unknown', /not known/);
  refused(
    mayDecide(policies, eve, request({ authors: [] }), 'approve'),
    'duty_conflict',
    'author-unknown',
    /not known/,
  );
  assert.equal(mayDecide(policies, eve, unknown, 'reject').allowed, true);
  refused(
    mayDecide(policies, { principal: principal(''), duties: all }, request(), 'approve'),
    'forbidden',
    'nobody',
    /which human/,
  );
  refused(
    mayExecute(policies, { principal: principal(' '), duties: all }, request()),
    'forbidden',
    'nobody',
    /which human/,
  );
});

void test('asking, withdrawing, and what only auditors may do', () => {
  const as = (...duties: Duty[]) => ({ principal: principal('eve'), duties });
  assert.equal(mayRequest(policies, as('designer'), 'job', connection).allowed, true);
  assert.equal(mayRequest(policies, as('executor'), 'statement', connection).allowed, true);
  assert.equal(mayRequest(policies, as('admin', 'auditor', 'approver'), 'job', connection).code, 'duty_missing');
  assert.equal(mayWithdraw(policies, { principal: principal('rita'), duties: [] }, request()).allowed, true);
  assert.equal(mayWithdraw(policies, as(...all), request()).code, 'forbidden');
  assert.equal(mayAct(policies, as('designer'), 'push-job', connection).allowed, true);
  assert.equal(mayAct(policies, as('admin', 'executor'), 'push-job', connection).code, 'duty_missing');
  for (const action of ['replay', 'read-log'] as const) {
    assert.equal(mayAct(policies, as('auditor'), action, undefined).allowed, true);
    assert.equal(
      mayAct(policies, as('admin', 'designer', 'approver', 'executor'), action, undefined).code,
      'duty_missing',
    );
  }
  assert.equal(mayAct(policies, as('admin'), 'review-access', undefined).allowed, true);
  assert.equal(mayAct(policies, as('designer'), 'review-access', undefined).allowed, false);
});

void test('a user can forbid more and permit nothing that is forbidden', () => {
  const generous = compilePolicies({ files: [{ name: 'u.cedar', text: 'permit (principal, action, resource);' }] });
  const strictText =
    '@id("two-keys") forbid (principal in Group::"interns", action == Action::"approve", resource in Connection::"crm");';
  const narrow = compilePolicies({ files: [{ name: 'u.cedar', text: strictText }] });
  assert.equal(mayDecide(generous, { principal: principal('carl'), duties: all }, request(), 'approve').allowed, false);
  assert.equal(mayExecute(generous, { principal: principal('eve'), duties: ['admin'] }, request()).allowed, false);
  const intern = { principal: principal('ines', { groups: ['interns'] }), duties: all };
  const narrowed = mayDecide(narrow, intern, request(), 'approve');
  assert.deepEqual([narrowed.allowed, narrowed.policies], [false, ['u.cedar/two-keys']]);
});

const human = fc.constantFrom('ann', 'ANN', ' bob', 'bob', 'cy', '');
const arbitraryRequest = fc.record({
  kind: fc.constantFrom('job' as const, 'statement' as const, 'session' as const),
  requesterHuman: human,
  authors: fc.array(fc.record({ human, name: fc.constant('n'), role: fc.constant('author') }), { maxLength: 3 }),
  approverHumans: fc.array(human, { maxLength: 2 }),
  strict: fc.boolean(),
});

void test('code and Cedar say the same of every person and every request', () => {
  // Each half alone: our code under policies that permit everything, Cedar's forbids without our code.
  const permissive = new PolicySet(
    new Map([
      [
        'all',
        {
          id: 'all',
          namesUnknown: false,
          place: 'test',
          effect: 'permit',
          text: 'permit (principal, action, resource);',
          code: undefined,
          reason: undefined,
          hint: undefined,
        },
      ],
    ]),
  );
  let allowed = 0;
  fc.assert(
    fc.property(
      human,
      fc.subarray([...all]),
      arbitraryRequest,
      fc.constantFrom('approve' as const, 'reject' as const, 'execute' as const, 'withdraw' as const),
      (name, duties, more, action) => {
        const asker = { principal: principal(name, { id: `p-${name}` }), duties };
        const given = request(more);
        const ask = (set: PolicySet): DutyVerdict => {
          if (action === 'execute') return mayExecute(set, asker, given);
          return action === 'withdraw' ? mayWithdraw(set, asker, given) : mayDecide(set, asker, given, action);
        };
        const code = ask(permissive);
        const together = ask(policies);
        // If Cedar forbade what the code allows, the verdict would carry a Cedar reason although the code found nothing.
        assert.equal(together.allowed, code.allowed);
        const forbids = cedarForbids(asker, given, action);
        assert.deepEqual(forbids, code.policies.filter((id) => id.startsWith('countersign/')).toSorted());
        if (together.allowed) allowed++;
      },
    ),
    { numRuns: 400 },
  );
  assert(allowed > 10, `only ${allowed} of the random questions were allowed: the comparison says little`);
});

function cedarForbids(
  asker: { principal: Principal; duties: readonly Duty[] },
  given: DutyRequest,
  action: 'approve' | 'reject' | 'execute' | 'withdraw',
): string[] {
  const humans = (names: readonly string[]): string[] => [...new Set(names.map(humanKey))];
  const answer = policies.evaluate({
    principal: { type: 'Principal', id: asker.principal.id },
    action,
    resource: { type: 'Request', id: given.id },
    context: {},
    entities: [
      {
        uid: { type: 'Principal', id: asker.principal.id },
        attrs: { human: humanKey(asker.principal.human), kind: 'person' },
        parents: asker.duties.map((id) => ({ type: 'Duty', id })),
      },
      {
        uid: { type: 'Request', id: given.id },
        attrs: {
          kind: given.kind,
          requester: humanKey(given.requesterHuman),
          authors: humans(given.authors.map((author) => author.human)),
          approvers: humans(given.approverHumans),
          strict: given.strict,
        },
        parents: [],
      },
    ],
  });
  // Without the duty executor a job breaks two rules of Cedar and one of the code; the narrower one says it all.
  const ids = answer.allowed ? [] : answer.policies;
  return ids.filter((id) => given.kind !== 'job' || id !== 'countersign/execute-needs-session-duty').toSorted();
}

void test('one human with two names meets the rules, and policies that name either of them', () => {
  const keyOf = (human: string) => (['carl', 'okta:carl'].includes(humanKey(human)) ? 'carl' : humanKey(human));
  const asker = { principal: principal('okta:carl'), duties: all };
  const own = request({ keyOf });
  refused(mayDecide(policies, asker, own, 'approve'), 'duty_conflict', 'approver-is-author', /co-author/);
  refused(mayExecute(policies, asker, own), 'duty_conflict', 'executor-is-author', /co-author/);
  const strict = request({
    keyOf,
    authors: [{ human: 'dora', name: 'Dora', role: 'pusher' }],
    approverHumans: ['carl'],
    strict: true,
  });
  refused(mayExecute(policies, asker, strict), 'duty_conflict', 'executor-is-approver', /approved/);
  const asked = request({ keyOf, requesterHuman: 'carl', authors: [{ human: 'dora', name: 'Dora', role: 'pusher' }] });
  refused(mayDecide(policies, asker, asked, 'approve'), 'duty_conflict', 'approver-is-requester', /asked for/);
  assert.equal(mayWithdraw(policies, asker, asked).allowed, true);
  const statement = request({ keyOf, kind: 'statement', requesterHuman: 'carl' });
  assert.equal(mayExecute(policies, asker, statement).allowed, true);
  // Cedar compares texts: whoever asks stands there by their own name, and the others by theirs.
  for (const [who, name] of [
    ['okta:carl', 'okta:carl'],
    ['okta:carl', 'carl'],
    ['dee', 'dora'],
  ] as const) {
    const text = `@id("no") forbid (principal, action == Action::"approve", resource) when { resource.authors.contains("${name}") };`;
    const narrowed = compilePolicies({ files: [{ name: 'more', text }] });
    const verdict = mayDecide(narrowed, { principal: principal(who), duties: all }, request({ keyOf }), 'approve');
    assert(verdict.policies.includes('more/no'), `${name} for ${who}: ${verdict.policies.join()}`);
  }
});

void test('an author whom nobody knows leaves nobody independent', () => {
  const keyOf = (human: string) => (human === 'x@example.org' ? '' : humanKey(human));
  const authors = [{ human: 'x@example.org', name: 'X', role: 'co-author' }];
  const asker = { principal: principal('ann'), duties: all };
  const unknown = request({ keyOf, authors });
  refused(mayDecide(policies, asker, unknown, 'approve'), 'duty_conflict', 'author-unknown', /X \(co-author\)/);
  refused(mayExecute(policies, asker, unknown), 'duty_conflict', 'author-unknown', /X/);
});

void test('a change of rules is decided by an admin or approver who did not ask for it, and executed by nobody', () => {
  const change = request({
    kind: 'policy',
    connection: undefined,
    authors: [{ human: 'rita', name: 'Rita', role: 'requester' }],
  });
  const asker = (who: string, ...duties: Duty[]) => ({ principal: principal(who), duties });
  for (const duty of ['admin', 'approver'] as const) {
    assert(mayDecide(policies, asker('ann', duty), change, 'approve').allowed, duty);
    assert(mayRequest(policies, asker('rita', duty), 'policy', undefined).allowed, duty);
    refused(
      mayDecide(policies, asker('rita', duty), change, 'approve'),
      'duty_conflict',
      'approver-is-author',
      /Rita|rita/,
    );
  }
  for (const duty of ['designer', 'executor', 'auditor'] as const) {
    refused(
      mayDecide(policies, asker('ann', duty), change, 'approve'),
      'duty_missing',
      'approve-needs-approver',
      /every connection/,
    );
    refused(
      mayRequest(policies, asker('rita', duty), 'policy', undefined),
      'duty_missing',
      'change-needs-admin-or-approver',
      /rules/,
    );
  }
  // Of anything else an admin decides nothing.
  refused(
    mayDecide(policies, asker('ann', 'admin'), request(), 'approve'),
    'duty_missing',
    'approve-needs-approver',
    /crm/,
  );
  for (const who of ['rita', 'ann']) {
    refused(
      mayExecute(policies, { principal: principal(who), duties: all }, change),
      'forbidden',
      'policy-is-applied',
      /nobody executes/,
    );
  }
});
