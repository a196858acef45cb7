/** The access review as the API tells of it. */
import { api, send, withQuery } from './api.ts';
import type { Duty } from './who.ts';

export interface Holding {
  readonly line: string;
  readonly principal: string;
  readonly kind: 'person' | 'service';
  readonly displayName: string;
  readonly human: string;
  readonly connection: string;
  readonly duty: Duty;
  readonly groups: readonly string[];
  readonly lastSeenAt?: string;
  readonly lastUse?: { readonly kind: string; readonly at: string };
  readonly unused: boolean;
  readonly heldSince?: string;
}

export interface DecidedLine extends Holding {
  readonly verdict?: 'keep' | 'revoke';
  readonly reviewer?: string;
  readonly comment?: string;
  readonly decidedAt?: string;
  readonly remedy?: string;
}

export interface AccessFacts {
  readonly connections: readonly string[];
  readonly alone: readonly {
    readonly reason: string;
    readonly humans: readonly string[];
    readonly suspectedAlias: boolean;
    readonly connections: readonly string[];
    readonly through: readonly {
      readonly principal: string;
      readonly duty: Duty;
      readonly groups: readonly string[];
    }[];
  }[];
  readonly pairs: readonly {
    readonly connection: string;
    readonly what: 'job' | 'statement';
    readonly first: readonly Duty[];
    readonly second: readonly Duty[];
    readonly pairs: number;
    readonly examples: { readonly first: readonly string[]; readonly second: readonly string[] };
    readonly remedy: string;
  }[];
  readonly unapproved: readonly {
    readonly connection: string;
    readonly humans: readonly string[];
    readonly action: string;
    readonly policies: readonly string[];
  }[];
  /** Database accounts against what their duty needs. */
  readonly accounts: readonly {
    readonly check: string;
    readonly severity: 'info' | 'low' | 'medium' | 'high' | 'critical';
    readonly where: string;
    readonly what: string;
    readonly why: string;
    readonly remedy: string;
  }[];
  /** Approved by break-glass, and not confirmed yet. */
  readonly breakGlass?: readonly {
    readonly request: string;
    readonly connection: string;
    readonly human: string;
    readonly at: string;
    readonly dueAt: string;
    readonly reviewsGiven: number;
    readonly reviewsNeeded: number;
    /** Humans who hold a duty that reviews and had no part in it. */
    readonly mayReview: readonly string[];
  }[];
  readonly followUps: readonly {
    readonly line: string;
    readonly principal: string;
    readonly connection: string;
    readonly duty: string;
    readonly state: 'done' | 'still-held';
    readonly remedy: string;
  }[];
}

export const factsQuery = {
  queryKey: ['access', 'facts'] as const,
  queryFn: ({ signal }: { signal: AbortSignal }) => api<AccessFacts>('/access/facts', { signal }),
};

export interface Holdings {
  readonly total: number;
  readonly holdings: readonly Holding[];
  readonly next?: string;
}

export const fetchHoldings = (before: string | undefined, signal?: AbortSignal) =>
  api<Holdings>(withQuery('/access/holdings', { before, limit: 1_000 }), { signal });

/** Everything as of now, as `countersign --json access review` writes it. */
export async function reviewNow(): Promise<string> {
  const holdings: Holding[] = [];
  let before: string | undefined;
  do {
    const page = await fetchHoldings(before);
    holdings.push(...page.holdings);
    before = page.next;
  } while (before !== undefined);
  return `${JSON.stringify({ holdings, facts: await api<AccessFacts>('/access/facts') }, undefined, 2)}\n`;
}

/** A review as `countersign access review export` writes it. */
export async function reviewReport(id: string, format: 'text' | 'json'): Promise<string> {
  const answer = await send(withQuery(`/access/reviews/${encodeURIComponent(id)}/report`, { format }));
  const text = await answer.text();
  return `${format === 'text' ? text : JSON.stringify(JSON.parse(text), undefined, 2)}\n`;
}

export interface ReviewSummary {
  readonly id: string;
  readonly startedBy: string;
  readonly startedAt: string;
  readonly endedBy?: string;
  readonly endedAt?: string;
}

export interface ReviewDetail extends ReviewSummary {
  readonly counts: {
    readonly lines: number;
    readonly kept: number;
    readonly revoked: number;
    readonly undecided: number;
  };
}

/** What each reason means; the words of the command line. */
export const aloneWords: Readonly<Record<string, string>> = {
  'author-approve-execute': 'could write, approve and execute the same thing, if the gateway took them for two people',
  'author-approve': 'could write and approve the same thing, if the gateway took them for two people',
  'author-execute': 'could write and execute the same thing, if the gateway took them for two people',
  'admin-and-more': 'changes the rules as administrator and works under them',
  'audits-own-work': 'audits what they do themselves',
};

export interface Person {
  readonly human: string;
  readonly principals: readonly string[];
  /** By connection. */
  readonly duties: ReadonlyMap<string, readonly Holding[]>;
}

/** One row for each human, however many accounts they have. */
export function peopleOf(holdings: readonly Holding[]): Person[] {
  return [...Map.groupBy(holdings, ({ human }) => human)]
    .map(([human, own]) => ({
      human,
      principals: [...new Set(own.map(({ principal }) => principal))],
      duties: Map.groupBy(own, ({ connection }) => connection),
    }))
    .sort((one, other) => one.human.localeCompare(other.human));
}
