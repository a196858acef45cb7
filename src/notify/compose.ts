/**
 * From an occurrence and what the store knows of it to a message. Of a statement only its kind and the relations that its
 * title names are told, unless the receiver asks for its text, and then without its literals.
 */
import { withoutLiterals } from '../gate/scrub.ts';
import type { StoreOrTransaction } from '../store/database.ts';
import { findRequest, type RequestRecord } from '../store/requests.ts';
import { oneLine, type Message } from './message.ts';
import type { Occurrence } from './occurrences.ts';

export interface ComposeOptions {
  readonly publicUrl: string;
  readonly includeStatement: boolean;
}

const maxStatement = 1_000;

/** undefined: the store does not know the request that it is about, or not yet what happened to it. */
export async function compose(
  store: StoreOrTransaction,
  occurrence: Occurrence,
  options: ComposeOptions,
): Promise<Message | undefined> {
  const { event, at, request: requestId, run, job, connection, state, human, principal, duty, expiresAt } = occurrence;
  const { connections, step, decide, groups, dueAt, reviewers, given } = occurrence;
  const request = requestId === undefined ? undefined : await findRequest(store, requestId);
  if (requestId !== undefined && (request === undefined || !hasHappened(occurrence, request))) return undefined;
  const place = request?.connection ?? connection;
  const facts: [string, string | undefined][] = [
    ['What', request?.title ?? job],
    ['Connection', place === '' ? undefined : place],
    ['Connections', connections?.join(', ')],
    ['Asked by', request?.requesterId],
    ['State', state],
    ['By', principal === request?.requesterId ? undefined : principal],
    ['Whose', event === 'access.revoked' ? human : undefined],
    ['Duty', duty],
    ['Step', step === undefined ? undefined : String(step)],
    [decide === true ? 'May decide now' : 'Told', groups?.join(', ')],
    ['Due', dueAt],
    ['Reviews', reviewers === undefined ? undefined : `${given ?? 0} of ${reviewers}`],
    ['Until', event === 'request.created' || event === 'request.expiring' ? expiresAt : undefined],
    ['Request', requestId],
    ['Run', run],
  ];
  return {
    event,
    at,
    headline: headlineOf(occurrence, request),
    facts: facts
      .filter((fact): fact is [string, string] => fact[1] !== undefined)
      .map(([name, value]) => [name, oneLine(value)]),
    link: linkOf(occurrence, options.publicUrl),
    statement: options.includeStatement ? statementOf(request) : undefined,
    data: {
      request: requestId,
      kind: request?.kind,
      title: request === undefined ? undefined : oneLine(request.title),
      run,
      job: request?.job ?? job,
      connection: place,
      connections,
      step,
      decide,
      groups,
      dueAt,
      reviewers,
      given,
      state,
      requester: request?.requesterId,
      principal,
      human,
      duty,
      expiresAt,
    },
  };
}

/** An entry is in the log before its change is committed, and the change may have been lost. */
function hasHappened({ event, state, step = 0 }: Occurrence, request: RequestRecord): boolean {
  if (event === 'request.decided') return request.state === state;
  if (event === 'request.escalated') return request.escalatedSteps >= step;
  if (event === 'break-glass') return request.breakGlass !== undefined;
  return event !== 'request.review-late' || request.breakGlass?.lateAt !== undefined;
}

function headlineOf({ event, state, job, step, decide }: Occurrence, request: RequestRecord | undefined): string {
  const what = request === undefined ? 'A request' : `A ${request.kind} request`;
  switch (event) {
    case 'request.created':
      return `${what} waits for a decision`;
    case 'request.expiring':
      return `${what} expires soon and is not decided`;
    case 'request.decided':
      return `${what} was ${oneLine(state ?? 'closed')}`;
    case 'request.escalated':
      return `${what} waits too long in step ${step ?? 1}; ${decide === true ? 'further groups may decide it now' : 'further groups are told'}`;
    case 'request.review-late':
      return 'The review of a break-glass is late';
    case 'break-glass':
      return 'Break-glass was used';
    case 'run.finished':
      return `A run of ${oneLine(job ?? 'a job')} is finished`;
    case 'run.failed':
      return `A run of ${oneLine(job ?? 'a job')} was ${state === 'killed' ? 'killed' : 'not finished: it failed'}`;
    case 'access.revoked':
      return 'Access was revoked';
    default:
      event satisfies never;
      return 'Something happened';
  }
}

function linkOf({ request, run, event }: Occurrence, publicUrl: string): string | undefined {
  if (request !== undefined) return `${publicUrl}/requests/${encodeURIComponent(request)}`;
  if (run !== undefined) return `${publicUrl}/runs/${encodeURIComponent(run)}`;
  return event === 'access.revoked' ? `${publicUrl}/access` : undefined;
}

function statementOf(request: RequestRecord | undefined): string | undefined {
  if (request?.kind !== 'statement') return undefined;
  const { statement } = JSON.parse(request.digestInputJson) as { statement?: { text?: unknown } };
  if (typeof statement?.text !== 'string') return undefined;
  const text = withoutLiterals(statement.text);
  return text.length <= maxStatement ? text : `${text.slice(0, maxStatement)} …`;
}
