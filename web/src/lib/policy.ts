/** The rules as the API tells of them. */
import type { Labels, MaskingTemplate, Workflow } from './connection.ts';
import type { Duty } from './who.ts';

export interface RuleSet {
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
