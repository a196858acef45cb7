import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statementInput } from '../../test/approval-fixtures.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { RequestRecord } from '../store/requests.ts';
import { grantInputJson } from './digest.ts';
import { decidersOf } from './subject.ts';
import { defaultWorkflow, type Workflow } from './workflow.ts';

const crm = { name: 'crm', engine: 'postgres', labels: { data: 'personal' } };

function held(): RequestRecord {
  const digestInputJson = grantInputJson(statementInput());
  const digest = sha256Hex(digestInputJson);
  return { id: 'req_1', kind: 'statement', connection: 'crm', digest, digestInputJson, evidence: {} } as RequestRecord;
}

test('who is told of a request are those whose groups decide on it, by everything that its workflow asks', () => {
  const by = (classes: readonly ('read' | 'write')[], group: string): Workflow => ({
    ...defaultWorkflow,
    match: { labels: { data: 'personal' }, classes },
    approvals: { count: 1, groups: [group] },
  });
  const workflows = [by(['write'], 'dba'), by(['read'], 'privacy')];
  assert.deepEqual(decidersOf(held(), crm, workflows), ['privacy']);
  assert.equal(decidersOf(held(), { ...crm, labels: {} }, workflows), undefined);
  assert.throws(() => decidersOf({ ...held(), digest: '0' }, crm, workflows), /does not have its digest/);
});
