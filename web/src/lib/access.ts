/** The access review as the API tells of it. */
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
  readonly followUps: readonly {
    readonly line: string;
    readonly principal: string;
    readonly connection: string;
    readonly duty: string;
    readonly state: 'done' | 'still-held';
    readonly remedy: string;
  }[];
}

export interface ReviewSummary {
  readonly id: string;
  readonly startedBy: string;
  readonly startedAt: string;
  readonly endedBy?: string;
  readonly endedAt?: string;
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
