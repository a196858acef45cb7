/**
 * Templates: the approver of a held statement may let every further step of the same loop run, within a range of keys, a
 * number of rows, a number of uses and a time. A template is a request of its own, made and decided in one go: its
 * authors are those of the held statement, so the same people may not decide on it, and its grant is bound to a digest
 * with all of these bounds in it.
 *
 * A use is a row that is written, under the lock of the grant, before the statement is forwarded. Uses go upwards and do
 * not overlap. What a use may deliver counts as delivered until its end is known; if that never comes, for good.
 */
import { CountersignError } from '../errors.ts';
import type { HumanSource } from '../identity/humans.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import type { PolicySet } from '../policy/engine.ts';
import type { TemplateStep } from '../sql/statement-template.ts';
import type { Store } from '../store/database.ts';
import type { GrantRecord } from '../store/grants.ts';
import { decisionsOf, findRequest, insertRequest, lockRequest, type RequestRecord } from '../store/requests.ts';
import { insertTemplate, insertUse, openTemplates, settleUse, usedSoFar } from '../store/template-uses.ts';
import { grantInputJson, type GrantInput, type GrantTemplate } from './digest.ts';
import { actor, type RecordEvent } from './events.ts';
import type { GrantService } from './grants.ts';
import { createdEvent } from './new-request.ts';
import { refusalError, refusalMembers, unknownRequest } from './refusal.ts';
import type { DecideResult, RequestService } from './requests.ts';
import { refuseDecision } from './standing.ts';
import { approvedInput, keysOf, subjectOf, type ConnectionLookup } from './subject.ts';
import type { RequestTraits, Workflow } from './workflow.ts';

/** What the approver says. Keys are decimal integers. */
export interface TemplateBounds {
  /** Default: where the held statement begins. */
  readonly fromKey?: string | undefined;
  readonly untilKey: string;
  readonly rows: number;
  readonly uses?: number | undefined;
  readonly expiresMs?: number | undefined;
  readonly anySession?: boolean | undefined;
}

export interface TemplateServiceOptions {
  readonly store: Store;
  readonly requests: RequestService;
  readonly grants: GrantService;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly policySet: () => PolicySet;
  readonly workflows: () => readonly Workflow[];
  readonly connections: ConnectionLookup;
  readonly humans: HumanSource;
  /** The step that a held statement is, worked out from what was digested; undefined = none for certain. */
  readonly stepOf: (input: GrantInput, connection: string) => Promise<TemplateStep | undefined>;
  readonly limits: { readonly maxUses: number; readonly durationMs: number; readonly maxDurationMs: number };
}

export interface UseQuestion {
  readonly principal: Principal;
  readonly duties: readonly Duty[];
  readonly sessionId: string;
  readonly connection: string;
  readonly step: TemplateStep;
  /** What an approval of this statement would be bound to now. */
  readonly input: GrantInput;
}

/** The right to one execution. Plain data: it goes to other processes. */
export interface TemplateUse {
  readonly requestId: string;
  readonly grantId: string;
  readonly useNo: number;
  /** Rows that it may deliver; past that the stream is cut. */
  readonly rowsAtMost: number;
  /** For a keyset step: which output is the key, and between which keys its rows lie. */
  readonly keys: { readonly at: number; readonly lowest: string; readonly highest: string } | undefined;
}

export type UseAnswer =
  | { readonly kind: 'used'; readonly use: TemplateUse; readonly decidedBy: string }
  /** `reason`: why a template of this very shape does not cover it, if there is one. */
  | { readonly kind: 'none'; readonly reason: string | undefined };

const keyPattern = /^(0|-?[1-9]\d{0,17})$/;

export class TemplateService {
  readonly #options: TemplateServiceOptions;

  constructor(options: TemplateServiceOptions) {
    this.#options = options;
  }

  /**
   * Approves the loop of which a held statement is a step.
   * @returns the template's own request; the held one ends when it is approved, and goes on as the first use
   * @throws template_not_offered, input_invalid, request_unknown, request_not_pending, and whatever deciding throws
   */
  async approve(
    requestId: string,
    asker: { readonly principal: Principal; readonly duties: readonly Duty[] },
    comment: string,
    bounds: TemplateBounds,
  ): Promise<DecideResult> {
    const { store, requests } = this.#options;
    const held = await findRequest(store, requestId);
    if (held === undefined) throw unknownRequest(requestId);
    const template = await this.#request(held, bounds);
    await this.#mayDecide(held, asker);
    await this.#insert(held, template, asker.principal);
    let decided: DecideResult;
    try {
      decided = await requests.decide(template.id, asker.principal, asker.duties, 'approve', comment);
    } catch (error) {
      await requests.withdraw(template.id, { reason: 'it could not be decided as it was made' }).catch(() => undefined);
      throw error;
    }
    if (decided.grant === undefined) return decided;
    await requests.withdraw(held.id, { reason: `approved as template ${template.id}` }).catch((error: unknown) => {
      // It ended meanwhile; the template is for the next step.
      if (!(error instanceof CountersignError && error.code === 'request_not_pending')) throw error;
    });
    return decided;
  }

  async #request(held: RequestRecord, bounds: TemplateBounds): Promise<RequestRecord> {
    const { clock, stepOf } = this.#options;
    const input = approvedInput(held);
    const { statement } = input;
    // What is urgent is the one statement.
    const isOpen = statement !== undefined && statement.template === undefined && held.breakGlass === undefined;
    const step = isOpen ? await stepOf(input, held.connection) : undefined;
    if (statement === undefined || step === undefined) {
      throw new CountersignError(
        'template_not_offered',
        `request ${held.id} is no step of a loop that a template can describe`,
        {
          hint: 'approve it by itself, or have a chunk job made of the loop: docs/approve.md says what a template needs',
        },
      );
    }
    const { durationMs, ...template } = this.#bounded(step, bounds);
    const { session, ...executors } = input.executors;
    const digestInputJson = grantInputJson({
      ...input,
      statement: { ...statement, template },
      caps: { rows: bounds.rows, bytes: null },
      executors: template.anySession ? executors : { ...executors, session },
      expiry: { durationMs },
    });
    return {
      ...held,
      id: newId('req'),
      state: 'pending',
      title: `loop: ${held.title}`.slice(0, 200),
      digest: sha256Hex(digestInputJson),
      digestInputJson,
      evidence: {
        reason: `every step of the loop of request ${held.id}`,
        templateOf: held.id,
        // A workflow goes by what may be read in all.
        traits: {
          ...(held.evidence as { readonly traits?: RequestTraits }).traits,
          rows: bounds.rows,
          bytes: undefined,
        },
      },
      createdAt: new Date(clock.now()),
      closedAt: undefined,
      stepDueAt: undefined,
      escalatedSteps: 0,
      reviewDueAt: undefined,
      confirmedAt: undefined,
    };
  }

  #bounded(step: TemplateStep, bounds: TemplateBounds): GrantTemplate & { readonly durationMs: number } {
    const { limits } = this.#options;
    const { untilKey, fromKey = String(step.low), rows } = bounds;
    const uses = bounds.uses ?? limits.maxUses;
    const durationMs = bounds.expiresMs ?? limits.durationMs;
    const invalid = (what: string) => new CountersignError('input_invalid', what);
    if (!keyPattern.test(untilKey) || !keyPattern.test(fromKey))
      throw invalid('a key is an integer of at most 18 digits');
    if (BigInt(fromKey) > step.low) throw invalid(`the held statement begins at ${step.low}, before ${fromKey}`);
    if (BigInt(untilKey) < (step.high ?? step.low)) {
      throw invalid(`the held statement reads up to ${step.high ?? step.low}, beyond ${untilKey}`);
    }
    if (!Number.isSafeInteger(rows) || rows < 1) throw invalid('rows: a number of at least 1');
    if (!Number.isSafeInteger(uses) || uses < 1 || uses > limits.maxUses) {
      throw invalid(`uses: a number from 1 to ${limits.maxUses} (templates.maxUses)`);
    }
    if (!Number.isSafeInteger(durationMs) || durationMs < 1 || durationMs > limits.maxDurationMs) {
      throw invalid(`a template is valid for 1 to ${limits.maxDurationMs} ms (templates.maxDurationMs)`);
    }
    const { text, shape, form, key } = step;
    const anySession = bounds.anySession === true;
    return { text, shape, form, key, lowest: fromKey, highest: untilKey, uses, anySession, durationMs };
  }

  /** Before a request is made for somebody who may not decide on it; deciding looks again. */
  async #mayDecide(held: RequestRecord, { principal, duties }: { principal: Principal; duties: readonly Duty[] }) {
    const { store, humans, workflows, connections, policySet, record, clock } = this.#options;
    const decisions = await decisionsOf(store, held.id);
    const keys = await keysOf(store, humans, held, decisions, principal);
    const subject = subjectOf(held, decisions, workflows(), connections, keys);
    const opened = { request: held, decisions, keys, subject };
    const refused = refuseDecision(policySet(), { principal, duties }, 'approve', opened, clock.now());
    if (refused === undefined) return;
    const members = { request: held.id, ...actor(principal), ...refusalMembers(refused) };
    await record({ type: 'request.refused', action: 'approve', ...members });
    throw refusalError(refused);
  }

  async #insert(held: RequestRecord, template: RequestRecord, approver: Principal): Promise<void> {
    const { store, record } = this.#options;
    const shape = approvedInput(template).statement?.template?.shape ?? '';
    await store.transaction().execute(async (transaction) => {
      const now = await lockRequest(transaction, held.id);
      if (now?.state !== 'pending') {
        throw new CountersignError('request_not_pending', `request ${held.id} is ${now?.state}, not pending`);
      }
      await insertRequest(transaction, template);
      await insertTemplate(transaction, {
        requestId: template.id,
        connection: held.connection,
        principalId: held.requesterId,
        shape,
      });
      const requester = { id: held.requesterId, human: held.requesterHuman };
      await record({ ...createdEvent(template, requester), template: held.id, boundedBy: approver.id });
    });
  }

  /** Takes one use of a template that covers this statement. Nothing of it was forwarded yet. */
  async use(question: UseQuestion): Promise<UseAnswer> {
    const { store } = this.#options;
    const { principal, connection, step } = question;
    const found = await openTemplates(store, { principalId: principal.id, connection, shape: step.shape });
    let reason: string | undefined;
    for (const requestId of found) {
      const answer = await this.#useOne(requestId, question);
      if (answer?.kind === 'used') return answer;
      reason ??= answer?.reason;
    }
    return { kind: 'none', reason };
  }

  async #useOne(requestId: string, question: UseQuestion): Promise<UseAnswer | undefined> {
    const { store, grants } = this.#options;
    const { principal, duties, sessionId, input } = question;
    const request = await findRequest(store, requestId);
    if (request === undefined) return undefined;
    const approved = approvedInput(request);
    const template = approved.statement?.template;
    if (template === undefined || template.shape !== question.step.shape) return undefined;
    if (!template.anySession && request.sessionId !== sessionId) return undefined;
    const { session, ...executors } = input.executors;
    try {
      const claimed = await grants.claim({
        requestId,
        principal,
        duties,
        sessionId,
        oneOfMany: true,
        // The shape stands for the statement; everything else is as it is now.
        current: {
          ...input,
          statement: approved.statement,
          caps: approved.caps,
          executors: template.anySession ? executors : { ...executors, session },
          expiry: approved.expiry,
        },
        extra: (transaction, grant) =>
          this.#count(transaction, grant, { ...question, template, rows: approved.caps.rows ?? 0 }),
      });
      const decidedBy = claimed.decisions.map(({ human }) => human).join(', ');
      return { kind: 'used', use: { ...claimed.result, requestId }, decidedBy };
    } catch (error) {
      // What is not covered waits for an approval of its own; what cannot be recorded does not run at all.
      if (!(error instanceof CountersignError) || error.code === 'log_unavailable') throw error;
      return { kind: 'none', reason: error.message };
    }
  }

  async #count(
    transaction: Parameters<typeof usedSoFar>[0],
    grant: GrantRecord,
    ask: UseQuestion & { readonly template: GrantTemplate; readonly rows: number },
  ): Promise<Omit<TemplateUse, 'requestId'>> {
    const { step, template, sessionId } = ask;
    const used = await usedSoFar(transaction, grant.id);
    const rowsLeft = ask.rows - used.rows;
    const [lowest, highest] = [BigInt(template.lowest), BigInt(template.highest)];
    const outside = (why: string) =>
      new CountersignError('limit_exceeded', `template grant ${grant.id} does not cover it: ${why}`);
    if (used.uses >= template.uses) throw outside(`all of its ${template.uses} uses are used`);
    const isLastPage = step.form === 'keyset' && rowsLeft === 0 && used.open === 0;
    if (rowsLeft < 1 && !isLastPage)
      throw outside(`the ${ask.rows} rows of its cap are delivered, or promised to statements under way`);
    if (used.open > 0 && step.form === 'keyset') throw outside('another statement of it is under way');
    // The last page of a keyset loop is asked for behind the last key and the last row; what it returns is cut off.
    const furthest = step.high ?? step.low - 1n;
    if (step.low < lowest || furthest > highest) throw outside(`its keys go from ${lowest} to ${highest}`);
    if (used.reached !== undefined && step.low <= used.reached)
      throw outside(`keys up to ${used.reached} were read already`);
    const useNo = used.uses + 1;
    const rowsAtMost = Math.min(rowsLeft, step.limit ?? rowsLeft);
    if (useNo === 1) {
      // From here on it is in use; each further use is in the intent of its statement.
      const { id, requestId: request, digest, state } = grant;
      await this.#options.record({
        type: 'grant.consumed',
        grant: id,
        request,
        digest,
        state,
        use: 1,
        ...actor(ask.principal),
      });
    }
    await insertUse(transaction, {
      grantId: grant.id,
      useNo,
      sessionId,
      low: step.low,
      high: step.high,
      rowsReserved: rowsAtMost,
      at: new Date(this.#options.clock.now()),
    });
    const keys =
      step.keyAt === undefined ? undefined : { at: step.keyAt, lowest: String(step.low), highest: template.highest };
    return { grantId: grant.id, useNo, rowsAtMost, keys };
  }

  /** How a use ended. What is not told stays promised, so nobody can read more by not telling. */
  async settle(use: TemplateUse, rows: number, reached: string | undefined): Promise<void> {
    const { store, clock } = this.#options;
    await settleUse(store, { grantId: use.grantId, useNo: use.useNo, rows, reached }, new Date(clock.now()));
  }
}
