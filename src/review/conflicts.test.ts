import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Duty } from '../identity/principal.ts';
import { duties as allDuties } from '../identity/principal.ts';
import { humanKey } from '../policy/entities.ts';
import {
  holdingsOf,
  isUnused,
  lineOf,
  revocationOf,
  type AccessWorld,
  type ApprovalNeed,
  type ReviewedPrincipal,
} from './access.ts';
import { aloneConflicts, aloneReasons, pairConflicts } from './conflicts.ts';

const need = (more: Partial<ApprovalNeed> = {}): ApprovalNeed => ({
  approvals: 1,
  groups: undefined,
  strict: false,
  ...more,
});

function person(id: string, groups: readonly string[], more: Partial<ReviewedPrincipal> = {}): ReviewedPrincipal {
  return { id, human: id, kind: 'person', displayName: id, email: undefined, groups, lastSeenAt: undefined, ...more };
}

/** One group for each duty. */
const bindings = allDuties.map((duty) => ({ group: `${duty}s`, duties: [duty] }));

function world(principals: readonly ReviewedPrincipal[], more: Partial<AccessWorld> = {}): AccessWorld {
  return {
    principals,
    bindings,
    connections: [{ name: 'crm', labels: {}, needs: { job: need(), statement: need() } }],
    uses: [],
    keyOf: humanKey,
    ...more,
  };
}

const groupsFor = (duties: readonly Duty[]) => duties.map((duty) => `${duty}s`);
const someDuties = fc.subarray([...allDuties]);
const someNeed = fc.record({
  approvals: fc.integer({ min: 1, max: 2 }),
  groups: fc.option(fc.constant(['deciders']), { nil: undefined }),
  strict: fc.boolean(),
});

const someWorld = fc
  .record({
    people: fc.array(
      fc.record({
        duties: someDuties,
        decides: fc.boolean(),
        // Several principals of one human, in spellings that are one.
        human: fc.constantFrom('ann', 'ANN', 'bob', 'cat', 'dan', 'eve', ''),
        kind: fc.constantFrom('person' as const, 'service' as const),
      }),
      { maxLength: 9 },
    ),
    job: someNeed,
    statement: someNeed,
  })
  .map(({ people, job, statement }) =>
    world(
      people.map(({ duties, decides, human, kind }, at) =>
        person(`p${at}`, [...groupsFor(duties), ...(decides ? ['deciders'] : [])], { human, kind }),
      ),
      { connections: [{ name: 'crm', labels: {}, needs: { job, statement } }] },
    ),
  );

/** Everything by looking at each pair of humans, as slowly and plainly as possible. */
function pairsByHand({ principals, connections }: AccessWorld, what: 'job' | 'statement'): number {
  const { approvals, groups, strict } = connections[0]?.needs[what] ?? need();
  const humans = [...new Set(principals.map((one) => humanKey(one.human)))].filter((key) => key !== '');
  const has = (human: string, duty: Duty) =>
    principals.some((one) => humanKey(one.human) === human && one.groups.includes(`${duty}s`));
  const decides = (human: string) =>
    principals.some(
      (one) =>
        humanKey(one.human) === human &&
        one.groups.includes('approvers') &&
        (groups === undefined || one.groups.includes('deciders')),
    );
  const enough = (one: string, other: string) =>
    approvals === 1 &&
    (what === 'job'
      ? has(one, 'designer') && decides(other) && has(other, 'executor') && !strict
      : (has(one, 'designer') || has(one, 'executor')) && decides(other));
  let pairs = 0;
  for (const [at, one] of humans.entries()) {
    for (const other of humans.slice(at + 1)) if (enough(one, other) || enough(other, one)) pairs++;
  }
  return pairs;
}

void describe('with one other', () => {
  it('classes of duties count exactly the pairs that there are', () => {
    fc.assert(
      fc.property(someWorld, (some) => {
        const found = pairConflicts(some);
        for (const what of ['job', 'statement'] as const) {
          const counted = found.filter((one) => one.what === what).reduce((sum, one) => sum + one.pairs, 0);
          assert.equal(counted, pairsByHand(some, what));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('looks at classes, not at people: ten thousand of them cost no pairs', () => {
    const many = Array.from({ length: 10_000 }, (_, n) =>
      person(`p${n}`, n % 2 === 0 ? ['designers'] : ['approvers', 'executors']),
    );
    let asked = 0;
    const counted = many.map((one) => ({
      ...one,
      get groups() {
        asked++;
        return one.groups;
      },
    }));
    const found = pairConflicts(world(counted));
    assert.equal(
      found.filter(({ what }) => what === 'job').reduce((sum, { pairs }) => sum + pairs, 0),
      25_000_000,
    );
    assert.equal(
      found.filter(({ what }) => what === 'statement').reduce((sum, { pairs }) => sum + pairs, 0),
      25_000_000 + (5_000 * 4_999) / 2,
    );
    assert.ok(asked < 10_000 * 10, `groups were read ${asked} times`);
  });

  it('a strict workflow, or two approvals, leaves no pair for jobs', () => {
    const people = [person('dana', ['designers']), person('eli', ['approvers', 'executors'])];
    const jobs = (job: ApprovalNeed) =>
      pairConflicts(
        world(people, {
          connections: [{ name: 'crm', labels: {}, needs: { job, statement: need({ approvals: 2 }) } }],
        }),
      );
    assert.equal(jobs(need()).length, 1);
    assert.deepEqual(jobs(need({ strict: true })), []);
    assert.deepEqual(jobs(need({ approvals: 2 })), []);
    assert.deepEqual(jobs(need({ groups: ['nobody'] })), []);
  });
});

void describe('alone', () => {
  it('a human’s accounts count together, however they are spelt and owned', () => {
    fc.assert(
      fc.property(someWorld, (some) => {
        const found = aloneConflicts(some).filter((one) => !one.suspectedAlias);
        const humans = new Map<string, Set<string>>();
        for (const one of some.principals) {
          const key = humanKey(one.human);
          const held = humans.get(key) ?? new Set<string>();
          for (const group of one.groups) held.add(group);
          humans.set(key, held);
        }
        for (const [key, held] of humans) {
          const has = (duty: Duty) => held.has(`${duty}s`);
          const mine = found
            .filter((one) => one.humans.some((human) => humanKey(human) === key))
            .map((one) => one.reason);
          assert.equal(mine.includes('author-approve-execute'), has('designer') && has('approver') && has('executor'));
          assert.equal(
            mine.includes('admin-and-more'),
            has('admin') && (has('designer') || has('approver') || has('executor')),
          );
          assert.equal(
            mine.some((reason) => reason.startsWith('author-')),
            has('designer') && (has('approver') || has('executor')),
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  it('names the accounts and groups through which it is so', () => {
    const [found, ...more] = aloneConflicts(
      world([
        person('dana', ['designers'], { email: 'dana@example.com' }),
        person('bot', ['approvers', 'executors'], { human: 'Dana', kind: 'service' }),
      ]),
    );
    assert.deepEqual(more, []);
    assert.equal(found?.reason, 'author-approve-execute');
    assert.deepEqual(found.through, [
      { principal: 'dana', duty: 'designer', groups: ['designers'] },
      { principal: 'bot', duty: 'approver', groups: ['approvers'] },
      { principal: 'bot', duty: 'executor', groups: ['executors'] },
    ]);
  });

  it('two humans with one e-mail address look like one', () => {
    const people = [
      person('dana', ['designers'], { email: 'Dana@Example.com' }),
      person('okta:d1', ['approvers'], { email: 'dana@example.com ' }),
      person('eli', ['approvers'], { email: 'eli@example.com' }),
    ];
    const found = aloneConflicts(world(people));
    assert.deepEqual(
      found.map(({ reason, humans, suspectedAlias }) => ({ reason, humans, suspectedAlias })),
      [{ reason: 'author-approve', humans: ['dana', 'okta:d1'], suspectedAlias: true }],
    );
    const linked = (human: string) => (human === 'okta:d1' ? 'dana' : humanKey(human));
    assert.deepEqual(
      aloneConflicts(world(people, { keyOf: linked })).map(({ suspectedAlias }) => suspectedAlias),
      [false],
    );
  });

  it('approving and executing what others wrote is no conflict alone', () => {
    assert.deepEqual(aloneConflicts(world([person('eli', ['approvers', 'executors'])])), []);
    assert.deepEqual(aloneReasons(0), []);
  });
});

void describe('holdings', () => {
  const at = (text: string) => new Date(`2026-01-${text}T00:00:00Z`);

  it('are one line for each principal, connection and duty, with the groups that give it', () => {
    const some = world([person('dana', ['designers', 'leads', 'others'])], {
      bindings: [...bindings, { group: 'leads', duties: ['designer', 'auditor'], labels: { env: 'test' } }],
      connections: [
        { name: 'crm', labels: { env: 'prod' }, needs: { job: need(), statement: need() } },
        { name: 'lab', labels: { env: 'test' }, needs: { job: need(), statement: need() } },
      ],
      uses: [
        { principal: 'dana', connection: 'lab', duty: 'designer', kind: 'push', at: at('02') },
        { principal: 'dana', connection: 'lab', duty: 'designer', kind: 'session', at: at('03') },
        { principal: 'dana', connection: '', duty: 'auditor', kind: 'replay', at: at('04') },
      ],
    });
    const lines = holdingsOf(some);
    assert.deepEqual(
      lines.map(({ connection, duty, groups, lastUse }) => [connection, duty, groups.join('+'), lastUse?.kind]),
      [
        ['crm', 'designer', 'designers', undefined],
        ['lab', 'designer', 'designers+leads', 'session'],
        ['lab', 'auditor', 'leads', 'replay'],
      ],
    );
    assert.equal(new Set(lines.map(({ line }) => line)).size, 3);
    const [, second] = lines;
    assert.ok(second !== undefined);
    assert.equal(second.line, lineOf({ principal: 'dana', connection: 'lab', duty: 'designer' }));
    assert.match(revocationOf(second, some.bindings), /dana out of groups "designers" and "leads".*auditor as well/);
  });

  it('are unused once neither use nor holding is recent', () => {
    const [line] = holdingsOf(world([person('dana', ['designers'])]));
    assert.ok(line !== undefined);
    const day = 86_400_000;
    const now = at('31').getTime();
    const used = { ...line, lastUse: { kind: 'session' as const, at: at('30').toISOString() } };
    assert.equal(isUnused(line, at('01'), now, 30 * day), true);
    assert.equal(isUnused(line, at('02'), now, 30 * day), false);
    assert.equal(isUnused(line, undefined, now, 30 * day), false, 'nobody has watched for long enough');
    assert.equal(isUnused(used, at('01'), now, 30 * day), false);
  });
});
