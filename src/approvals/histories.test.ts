/**
 * Promise P3 as a property: whatever people with whatever duties and accounts try in whatever order, what the tables
 * hold in the end has nobody in two conflicting duties. The tables are judged here by comparing humans, with none of
 * the code that decided.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import {
  jobInput,
  person,
  serviceOf,
  startServices,
  statementInput,
  storeJobVersion,
} from '../../test/approval-fixtures.ts';
import { startTestStore } from '../../test/control-store.ts';
import { CountersignError } from '../errors.ts';
import { duties as allDuties, type Duty, type Principal } from '../identity/principal.ts';
import type { AuthorRecord } from '../store/database.ts';
import { decisionsOf, findRequest } from '../store/requests.ts';
import { grantOfRequest } from '../store/grants.ts';
import { defaultWorkflow } from './workflow.ts';

const database = await startTestStore();
await storeJobVersion(database);
after(() => database.stop());

const humans = ['ann', 'bob', 'cy', 'dee'] as const;
/** Each human comes as a person, under another spelling of the identity, and through a service account. */
const accounts: readonly Principal[] = humans.flatMap((human) => [
  person(human),
  { ...person(human.toUpperCase()), id: `${human}-alias` },
  serviceOf(human, `${human}-etl`, ['admins']),
]);

type Action = 'approve' | 'reject' | 'claim' | 'withdraw';

const account = fc.constantFrom(...accounts);
// Mostly all duties: the more somebody may, the more the rules have to stop.
const heldDuties = fc.oneof(fc.constant<Duty[]>([...allDuties]), fc.subarray<Duty>([...allDuties]));
const step = fc.record({
  // An author's rejection is refused, anybody else's ends the story: so rejections are rare.
  what: fc.constantFrom<Action>('approve', 'approve', 'approve', 'reject', 'claim', 'claim', 'claim', 'withdraw'),
  who: account,
  duties: heldDuties,
});
const history = fc.record({
  kind: fc.constantFrom('job' as const, 'job' as const, 'statement' as const),
  requester: account,
  authors: fc.array(
    fc.record({
      human: fc.constantFrom('ann', 'bob', 'ann', 'bob', 'ann', 'bob', 'CY', ''),
      name: fc.constant('somebody'),
      role: fc.constantFrom<AuthorRecord['role']>('author', 'co-author', 'committer'),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  strict: fc.boolean(),
  count: fc.constantFrom(1, 1, 2),
  steps: fc.array(step, { minLength: 5, maxLength: 20 }),
});

type History = typeof history extends fc.Arbitrary<infer T> ? T : never;

interface Seen {
  consumed: number;
  refused: Map<string, number>;
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

void test('no sequence of attempts puts one human into two conflicting duties', { timeout: 120_000 }, async () => {
  const seen: Seen = { consumed: 0, refused: new Map() };
  await fc.assert(
    fc.asyncProperty(history, (one) => play(one, seen)),
    { numRuns: 200 },
  );
  // The property says something only if grants are used and every kind of refusal happens.
  assert(seen.consumed >= 5, `only ${seen.consumed} grants were used`);
  for (const code of ['duty_conflict', 'duty_missing', 'request_not_pending', 'grant_missing', 'grant_used']) {
    assert((seen.refused.get(code) ?? 0) > 0, `nothing was refused with ${code}`);
  }
});

async function play(one: History, seen: Seen): Promise<void> {
  const workflow = { ...defaultWorkflow, strict: one.strict, approvals: { count: one.count } };
  const { requests, grants } = startServices(database, { workflows: [workflow] });
  const input = one.kind === 'job' ? jobInput({}, one.authors) : statementInput();
  const { id } = await requests.create({
    requester: one.requester,
    duties: ['designer'],
    connection: 'crm',
    title: 'something',
    input,
    ...(one.kind === 'job' ? { jobVersion: 1 } : { sessionId: 'ses_1' }),
  });
  let claims = 0;
  for (const { what, who, duties } of one.steps) {
    try {
      if (what === 'claim') {
        await grants.claim({ requestId: id, principal: who, duties, sessionId: 'ses_1', current: input });
        claims++;
      } else if (what === 'withdraw') await requests.withdraw(id, { principal: who, duties });
      else await requests.decide(id, who, duties, what, 'because');
    } catch (error) {
      if (!(error instanceof CountersignError)) throw error;
      seen.refused.set(error.code, (seen.refused.get(error.code) ?? 0) + 1);
    }
  }
  assert(claims <= 1, 'a grant was used twice');
  seen.consumed += claims;
  await judge(id, one, claims === 1);
}

async function judge(id: string, one: History, used: boolean): Promise<void> {
  const { store } = database;
  const request = await findRequest(store, id);
  const decisions = await decisionsOf(store, id);
  const grant = await grantOfRequest(store, id);
  assert(request !== undefined);
  const authors = one.kind === 'job' ? one.authors.map(({ human }) => human) : [one.requester.human];
  const approvers = decisions.filter(({ verdict }) => verdict === 'approve').map(({ human }) => human);
  for (const { human } of decisions) {
    assert(human !== '');
    assert(!authors.some((other) => same(human, other)), `${human} decided on their own work`);
    assert(!same(human, request.requesterHuman), `${human} decided on their own request`);
    assert.equal(decisions.filter((other) => same(human, other.human)).length, 1, `${human} decided twice`);
  }
  assert.equal(grant !== undefined, request.state === 'approved');
  if (grant === undefined) return;
  assert(approvers.length >= one.count, `${approvers.length} of ${one.count} humans were enough`);
  assert(!authors.includes(''), 'approved beside an author whom nobody knows');
  assert.equal(grant.state, used ? 'consumed' : 'open');
  if (!used) return;
  const executor = accounts.find((principal) => principal.id === grant.consumedBy)?.human ?? '';
  if (one.kind === 'job')
    assert(!authors.some((other) => same(executor, other)), `${executor} executed their own work`);
  else assert(same(executor, request.requesterHuman), `${executor} ran the statement of ${request.requesterHuman}`);
  if (one.strict) assert(!approvers.some((other) => same(executor, other)), `${executor} executed what they approved`);
}
