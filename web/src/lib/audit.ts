/** Executions and their approvals as the API tells of them, with the places in the log that prove it. */

export interface LogPlace {
  readonly node: string;
  readonly index: number;
}

export interface Execution {
  readonly at: string;
  readonly sessionId: string;
  readonly principal?: string;
  readonly human?: string;
  readonly connection?: string;
  readonly requestId?: string;
  readonly grantId?: string;
  readonly runId?: string;
  readonly chunkNo?: number;
  readonly attempt?: number;
  readonly problems: readonly { readonly code: string; readonly message: string }[];
  readonly proof: {
    readonly intent: LogPlace;
    readonly session?: LogPlace;
    readonly request?: LogPlace;
    readonly decisions: readonly (LogPlace & { readonly human: string; readonly verdict: string })[];
    readonly grant?: LogPlace;
    readonly consumption?: LogPlace;
    readonly run?: LogPlace;
  };
}

export interface ExecutionException {
  readonly entry?: LogPlace;
  readonly executions: number;
  readonly human?: string;
  readonly connection?: string;
  readonly requestId?: string;
  readonly grantId?: string;
  readonly runId?: string;
  readonly problems: readonly { readonly code: string; readonly message: string }[];
}

export interface ExecutionReport {
  readonly complete: boolean;
  readonly logs: readonly { readonly node: string; readonly entries: number }[];
  readonly executions: number;
  readonly approved: number;
  readonly exceptions: readonly ExecutionException[];
  readonly exceptionCount: number;
  readonly allowedByRule: readonly {
    readonly human: string;
    readonly connection: string;
    readonly duty: string;
    readonly policies: string;
    readonly statements: number;
  }[];
  readonly page: { readonly items: readonly Execution[]; readonly next?: string };
}
