/**
 * Where a held statement waits: makes the request, tells the client, waits for the decision, and lets go when the client
 * cancels, disconnects or has waited long enough. Nothing of the statement has left the gateway meanwhile.
 */
import { CountersignError } from '../errors.ts';
import { encodeNoticeResponse } from '../wire/postgres/backend.ts';
import type { Admission } from './admission.ts';
import type { OpenHold } from './control-plane.ts';
import type { HeldBatch } from './held-batch.ts';
import type { StatementGrant } from './pipeline.ts';
import type { GateSession } from './session.ts';

export class HoldDesk {
  readonly #session: GateSession;
  #waiting: AbortController | undefined;

  constructor(session: GateSession) {
    this.#session = session;
  }

  /** Ends the wait. @returns false when nothing waits */
  abort(reason: string): boolean {
    if (this.#waiting === undefined) return false;
    this.#waiting.abort(reason);
    return true;
  }

  /** Asks for a decision and waits. The request is durable before the client hears of it. */
  async ask(
    text: string,
    admission: Admission,
    batch: HeldBatch | undefined,
  ): Promise<StatementGrant | CountersignError> {
    const session = this.#session;
    const { controlPlane, identity, admissions, limits } = session.options;
    const facts = admission.statements.map((statement) => statement.facts);
    const { policies, reason } = admission;
    const connection = admissions.connection.name;
    const { parameters, parameterKinds } = batch ?? {};
    let question = { identity, connection, text, parameters, parameterKinds, facts, policies, reason };
    let hold: OpenHold;
    const abort = new AbortController();
    this.#waiting = abort;
    try {
      await session.settled;
      const answer = batch?.limitsRows === true ? undefined : await controlPlane.useTemplate(question);
      if (answer?.kind === 'used') {
        this.#waiting = undefined;
        const { use } = answer;
        return { text, requestId: use.requestId, grantId: use.grantId, bind: batch?.bindFrame, use, used: false };
      }
      if (answer?.reason !== undefined) question = { ...question, reason: `${reason}; ${answer.reason}` };
      hold = await controlPlane.openHold(question);
    } catch (error) {
      this.#waiting = undefined;
      if (error instanceof CountersignError) return error;
      throw error;
    }
    session.resume(() => {
      session.options.recording.request({
        kind: 'held',
        text: session.recordable(text, admission),
        request: hold.requestId,
      });
      session.held(text, admission, hold.requestId);
      this.#announceHold(hold, question.reason);
    });
    const timer = setTimeout(() => abort.abort('timed-out'), limits.holdTimeoutMs);
    try {
      const outcome = await controlPlane.awaitHold(hold, question, abort.signal);
      if (outcome.kind === 'refused') {
        session.resume(() => session.denied(text, admission, outcome.error, hold.requestId));
        return outcome.error;
      }
      const { grantId, use } = outcome;
      const requestId = use?.requestId ?? hold.requestId;
      return { text, requestId, grantId, bind: batch?.bindFrame, use, used: false };
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #announceHold(hold: OpenHold, reason: string): void {
    const { sink, door } = this.#session;
    encodeNoticeResponse(sink, {
      S: 'NOTICE',
      V: 'NOTICE',
      C: '00000',
      M: `countersign: held as request ${hold.requestId}: ${reason}`,
      H: `waiting until ${new Date(hold.expiresAtMs).toISOString()} for an approver; see ${hold.address} (cancel to withdraw)`,
    });
    door.deliver(sink);
  }
}
