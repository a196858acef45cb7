/** Sessions as the API tells of them. */

export interface SessionSummary {
  readonly id: string;
  readonly principalId: string;
  readonly human: string;
  readonly duty: string;
  readonly connection: string;
  readonly runId?: string;
  readonly clientAddress: string;
  readonly application: string;
  readonly node: string;
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly statements: number;
  readonly rows: number;
  readonly maskedCells: number;
}

export interface TimelineStatement {
  readonly logIndex: number;
  readonly at: string;
  readonly forwardedAt?: string;
  readonly statement: number;
  readonly text: string;
  readonly whole: boolean;
  readonly class: string;
  readonly verdict: 'allow' | 'granted' | 'denied' | 'held';
  readonly policies: readonly string[];
  readonly code?: string;
  readonly request?: string;
  readonly run?: string;
  readonly chunk?: number;
  readonly outcome?: {
    readonly status: 'complete' | 'error' | 'cancelled' | 'lost';
    readonly at: string;
    readonly durationMs: number;
    readonly rows: number;
    readonly bytes: number;
    readonly maskedCells: number;
    readonly sqlstate?: string;
  };
}

export interface Timeline {
  readonly statements: readonly TimelineStatement[];
  readonly next: number | null;
}
