import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultWorkflow, workflowFor, type Workflow } from './workflow.ts';

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
