/** Steps that waited too long: further groups may decide them from then on, or are only told. */
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { notifyChange } from '../store/changes.ts';
import type { Store, StoreOrTransaction } from '../store/database.ts';
import { lockRequest, pendingAfter, setEscalated, type RequestRecord } from '../store/requests.ts';
import type { RecordEvent } from './events.ts';
import { progressAt, type Opened } from './standing.ts';
import { stepsOf, type Workflow, type WorkflowStep } from './workflow.ts';

export interface EscalationOptions {
  readonly store: Store;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly workflows: () => readonly Workflow[];
  readonly open: (store: StoreOrTransaction, request: RequestRecord) => Promise<Opened>;
}

const batchSize = 500;

/** Says of each such step once that it waited too long. Returns the requests. */
export async function escalateDue(options: EscalationOptions): Promise<string[]> {
  const { store, clock, workflows, open } = options;
  const escalates = (workflow: Workflow) => stepsOf(workflow).some((step) => step.escalation !== undefined);
  if (!workflows().some(escalates)) return [];
  const escalated: string[] = [];
  let after: RequestRecord | undefined;
  for (;;) {
    const batch = await pendingAfter(store, after, batchSize);
    for (const request of batch) {
      const opened = await open(store, request).catch(readable);
      if (opened === undefined) continue;
      const { steps } = progressAt(opened, clock.now());
      const at = steps.findIndex((step) => step.state === 'open');
      const state = steps[at];
      if (request.escalatedSteps > at || clock.now() < (state?.escalatesAtMs ?? Number.POSITIVE_INFINITY)) continue;
      if (await escalate(options, request.id, at + 1, state?.step.escalation)) escalated.push(request.id);
    }
    after = batch.at(-1);
    if (after === undefined || batch.length < batchSize) return escalated;
  }
}

/** A request whose connection is gone, or whose text was changed, must not stand in the way of the others. */
function readable(error: unknown): undefined {
  if (!(error instanceof CountersignError)) throw error;
}

/** @param step from 1 */
async function escalate(
  { store, record }: EscalationOptions,
  requestId: string,
  step: number,
  escalation: WorkflowStep['escalation'],
): Promise<boolean> {
  return store.transaction().execute(async (transaction) => {
    const request = await lockRequest(transaction, requestId);
    if (request?.state !== 'pending' || request.escalatedSteps >= step) return false;
    await setEscalated(transaction, requestId, step);
    await notifyChange(transaction, 'requests', requestId);
    const { groups = [], decide = false } = escalation ?? {};
    await record({ type: 'request.escalated', request: requestId, step, groups, decide });
    return true;
  });
}
