/** The rules as the API tells of them. */
import type { Labels, MaskingTemplate, Workflow } from './connection.ts';
import { api } from './api.ts';
import { dutiesOf, type Duty, type Who } from './who.ts';

/** A connection of the rules; its passwords are with whoever runs the gateway. */
export interface AddedConnection {
  readonly name: string;
  readonly engine: 'postgres';
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly labels: Labels;
  readonly searchPath?: readonly string[];
  readonly tls: { readonly mode: 'verify-full'; readonly serverName?: string } | { readonly mode: 'disable' };
  readonly users: { readonly gateway: string; readonly designer: string; readonly executor: string };
}

export interface RuleSet {
  readonly connections: readonly AddedConnection[];
  readonly bindings: readonly { readonly group: string; readonly duties: readonly Duty[]; readonly labels?: Labels }[];
  readonly masking: readonly MaskingTemplate[];
  readonly workflows: readonly (Workflow & {
    readonly match: { readonly labels?: Labels; readonly kinds?: readonly string[] };
  })[];
  readonly policies: {
    readonly defaults: boolean;
    readonly files: readonly { readonly name: string; readonly text: string }[];
  };
}

export interface PolicyChange {
  readonly part: string;
  readonly effect: 'wider' | 'narrower' | 'same';
  readonly what: string;
  readonly why?: string;
}

export interface PolicyVersion {
  readonly number: number;
  readonly digest: string;
  readonly appliedBy: string;
  readonly appliedHuman: string;
  readonly appliedAt: string;
  readonly message: string;
  readonly requestId?: string;
}

export interface Policies {
  readonly source: string;
  readonly digest: string;
  readonly version?: PolicyVersion;
  readonly rules: RuleSet;
  readonly configurationFile: { readonly differs: boolean; readonly changes: readonly PolicyChange[] };
}

/** What a change of the rules comes to. */
export interface RuleAnswer {
  readonly outcome: 'unchanged' | 'dry-run' | 'applied' | 'requested';
  readonly effect: PolicyChange['effect'];
  readonly changes: readonly PolicyChange[];
  /** Those for which something changes. */
  readonly connections: readonly string[];
  readonly warnings: readonly string[];
  readonly version?: number;
  readonly request?: string;
}

export interface RuleAsk {
  readonly files: readonly { readonly name: string; readonly text: string }[];
  readonly message: string;
  /** Digest of the rules that this was made from. */
  readonly base: string;
  readonly dryRun: boolean;
}

export const changeRules = (ask: RuleAsk): Promise<RuleAnswer> => api('/policies', { method: 'POST', body: ask });

export const policiesQuery = {
  queryKey: ['requests', 'policies'],
  queryFn: ({ signal }: { signal: AbortSignal }) => api<Policies>('/policies', { signal }),
};

/** undefined = they may ask; the server looks at each connection that a change touches. */
export function whyNotChangeRules(who: Who): string | undefined {
  const mayAsk = dutiesOf(who).some((duty) => duty === 'admin' || duty === 'approver');
  return mayAsk
    ? undefined
    : 'Changing the rules needs the duty admin or approver on every connection that it touches.';
}
