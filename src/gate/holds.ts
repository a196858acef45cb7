/**
 * Held statements: from the question to the wire. A hold is an ordinary request of kind `statement`; what is approved is
 * the digest over the exact text, its parameters, the target and every definition and masking rule in reach, and that
 * digest is computed again from the world as it is when the approval arrives.
 */
import type { GrantInput, GrantTarget } from '../approvals/digest.ts';
import type { GrantService } from '../approvals/grants.ts';
import type { RequestService } from '../approvals/requests.ts';
import type { TemplateService, UseAnswer } from '../approvals/templates.ts';
import type { RequestTraits } from '../approvals/workflow.ts';
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { definitionDigests } from '../sql/catalogue.ts';
import type { TemplateStep } from '../sql/statement-template.ts';
import { isTemporary } from '../sql/temporary.ts';
import type { GateConnection } from './connection.ts';
import type { HoldOutcome, HoldQuestion, OpenHold } from './control-plane.ts';
import { stepOf } from './template-steps.ts';

export interface HoldServiceOptions {
  readonly requests: RequestService;
  readonly grants: GrantService;
  readonly templates: TemplateService;
  readonly connection: (name: string) => {
    gate: GateConnection;
    searchPath: readonly string[];
    target: () => Promise<GrantTarget>;
  };
  /** Digest of the policies in force. */
  readonly policies: () => string;
  /** Address of a request for people. */
  readonly addressOf: (requestId: string) => string;
  readonly holdTimeoutMs: number;
  readonly maxStatementBytes: number;
  /** Groups as they are now, which a session's log-in does not say. @throws groups_stale */
  readonly principals: {
    recentPrincipal(principal: Principal): Promise<Principal>;
    knownPrincipal(principal: Principal): Promise<Principal>;
  };
  readonly dutiesOn: (principal: Principal, connection: string) => readonly Duty[];
}

export class HoldService {
  readonly #options: HoldServiceOptions;
  constructor(options: HoldServiceOptions) {
    this.#options = options;
  }

  async open(question: HoldQuestion): Promise<OpenHold> {
    const { requests, holdTimeoutMs, addressOf } = this.#options;
    const input = await this.#input(question);
    const template = this.#step(question);
    const { sessionId } = question.identity;
    const principal = await this.#options.principals.recentPrincipal(question.identity.principal);
    const request = await requests.create({
      requester: principal,
      duties: this.#options.dutiesOn(principal, question.connection),
      connection: question.connection,
      title: titleOf(question),
      input,
      sessionId,
      evidence: {
        reason: question.reason,
        policies: [...question.policies],
        statements: question.facts.map((facts) => ({
          command: facts.command,
          class: facts.class,
          relations: facts.relations.map((relation) => `${relation.schema}.${relation.name} (${relation.access})`),
          rowsAtMost: facts.rowsAtMost ?? null,
        })),
        ...(template === undefined ? {} : { template: offer(template) }),
      },
      traits: this.#traits(question),
      expiresMs: holdTimeoutMs,
    });
    return { requestId: request.id, address: addressOf(request.id), expiresAtMs: request.expiresAt.getTime() };
  }

  /** Takes a use of an approved template that covers the statement, by the definitions and rules as they are now. */
  async useTemplate(question: HoldQuestion): Promise<UseAnswer> {
    const { identity, connection } = question;
    await this.#options.connection(connection).gate.refresh();
    const step = this.#step(question);
    if (step === undefined) return { kind: 'none', reason: undefined };
    const { principals, dutiesOn, templates } = this.#options;
    // An approved loop goes on as a released statement does: by the groups that are known now, for as long as it may.
    const principal = await principals.knownPrincipal(identity.principal);
    const duties = dutiesOn(principal, connection);
    const input = await this.#input(question);
    return templates.use({ principal, duties, sessionId: identity.sessionId, connection, step, input });
  }

  #step(question: HoldQuestion): TemplateStep | undefined {
    const { connection, maxStatementBytes } = this.#options;
    return stepOf(connection(question.connection).gate, question, maxStatementBytes);
  }

  async wait(hold: OpenHold, question: HoldQuestion, signal: AbortSignal): Promise<HoldOutcome> {
    try {
      return await this.#wait(hold, question, signal);
    } catch (error) {
      if (error instanceof CountersignError) return { kind: 'refused', error };
      throw error;
    }
  }

  async #wait(hold: OpenHold, question: HoldQuestion, signal: AbortSignal): Promise<HoldOutcome> {
    const { requests, grants } = this.#options;
    const { identity } = question;
    const { requestId } = hold;
    const outcome = await requests.waitForDecision(requestId, signal);
    if (outcome === 'withdrawn' && !signal.aborted) {
      const answer = await this.useTemplate(question);
      if (answer.kind === 'used') {
        const { use, decidedBy } = answer;
        return { kind: 'approved', grantId: use.grantId, decidedBy, use };
      }
    }
    if (outcome !== 'approved') return refused(await this.#refusal(hold, outcome, signal));
    // The client may have gone at the very moment of the approval: then the grant must not lie around.
    if (signal.aborted) {
      await grants.void({ requestId }, 'the client that waited is gone', identity.principal);
      return refused(await this.#refusal(hold, 'withdrawn', signal));
    }
    // Definitions, rules and groups as they are now, not as they were when the question was asked.
    await this.#options.connection(question.connection).gate.refresh();
    const principal = await this.#options.principals.knownPrincipal(identity.principal);
    const claimed = await grants.claim({
      requestId,
      principal,
      duties: this.#options.dutiesOn(principal, question.connection),
      sessionId: identity.sessionId,
      current: await this.#input(question),
    });
    const decidedBy = claimed.decisions.map((decision) => decision.human).join(', ');
    return { kind: 'approved', grantId: claimed.grant.id, decidedBy };
  }

  async #refusal(
    hold: OpenHold,
    outcome: 'rejected' | 'withdrawn' | 'expired',
    signal: AbortSignal,
  ): Promise<CountersignError> {
    const { requestId, address } = hold;
    const nothing = 'nothing was executed';
    if (outcome === 'expired' || (outcome === 'withdrawn' && signal.reason === 'timed-out')) {
      return new CountersignError(
        'request_timed_out',
        `countersign: request ${requestId} was not decided in time; ${nothing}`,
        { hint: `see ${address}` },
      );
    }
    if (outcome === 'withdrawn') {
      return new CountersignError('request_withdrawn', `countersign: request ${requestId} was withdrawn; ${nothing}`, {
        hint: `see ${address}`,
      });
    }
    const { decisions } = await this.#options.requests.get(requestId);
    const decision = decisions.find((one) => one.verdict === 'reject');
    return new CountersignError(
      'request_rejected',
      `countersign: request ${requestId} was rejected by ${decision?.human ?? 'an approver'}: ${decision?.comment ?? 'no comment'}`,
      {
        detail: 'nothing was executed at the database',
        hint: `see ${address}; for a bulk read, register a chunk job: countersign jobs push`,
      },
    );
  }

  /** By which a workflow may be chosen. How many bytes a statement returns, nobody knows before. */
  #traits({ connection, facts }: HoldQuestion): RequestTraits {
    const snapshot = this.#options.connection(connection).gate.fresh();
    // The bound is one of rows that come back; how many a write touches is not known.
    const rows = facts.map((one) => (one.class === 'read' || one.class === 'copy-out' ? one.rowsAtMost : undefined));
    return {
      touchesMasked:
        snapshot === undefined ||
        (!snapshot.nothingMasked &&
          facts.some(
            (one) =>
              one.unknowns.length > 0 || one.relations.some((relation) => snapshot.maskIndex.touches(relation.oid)),
          )),
      rows: rows.includes(undefined) ? undefined : rows.reduce<number>((sum, one) => sum + (one ?? 0), 0),
    };
  }

  async #input(question: HoldQuestion): Promise<GrantInput> {
    const { gate, searchPath, target } = this.#options.connection(question.connection);
    const { catalogue } = gate.fresh() ?? (await gate.refresh());
    const { identity } = question;
    const relations = question.facts.flatMap((facts) => facts.relations);
    const lasting = relations.filter((relation) => !isTemporary(relation)).map(({ oid }) => oid);
    // Nobody but the session that waits can change its temporary tables.
    const temporary = new Set(relations.filter(isTemporary).map(({ name }) => `pg_temp.${name}`));
    return {
      kind: 'statement',
      statement: {
        text: question.text,
        parameters: question.parameters,
        parameterKinds: question.parameterKinds,
        classes: question.facts.map((facts) => facts.class),
      },
      target: await target(),
      searchPath,
      definitions: [
        ...definitionDigests(catalogue, lasting),
        ...[...temporary].map((name) => ({ name, digest: 'of the session' })),
      ],
      parameters: {},
      maskingDigest: gate.masking.digest,
      policyDigest: this.#options.policies(),
      caps: { rows: null, bytes: null },
      executors: { duty: identity.duty, groups: [], principal: identity.principal.id, session: identity.sessionId },
      expiry: { durationMs: this.#options.holdTimeoutMs },
    };
  }
}

/** What the approver may let run on. */
function offer({ form, key, low, high, limit, text }: TemplateStep) {
  return { form, key, low: String(low), high: high === undefined ? null : String(high), limit: limit ?? null, text };
}

function refused(error: CountersignError): HoldOutcome {
  return { kind: 'refused', error };
}

function titleOf(question: HoldQuestion): string {
  const commands = question.facts.map((facts) => facts.command).join('; ');
  const relations = new Set(
    question.facts.flatMap((facts) => facts.relations.filter((one) => one.direct).map((one) => one.name)),
  );
  return `${commands}${relations.size === 0 ? '' : ` on ${[...relations].join(', ')}`}`.slice(0, 200);
}
