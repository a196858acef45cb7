/** Requests as the API gives them, and the questions about them. Query keys begin with `requests` (see live.ts). */
import { api, withQuery } from './api.ts';

export type RequestState = 'pending' | 'approved' | 'rejected' | 'withdrawn' | 'expired';
export type RequestAction = 'approve' | 'reject' | 'withdraw' | 'break-glass' | 'review';

export interface Author {
  readonly human: string;
  readonly name: string;
  readonly role: string;
}

export interface Standing {
  readonly may: readonly RequestAction[];
  readonly reasons: readonly { readonly action: RequestAction; readonly code: string; readonly reason: string }[];
}

export interface RequestSummary {
  readonly id: string;
  readonly kind: string;
  readonly state: RequestState;
  readonly connection: string;
  readonly title: string;
  readonly requesterId: string;
  readonly requesterHuman: string;
  readonly authors: readonly Author[];
  readonly job?: string;
  readonly jobVersion?: number;
  readonly sessionId?: string;
  readonly digest: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly closedAt?: string;
  readonly approvalsNeeded: number;
  readonly approvalsGiven: number;
  readonly you: Standing;
  /** Somebody asked, by name and with a reason, that fewer approve before and others review after. */
  readonly breakGlass?: BreakGlass;
  /** Of an approval by break-glass: until when it is to be reviewed, and when enough others had confirmed it. */
  readonly reviewDueAt?: string;
  readonly confirmedAt?: string;
  /** Why it waits, where the gateway held it. */
  readonly reason?: string;
}

export interface BreakGlass {
  readonly human: string;
  readonly reason: string;
  readonly at: string;
  readonly reviewers: number;
  readonly reviewWithinMs: number;
}

export interface Review {
  readonly human: string;
  readonly verdict: 'ok' | 'object';
  readonly comment: string;
  readonly reviewedAt: string;
}

/** One step of the workflow. */
export interface Step {
  readonly no: number;
  readonly state: 'done' | 'open' | 'waiting' | 'overdue' | 'skipped';
  readonly needed: number;
  readonly allOf: readonly string[];
  readonly groups?: readonly string[];
  readonly approvals: readonly { readonly human: string; readonly at: string }[];
  readonly deciders?: readonly string[];
  readonly dueAt?: string;
}

/** The loop of which a held statement is a step: the approver may let the whole of it run, within bounds. */
export interface TemplateOffer {
  readonly form: 'range' | 'keyset' | 'offset';
  readonly key: string;
  readonly low: string;
  readonly high: string | null;
  readonly limit: number | null;
  /** The statement with `:lo` and `:hi` in place of what moves. */
  readonly text: string;
}

export interface TemplateBounds {
  readonly untilKey: string;
  readonly rows: number;
  readonly uses?: number;
  readonly anySession?: boolean;
}

/** One change of the rules. */
export interface PolicyChange {
  readonly part: string;
  readonly effect: 'wider' | 'narrower' | 'same';
  readonly what: string;
  readonly why?: string;
}

export interface Decision {
  readonly human: string;
  readonly principalId: string;
  readonly verdict: 'approve' | 'reject';
  readonly comment: string;
  readonly decidedAt: string;
}

export interface Grant {
  readonly id: string;
  readonly state: 'open' | 'consumed' | 'void' | 'expired';
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly consumedBy?: string;
  readonly consumedAt?: string;
  readonly voidReason?: string;
}

/** Beside the digest: estimates and illustrations. Nothing here is signed. */
export interface Evidence {
  readonly plan?: Plan;
  /** The job's definition file; its SHA-256 is in the digest. */
  readonly source?: string;
  readonly reason?: string;
  readonly policies?: readonly string[];
  readonly template?: TemplateOffer;
  /** Of a change of the rules: what its author says, and what is odd about it. */
  readonly message?: string;
  readonly warnings?: readonly unknown[];
  readonly statements?: readonly {
    readonly command: string;
    readonly class: string;
    readonly relations: readonly string[];
    readonly rowsAtMost: number | null;
  }[];
}

export interface PlannedChunk {
  readonly no: number;
  readonly lower?: readonly string[];
  readonly upper?: readonly string[];
  readonly nulls: boolean;
}

export interface ExplainNode {
  readonly node: string;
  readonly relation?: string;
  readonly index?: string;
  readonly rows: number;
  readonly cost: number;
  readonly children: readonly ExplainNode[];
}

export interface Plan {
  readonly strategy: string;
  readonly reason: string;
  readonly source: string;
  readonly key: readonly { readonly column: string; readonly type: string }[];
  readonly chunks: readonly PlannedChunk[];
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
  readonly explain: { readonly first: ExplainNode; readonly middle: ExplainNode; readonly last: ExplainNode };
  readonly outputs: readonly OutputColumn[];
  readonly sample: { readonly columns: readonly string[]; readonly rows: readonly (readonly (string | null)[])[] };
  readonly output: { readonly format: string; readonly to: string };
  readonly warnings: readonly string[];
}

export interface OutputColumn {
  readonly name: string;
  readonly typeName?: string;
  readonly sources: readonly string[];
  readonly mask?: string | null;
}

export interface RequestDetail extends RequestSummary {
  readonly digestInputJson: string;
  readonly evidence: Evidence;
  readonly decisions: readonly Decision[];
  readonly grant?: Grant;
  readonly steps?: readonly Step[];
  readonly reviews?: readonly Review[];
  readonly runId?: string;
  readonly lastApproved?: {
    readonly request: string;
    readonly approvedAt: string;
    readonly version: number;
    readonly content: string;
  };
}

/** A loop that was approved as a whole. */
export interface SignedTemplate {
  readonly text: string;
  readonly key: string;
  readonly lowest?: string;
  readonly highest?: string;
  readonly uses?: number;
}

/** What the digest is made of: the parts that the page draws. Whatever else is in it is listed field by field. */
export interface DigestInput {
  readonly kind: string;
  readonly job?: {
    readonly name: string;
    readonly path: string;
    readonly contentDigest: string;
    readonly commit: string;
  };
  readonly statement?: {
    readonly text: string;
    readonly parameters?: readonly (string | null)[];
    readonly classes?: readonly string[];
    readonly template?: SignedTemplate;
  };
  readonly target?: {
    readonly host: string;
    readonly port: number;
    readonly database: string;
    readonly engine: string;
  };
  readonly plan?: {
    readonly count: number;
    readonly bounds?: { readonly source?: string; readonly outputs?: readonly OutputColumn[] };
  };
  readonly output?: { readonly format?: string; readonly to?: string };
  readonly caps?: { readonly rows: number | null; readonly bytes: number | null };
  readonly executors?: { readonly duty: string; readonly groups: readonly string[] };
  readonly expiry?: { readonly durationMs: number };
  /** Of a change of the rules. */
  readonly changes?: readonly PolicyChange[];
  readonly connections?: readonly string[];
  readonly [member: string]: unknown;
}

export type InboxView = 'waiting' | 'mine' | 'all';

export interface RequestListQuery {
  readonly view: InboxView;
  readonly state?: string | undefined;
  readonly connection?: string | undefined;
}

export interface RequestList {
  readonly requests: readonly RequestSummary[];
  readonly next?: string;
}

export const requestListKey = (query: RequestListQuery) => ['requests', 'list', query] as const;

export const fetchRequests = (query: RequestListQuery, before: string | undefined, signal: AbortSignal) =>
  api<RequestList>(withQuery('/requests', { ...query, before, limit: 30 }), { signal });

export const requestQuery = (id: string) => ({
  queryKey: ['requests', id] as const,
  queryFn: ({ signal }: { signal: AbortSignal }) =>
    api<RequestDetail>(`/requests/${encodeURIComponent(id)}`, { signal }),
});

const act = (id: string, action: RequestAction, body?: unknown) =>
  api<RequestSummary>(`/requests/${encodeURIComponent(id)}/${action}`, {
    method: 'POST',
    ...(body === undefined ? {} : { body }),
  });

export const decide = (id: string, action: 'approve' | 'reject' | 'withdraw', comment: string) =>
  act(id, action, action === 'withdraw' ? undefined : { comment });

/** @returns the template's own request */
export const approveTemplate = (id: string, comment: string, template: TemplateBounds) =>
  act(id, 'approve', { comment, template });

export const breakGlass = (id: string, reason: string) => act(id, 'break-glass', { reason });

export const review = (id: string, verdict: Review['verdict'], comment: string) =>
  act(id, 'review', { verdict, comment });

export function whoAsked({
  requesterId,
  requesterHuman,
}: Pick<RequestSummary, 'requesterId' | 'requesterHuman'>): string {
  return requesterId === requesterHuman ? requesterId : `${requesterId} (${requesterHuman})`;
}
