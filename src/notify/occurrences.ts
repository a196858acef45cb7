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
}

type Entry = { readonly [member: string]: unknown };

const told =
  /"type":"(request\.(created|closed|break-glass)|run\.(completed|failed|killed)|credential\.revoked|review\.decided|person\.removed|service-account\.disabled)"/;

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
    default:
      return undefined;
  }
}

function string(entry: Entry, member: string): string | undefined {
  const value = entry[member];
  return typeof value === 'string' ? value : undefined;
}

function authorsOf(authors: unknown): string[] {
  if (!Array.isArray(authors)) return [];
  return authors.flatMap((author: unknown) =>
    typeof author === 'object' && author !== null && 'human' in author && typeof author.human === 'string'
      ? [author.human]
      : [],
  );
}
