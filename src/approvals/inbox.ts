/** What waits for one principal, and what has waited too long: walks over all pending requests. */
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { Clock } from '../lib/clock.ts';
import type { PolicySet } from '../policy/engine.ts';
import type { Store } from '../store/database.ts';
import {
  decisionsOfAll,
  dueAt,
  lockRequest,
  pendingAfter,
  setEscalated,
  type RequestRecord,
} from '../store/requests.ts';
import type { RecordEvent } from './events.ts';
import { progressAt, refuseDecision, type Opened } from './request-view.ts';
import { subjectOf, type ConnectionLookup } from './subject.ts';
import { stepsOf, type Workflow, type WorkflowStep } from './workflow.ts';

export interface InboxOptions {
  readonly store: Store;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly policySet: () => PolicySet;
  readonly workflows: () => readonly Workflow[];
  readonly connections: ConnectionLookup;
}

const batchSize = 500;

/** Pending requests that this principal may approve now, oldest first. */
export async function inboxOf(
  options: InboxOptions,
  principal: Principal,
  dutiesFor: (request: RequestRecord) => readonly Duty[],
  limit: number,
): Promise<RequestRecord[]> {
  const nowMs = options.clock.now();
  const found: RequestRecord[] = [];
  for await (const opened of pending(options)) {
    const { request } = opened;
    const duties = dutiesFor(request);
    if (duties.length === 0 || nowMs >= dueAt(request).getTime()) continue;
    if (refuseDecision(options.policySet(), { principal, duties }, 'approve', opened, nowMs) !== undefined) continue;
    if (found.push(request) >= limit) break;
  }
  return found;
}

/** Gives open steps that waited too long to further groups, or has them told. Returns the requests. */
export async function escalateDue(options: InboxOptions): Promise<string[]> {
  const { clock, workflows } = options;
  const escalates = (workflow: Workflow) => stepsOf(workflow).some((step) => step.escalation !== undefined);
  if (!workflows().some(escalates)) return [];
  const escalated: string[] = [];
  for await (const opened of pending(options)) {
    const { steps } = progressAt(opened, clock.now());
    const open = steps.findIndex((step) => step.state === 'open');
    const state = steps[open];
    if (opened.request.escalatedSteps > open || clock.now() < (state?.escalatesAtMs ?? Number.POSITIVE_INFINITY))
      continue;
    if (await escalate(options, opened.request.id, open + 1, state?.step.escalation)) escalated.push(opened.request.id);
  }
  return escalated;
}

/** @param step from 1 */
async function escalate(
  { store, record }: InboxOptions,
  requestId: string,
  step: number,
  escalation: WorkflowStep['escalation'],
): Promise<boolean> {
  return store.transaction().execute(async (transaction) => {
    const request = await lockRequest(transaction, requestId);
    if (request?.state !== 'pending' || request.escalatedSteps >= step) return false;
    await setEscalated(transaction, requestId, step);
    const { groups = [], decide = false } = escalation ?? {};
    await record({ type: 'request.escalated', request: requestId, step, groups, decide });
    return true;
  });
}

/** Oldest first. One that cannot be read (its connection is gone, its text was changed) is nobody's. */
async function* pending({ store, workflows, connections }: InboxOptions): AsyncGenerator<Opened> {
  let after: RequestRecord | undefined;
  for (;;) {
    const batch = await pendingAfter(store, after, batchSize);
    const said = await decisionsOfAll(
      store,
      batch.map(({ id }) => id),
    );
    for (const request of batch) {
      const decisions = said.get(request.id) ?? [];
      try {
        yield { request, decisions, subject: subjectOf(request, decisions, workflows(), connections) };
      } catch (error) {
        if (!(error instanceof CountersignError)) throw error;
      }
    }
    after = batch.at(-1);
    if (after === undefined || batch.length < batchSize) return;
  }
}
