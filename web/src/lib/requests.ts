/** Requests as the API gives them, and the questions about them. Query keys begin with `requests` (see live.ts). */
import { api, withQuery } from './api.ts';

export type RequestState = 'pending' | 'approved' | 'rejected' | 'withdrawn' | 'expired';
export type RequestAction = 'approve' | 'reject' | 'withdraw';

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
  readonly breakGlass?: boolean;
  /** Why it waits, where the gateway held it. */
  readonly reason?: string;
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
  readonly runId?: string;
  readonly lastApproved?: {
    readonly request: string;
    readonly approvedAt: string;
    readonly version: number;
    readonly content: string;
  };
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
  api<RequestList>(withQuery('/requests', { ...query, before, limit: 50 }), { signal });

export const requestQuery = (id: string) => ({
  queryKey: ['requests', id] as const,
  queryFn: ({ signal }: { signal: AbortSignal }) =>
    api<RequestDetail>(`/requests/${encodeURIComponent(id)}`, { signal }),
});

export const decide = (id: string, action: RequestAction, comment: string) =>
  api<RequestSummary>(`/requests/${encodeURIComponent(id)}/${action}`, {
    method: 'POST',
    ...(action === 'withdraw' ? {} : { body: { comment } }),
  });

export function whoAsked({
  requesterId,
  requesterHuman,
}: Pick<RequestSummary, 'requesterId' | 'requesterHuman'>): string {
  return requesterId === requesterHuman ? requesterId : `${requesterId} (${requesterHuman})`;
}
