import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isQuiet, quietUntil } from './quiet-hours.ts';
import {
  approvalsNeeded,
  defaultWorkflow,
  progressOf,
  underBreakGlass,
  whyNot,
  workflowFor,
  type Progress,
  type RequestTraits,
  type StepDecision,
  type Workflow,
  type WorkflowCase,
  type WorkflowStep,
} from './workflow.ts';

function workflow(match: Workflow['match'], count: number): Workflow {
  return { ...defaultWorkflow, match, approvals: { count } };
}

const workflows = [
  workflow({ labels: { env: 'prod' }, kinds: ['statement'], classes: ['write', 'ddl'] }, 3),
  workflow({ labels: { env: 'prod', region: 'eu' } }, 2),
];

function needed(
  kind: 'job' | 'statement',
  classes: readonly ('read' | 'write' | 'unknown')[],
  labels: Record<string, string>,
) {
  return workflowFor(workflows, { kind, classes, labels }).approvals.count;
}

void test('the first workflow that matches in every respect counts, otherwise one approval', () => {
  assert.equal(needed('statement', ['read', 'write'], { env: 'prod', region: 'eu' }), 3);
  assert.equal(needed('statement', ['read'], { env: 'prod', region: 'eu' }), 2);
  assert.equal(needed('job', ['write'], { env: 'prod', region: 'eu' }), 2);
  assert.equal(needed('statement', ['read'], { env: 'prod' }), 1);
  assert.equal(needed('statement', ['write'], { env: 'test' }), 1);
});

void test('what has no known class matches every list of classes', () => {
  assert.equal(needed('statement', [], { env: 'prod' }), 3);
  assert.equal(needed('statement', ['unknown'], { env: 'prod' }), 3);
});

void test('a label is matched by its own value only', () => {
  const odd = [workflow({ labels: { constructor: 'x' } }, 9)];
  assert.equal(workflowFor(odd, { kind: 'job', classes: ['read'], labels: {} }).approvals.count, 1);
});

void test('relations, sensitivity and size choose a workflow; what is not known counts as the most dangerous', () => {
  const ways: Workflow[] = [
    workflow({ labels: {}, relations: ['public.pay*', 'salaries'] }, 2),
    workflow({ labels: {}, sensitive: true, minRows: 1_000 }, 3),
    workflow({ labels: {}, minBytes: 10_000 }, 4),
    workflow({ labels: {}, sensitive: false }, 5),
  ];
  const count = (relations: readonly string[] | undefined, traits: RequestTraits) =>
    workflowFor(ways, { kind: 'job', labels: {}, classes: ['read'], relations, traits }).approvals.count;
  const small = { touchesMasked: false, rows: 10, bytes: 10 };
  assert.equal(count(['public.Payments'], small), 2);
  assert.equal(count(['hr.salaries'], small), 2);
  assert.equal(count(['hr.salaries_old', 'other.payments'], small), 5);
  assert.equal(count(undefined, small), 2);
  assert.equal(count([], { touchesMasked: true, rows: 1_000, bytes: 10 }), 3);
  assert.equal(count([], { touchesMasked: true, rows: 999, bytes: 10 }), 1);
  assert.equal(count([], { touchesMasked: false, rows: 10, bytes: 10_000 }), 4);
  assert.equal(count([], small), 5);
  assert.equal(count([], {}), 3);
  assert.equal(count([], { touchesMasked: false, rows: Number.NaN }), 4);
});

const hourMs = 3_600_000;
const start = Date.parse('2026-03-02T10:00:00Z'); // a Monday

function stepped(steps: readonly WorkflowStep[], more: Partial<Workflow> = {}): Workflow {
  return { ...defaultWorkflow, approvals: { count: 1, steps }, ...more };
}

function said(...decisions: readonly [human: string, groups: readonly string[], atHours?: number][]): StepDecision[] {
  return decisions.map(([human, groups, at = 0]) => ({ human, groups, verdict: 'approve', atMs: start + at * hourMs }));
}

function caseWith(decisions: readonly StepDecision[], involved: readonly string[] = []): WorkflowCase {
  return { openedAtMs: start, decisions, involved: new Set(involved) };
}

function stateAfter(way: Workflow, decisions: readonly StepDecision[], atHours = 0): Progress['state'] {
  return progressOf(way, caseWith(decisions, ['author']), start + atHours * hourMs).state;
}

void test('one of each group: a person in both fills one place, whichever the others leave', () => {
  const both = stepped([{ allOf: ['dba', 'privacy'] }]);
  assert.equal(stateAfter(both, said(['ann', ['dba', 'privacy']])), 'open');
  assert.equal(stateAfter(both, said(['ann', ['dba', 'privacy']], ['bob', ['dba']])), 'complete');
  assert.equal(stateAfter(both, said(['ann', ['dba', 'privacy']], ['bob', ['privacy']])), 'complete');
  assert.equal(stateAfter(both, said(['ann', ['dba']], ['bob', ['dba']])), 'open');
  assert.equal(stateAfter(both, said(['ann', ['dba']], ['ann', ['privacy']])), 'open');
  assert.equal(stateAfter(both, said(['author', ['dba']], ['bob', ['privacy']])), 'open');
  const reason = whyNot(both, caseWith(said(['ann', ['dba']])), { human: 'cy', groups: ['dba'] }, start)?.reason;
  assert.equal(reason, 'this request is decided by one of each of dba, privacy; 1 of 2 places are taken');
});

void test('steps are done in order, by humans that no earlier step had', () => {
  const two = stepped([{ groups: ['team'], count: 2 }, { groups: ['board'] }]);
  const team = said(['ann', ['team', 'board']], ['bob', ['team']]);
  assert.equal(stateAfter(two, [...said(['dee', ['board']]), ...team]), 'open');
  assert.equal(stateAfter(two, [...team, ...said(['ann', ['board']])]), 'open');
  assert.equal(stateAfter(two, [...team, ...said(['dee', ['board']])]), 'complete');
  const rejected: StepDecision = { human: 'bob', groups: ['team'], verdict: 'reject', atMs: start };
  assert.equal(stateAfter(two, [...said(['ann', ['team']]), rejected, ...team]), 'rejected');
  const candidate = { human: 'cy', groups: ['team'] };
  assert.equal(whyNot(two, caseWith(team), candidate, start)?.reason, 'step 2 of 2 is decided by members of board');
});

void test('a step that is open too long is overdue; further groups come in after a while, or are only told', () => {
  const way = (decide: boolean) =>
    stepped([
      { groups: ['team'], timeLimitMs: 8 * hourMs, escalation: { afterMs: 2 * hourMs, groups: ['heads'], decide } },
    ]);
  const head = (at: number) => said(['hal', ['heads'], at]);
  assert.equal(stateAfter(way(true), head(1), 3), 'open');
  assert.equal(stateAfter(way(true), head(2), 3), 'complete');
  assert.equal(stateAfter(way(false), head(2), 3), 'open');
  assert.equal(stateAfter(way(true), said(['ann', ['team'], 8]), 9), 'overdue');
  assert.equal(stateAfter(way(true), [], 8), 'overdue');
  assert.equal(stateAfter(way(true), said(['ann', ['team'], 7]), 100), 'complete');
});

void test('no approval counts in quiet hours, which go by the wall clock of their zone', () => {
  const night = { timeZone: 'Europe/Berlin', from: '18:00', to: '07:00' };
  assert.equal(isQuiet(night, Date.parse('2026-03-02T16:59:00Z')), false);
  assert.equal(isQuiet(night, Date.parse('2026-03-02T17:00:00Z')), true);
  assert.equal(isQuiet(night, Date.parse('2026-03-03T05:59:00Z')), true);
  assert.equal(isQuiet(night, Date.parse('2026-03-03T06:00:00Z')), false);
  // In summer the same wall clock is an hour earlier.
  assert.equal(isQuiet(night, Date.parse('2026-07-01T05:30:00Z')), false);
  assert.equal(quietUntil(night, Date.parse('2026-03-02T20:15:30Z')), Date.parse('2026-03-03T06:00:00Z'));
  const weekend = { timeZone: 'UTC', from: '00:00', to: '00:00', days: ['sat', 'sun'] } as const;
  assert.equal(isQuiet(weekend, Date.parse('2026-03-06T23:59:00Z')), false);
  assert.equal(isQuiet(weekend, Date.parse('2026-03-07T00:00:00Z')), true);
  assert.equal(quietUntil(weekend, Date.parse('2026-03-07T12:00:00Z')), Date.parse('2026-03-09T00:00:00Z'));
  const way = { ...defaultWorkflow, quietHours: night };
  assert.equal(stateAfter(way, said(['ann', [], 8])), 'open'); // 19:00 in Berlin
  assert.equal(stateAfter(way, said(['ann', [], 1])), 'complete');
  const why = whyNot(way, caseWith([]), { human: 'ann', groups: [] }, start + 8 * hourMs);
  assert.equal(why?.rule, 'quiet-hours');
  assert.match(why?.reason ?? '', /until 2026-03-03T06:00:00.000Z/);
});

void test('break-glass asks for fewer, of those who could decide any step, and never for nobody', () => {
  const breakGlass = { approvals: 1, reviewers: 2, reviewWithinMs: hourMs, duringQuietHours: false };
  const way = stepped([{ allOf: ['dba', 'privacy'] }, { groups: ['board'], count: 2 }]);
  const less = underBreakGlass(way, breakGlass);
  assert.equal(approvalsNeeded(way), 4);
  assert.equal(approvalsNeeded(less), 1);
  assert.equal(stateAfter(less, said(['ann', ['privacy']])), 'complete');
  assert.equal(stateAfter(less, said(['ann', ['others']])), 'open');
  assert.equal(approvalsNeeded(underBreakGlass(way, { ...breakGlass, approvals: 0 })), 1);
  assert.equal(approvalsNeeded(underBreakGlass(way, { ...breakGlass, approvals: 9 })), 4);
  const open = underBreakGlass(stepped([{ groups: ['board'] }, { count: 2, allOf: ['dba'] }]), breakGlass);
  assert.equal(stateAfter(open, said(['ann', []])), 'complete');
  assert.equal(stateAfter(less, []), 'open');
});

const groupNames = ['a', 'b', 'c'] as const;
const someGroups = fc.uniqueArray(fc.constantFrom(...groupNames), { minLength: 1, maxLength: 3 });
const anyStep = fc.record(
  {
    count: fc.integer({ min: 1, max: 3 }),
    allOf: someGroups,
    groups: someGroups,
    escalation: fc.record({ afterMs: fc.constantFrom(1, 5), groups: someGroups, decide: fc.boolean() }),
  },
  { requiredKeys: [] },
);
const anyDecision = fc.record({
  human: fc.constantFrom('ann', 'bob', 'cy', 'dee', 'eve', 'fay', ''),
  groups: fc.subarray([...groupNames]),
  verdict: fc.constantFrom(
    'approve' as const,
    'approve' as const,
    'approve' as const,
    'approve' as const,
    'reject' as const,
  ),
});

void test('no order of decisions by fewer humans than places completes a workflow', () => {
  const seen = { complete: 0, open: 0 };
  const steps = fc.array(anyStep, { minLength: 1, maxLength: 3 });
  const decided = fc.array(anyDecision, { maxLength: 14 });
  fc.assert(
    fc.property(steps, decided, fc.subarray(['ann', 'bob']), (given, list, involved) => {
      const way = stepped(given);
      const decisions = list.map((one, index) => ({ ...one, atMs: start + index }));
      const progress = progressOf(way, caseWith(decisions, involved), start + 100);
      const approvers = progress.steps.flatMap((step) => step.approvers);
      assert.equal(new Set(approvers).size, approvers.length, 'one human fills two places');
      assert(!approvers.some((human) => human === '' || involved.includes(human)));
      const rejectedAt = decisions.findIndex((one) => one.verdict === 'reject');
      const humans = new Set<string>(decisions.filter((one) => one.verdict === 'approve').map(({ human }) => human));
      for (const name of ['', ...involved]) humans.delete(name);
      if (progress.state !== 'complete') {
        seen.open++;
        return;
      }
      seen.complete++;
      assert(humans.size >= approvalsNeeded(way), 'fewer humans than places were enough');
      if (rejectedAt >= 0) {
        const before = progressOf(way, caseWith(decisions.slice(0, rejectedAt), involved), start + 100);
        assert.notEqual(before.state, 'open', 'a rejection did not end it');
      }
      for (const { step, approvers: sitting } of progress.steps) {
        assert.equal(sitting.length, Math.max(step.count ?? 1, step.allOf?.length ?? 0));
        if (step.escalation === undefined) assert(isSeated(step.allOf ?? [], sitting, decisions), 'a group has nobody');
      }
    }),
    { numRuns: 3_000 },
  );
  assert(seen.complete > 100 && seen.open > 100, JSON.stringify(seen));
});

/** By trying every order: each group has a member of its own among these humans. */
function isSeated(groups: readonly string[], humans: readonly string[], decisions: readonly StepDecision[]): boolean {
  const [group, ...rest] = groups;
  if (group === undefined) return true;
  return humans.some(
    (human) =>
      decisions.some((one) => one.human === human && one.groups.includes(group)) &&
      isSeated(
        rest,
        humans.filter((other) => other !== human),
        decisions,
      ),
  );
}
