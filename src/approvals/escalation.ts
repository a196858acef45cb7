/** Steps that waited too long: further groups may decide them from then on, or are only told. */
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { notifyChange } from '../store/changes.ts';
import type { Database, Store, StoreOrTransaction } from '../store/database.ts';
import { lockRequest, pendingAfter, setEscalated, type RequestRecord } from '../store/requests.ts';
import type { RecordEvent } from './events.ts';
import { progressAt, type Opened } from './standing.ts';
import { decidersOf, stepsOf, type StepState, type Workflow } from './workflow.ts';

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
  const { store, workflows } = options;
  const escalates = (workflow: Workflow) => stepsOf(workflow).some((step) => step.escalation !== undefined);
  if (!workflows().some(escalates)) return [];
  const escalated: string[] = [];
  let after: RequestRecord | undefined;
  for (;;) {
    const batch = await pendingAfter(store, after, batchSize);
    for (const request of batch) {
      if ((await lateStep(options, store, request)) === undefined) continue;
      if (await escalate(options, request.id)) escalated.push(request.id);
    }
    after = batch.at(-1);
    if (after === undefined || batch.length < batchSize) return escalated;
  }
}

/** The step that waited too long, and of which that was not said yet. */
async function lateStep(
  { open, clock }: EscalationOptions,
  store: StoreOrTransaction,
  request: RequestRecord,
): Promise<{ readonly no: number; readonly state: StepState } | undefined> {
  const opened = await open(store, request).catch(readable);
  if (opened === undefined) return undefined;
  const { steps } = progressAt(opened, clock.now());
  const at = steps.findIndex((step) => step.state === 'open');
  const state = steps[at];
  if (state === undefined || request.escalatedSteps > at) return undefined;
  return clock.now() < (state.escalatesAtMs ?? Number.POSITIVE_INFINITY) ? undefined : { no: at + 1, state };
}

/** A request whose connection is gone, or whose text was changed, must not stand in the way of the others. */
function readable(error: unknown): undefined {
  if (!(error instanceof CountersignError)) throw error;
}

async function escalate(options: EscalationOptions, requestId: string): Promise<boolean> {
  const { store, record, clock } = options;
  return store.transaction().execute(async (transaction: Transaction<Database>) => {
    const request = await lockRequest(transaction, requestId);
    if (request?.state !== 'pending') return false;
    // Somebody may have done the step since it was looked at.
    const late = await lateStep(options, transaction, request);
    if (late === undefined) return false;
    const { no: step, state } = late;
    await setEscalated(transaction, requestId, step);
    await notifyChange(transaction, 'requests', requestId);
    const { groups = [], decide = false } = state.step.escalation ?? {};
    const deciders = decide ? decidersOf(state, clock.now()) : undefined;
    await record({ type: 'request.escalated', request: requestId, step, groups, decide, deciders });
    return true;
  });
}
