/** From entries of the log to what receivers are told of. Pure: an entry says what happened, the store says more later. */
import type { NotificationEvent } from '../config/review-settings.ts';
import type { RequestKind } from '../store/database.ts';

/** Something to tell, as the log has it. */
export interface Occurrence {
  readonly event: NotificationEvent;
  /** The same for the same occurrence, always. */
  readonly key: string;
  readonly at: string;
  readonly request?: string | undefined;
  /** Of the request. */
  readonly kind?: RequestKind | undefined;
  readonly run?: string | undefined;
  readonly job?: string | undefined;
  /** undefined: it belongs to none, or the store has to be asked. */
  readonly connection?: string | undefined;
  /** Approved, rejected, expired; completed, failed, killed. */
  readonly state?: string | undefined;
  /** Who did it. */
  readonly principal?: string | undefined;
  /** Whom it is about: whose access was taken, who asked. */
  readonly human?: string | undefined;
  readonly duty?: string | undefined;
  readonly authors?: readonly string[] | undefined;
  readonly expiresAt?: string | undefined;
  /** That a change of the rules touches; undefined for what is of one connection. */
  readonly connections?: readonly string[] | undefined;
  /** Of a step that waited too long, from 1. */
  readonly step?: number | undefined;
  /** Of an escalation: whether its groups may decide, or are only told. */
  readonly decide?: boolean | undefined;
  /** Of an escalation: who may decide the step now, or is told; undefined = whoever holds the duty. */
  readonly groups?: readonly string[] | undefined;
  /** Of a late review: when it should have been there, how many are needed, and how many said yes. */
  readonly dueAt?: string | undefined;
  readonly reviewers?: number | undefined;
  readonly given?: number | undefined;
}

type Entry = { readonly [member: string]: unknown };

const told =
  /"type":"(request\.(created|closed|escalated|break-glass|review-late)|run\.(completed|failed|killed)|credential\.revoked|review\.decided|person\.removed|service-account\.disabled)"/;

export function occurrenceIn(
  node: string,
  { index, text }: { readonly index: number; readonly text: string },
): Occurrence | undefined {
  if (!told.test(text)) return undefined;
  const entry = JSON.parse(text) as Entry;
  const type = string(entry, 'type') ?? '';
  const common = {
    key: `${node}/${index}`,
    at: string(entry, 'at') ?? '',
    request: string(entry, 'request'),
    connection: string(entry, 'connection'),
    principal: string(entry, 'principal'),
    human: string(entry, 'human'),
  };
  switch (type) {
    case 'request.created':
      return {
        ...common,
        event: 'request.created',
        kind: string(entry, 'kind') as RequestKind | undefined,
        authors: authorsOf(entry['authors']),
        expiresAt: string(entry, 'expiresAt'),
        connections: stringsOf(entry['connections']),
      };
    case 'request.closed': {
      const state = string(entry, 'state');
      return state === 'withdrawn' ? undefined : { ...common, event: 'request.decided', state };
    }
    case 'run.completed':
    case 'run.failed':
    case 'run.killed': {
      const state = type.slice('run.'.length);
      const event = state === 'completed' ? 'run.finished' : 'run.failed';
      return { ...common, event, state, run: string(entry, 'run'), job: string(entry, 'job') };
    }
    case 'credential.revoked':
      // Those of a run end with it, which tells nobody anything.
      if (string(entry, 'run') !== undefined) return undefined;
      return { ...common, event: 'access.revoked', principal: string(entry, 'by') };
    case 'review.decided':
      if (string(entry, 'verdict') !== 'revoke') return undefined;
      return { ...common, event: 'access.revoked', human: string(entry, 'holderHuman'), duty: string(entry, 'duty') };
    case 'person.removed':
    case 'service-account.disabled':
      return { ...common, event: 'access.revoked', principal: string(entry, 'by') };
    case 'request.break-glass':
      return { ...common, event: 'break-glass' };
    case 'request.escalated': {
      const step = number(entry, 'step');
      const decide = entry['decide'] === true;
      const groups = stringsOf(entry[decide ? 'deciders' : 'groups']);
      // What was said and then not committed is said again: it is the same occurrence.
      return {
        ...common,
        key: `escalated/${common.request}/${step}`,
        event: 'request.escalated',
        step,
        decide,
        groups,
      };
    }
    case 'request.review-late':
      return {
        ...common,
        key: `review-late/${common.request}`,
        event: 'request.review-late',
        dueAt: string(entry, 'dueAt'),
        reviewers: number(entry, 'reviewers'),
        given: number(entry, 'given'),
      };
    default:
      return undefined;
  }
}

function string(entry: Entry, member: string): string | undefined {
  const value = entry[member];
  return typeof value === 'string' ? value : undefined;
}

function number(entry: Entry, member: string): number | undefined {
  const value = entry[member];
  return typeof value === 'number' ? value : undefined;
}

function stringsOf(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : undefined;
}

function authorsOf(authors: unknown): string[] {
  if (!Array.isArray(authors)) return [];
  return authors.flatMap((author: unknown) =>
    typeof author === 'object' && author !== null && 'human' in author && typeof author.human === 'string'
      ? [author.human]
      : [],
  );
}
