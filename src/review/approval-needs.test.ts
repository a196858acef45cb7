import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultWorkflow, type Workflow } from '../approvals/workflow.ts';
import { reviewedConnections } from './approval-needs.ts';

const workflow = (more: Partial<Workflow>): Workflow => ({ ...defaultWorkflow, ...more });
const needsWith = (...workflows: Workflow[]) => {
  const [found] = reviewedConnections([{ name: 'crm', labels: { env: 'prod' } }], workflows);
  assert.ok(found !== undefined);
  return found;
};

void describe('what a request needs', () => {
  it('is one approval where no workflow matches', () => {
    const { needs, leastNeeds } = needsWith(workflow({ match: { labels: { env: 'test' } }, approvals: { count: 3 } }));
    assert.deepEqual(needs.job, { approvals: 1, groups: undefined, strict: false });
    assert.deepEqual(leastNeeds, needs);
  });

  it('is the sum of its steps, by anybody if one of them is open to anybody', () => {
    const steps = [{ allOf: ['leads', 'legal'] }, { count: 1, groups: ['board'] }];
    const closed = needsWith(workflow({ approvals: { count: 1, steps } })).needs.statement;
    assert.deepEqual(closed, { approvals: 3, groups: ['leads', 'legal', 'board'], strict: false });
    const open = needsWith(workflow({ approvals: { count: 1, steps: [...steps, { count: 1 }] } })).needs.statement;
    assert.deepEqual([open.approvals, open.groups], [4, undefined]);
  });

  it('is at least what any workflow that can match asks for', () => {
    const small = workflow({ match: { labels: {}, sensitive: false }, approvals: { count: 1 } });
    const rest = workflow({ approvals: { count: 2 }, strict: true });
    const never = workflow({ approvals: { count: 1 } });
    const { leastNeeds, needs } = needsWith(small, rest, never);
    assert.equal(needs.job.approvals, 2, 'what is not known counts as sensitive');
    assert.equal(leastNeeds?.job.approvals, 1);
    assert.equal(needsWith(rest, never).leastNeeds?.job.approvals, 2, 'what comes behind everything is never reached');
    assert.equal(
      needsWith(workflow({ match: { labels: {}, kinds: ['statement'] } }), rest).leastNeeds?.job.approvals,
      2,
    );
  });

  it('is what break-glass leaves of it', () => {
    const breakGlass = { approvals: 1, reviewers: 2, reviewWithinMs: 1, duringQuietHours: true };
    const { needs, leastNeeds } = needsWith(workflow({ approvals: { count: 3 }, breakGlass }));
    assert.deepEqual([needs.job.approvals, leastNeeds?.job.approvals], [3, 1]);
  });
});
