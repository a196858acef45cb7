/** Connections, labels and masks as the API tells of them. */
import type { Duty } from './who.ts';

export type Labels = Readonly<Record<string, string>>;
export type MaskSpec = string | { readonly kind: string; readonly [member: string]: unknown };

export interface MaskingTemplate {
  readonly name: string;
  readonly appliesTo: Labels;
  readonly columns: readonly { readonly match: string; readonly mask: MaskSpec; readonly predicates?: unknown }[];
  readonly detectors: readonly {
    readonly detect: string | { readonly name: string; readonly pattern: string };
    readonly mask: string;
  }[];
}

export interface Workflow {
  readonly name?: string;
  readonly approvals: {
    readonly count?: number;
    readonly groups?: readonly string[];
    readonly steps?: readonly {
      readonly count?: number;
      readonly allOf?: readonly string[];
      readonly groups?: readonly string[];
    }[];
  };
  readonly expiresMs: number;
  readonly grantExpiresMs: number;
  readonly strict: boolean;
  readonly breakGlass?: { readonly approvals: number; readonly reviewers: number };
}

export interface Inheritance {
  readonly masking: readonly MaskingTemplate[];
  readonly bindings: readonly { readonly group: string; readonly duties: readonly Duty[] }[];
  readonly workflows: readonly { readonly kind: string; readonly workflow: Workflow }[];
}

export interface Connection {
  readonly name: string;
  readonly engine: string;
  readonly labels: Labels;
  readonly target: { readonly host: string; readonly port: number; readonly database: string; readonly tls: string };
  readonly masks: readonly { readonly column: string; readonly mask: string; readonly rule: string }[];
  readonly problem: { readonly code: string; readonly message: string; readonly hint?: string } | null;
  /** Whose it is: the configuration file's, or of the rules. */
  readonly origin: 'file' | 'rules';
  readonly duties: readonly Duty[];
}

export interface ConnectionDetail extends Connection {
  readonly inherits: Inheritance;
}

export function maskText(mask: MaskSpec): string {
  if (typeof mask === 'string') return mask;
  const { kind, ...numbers } = mask;
  const said = Object.entries(numbers).map(([name, value]) => `${name} ${String(value)}`);
  return said.length === 0 ? kind : `${kind} (${said.join(', ')})`;
}

/** How many approve, and who, in a sentence. */
export function approvalsText({ approvals, strict, breakGlass }: Workflow): string {
  const steps = approvals.steps ?? [approvals];
  const said = steps.map((step) => {
    const groups = 'allOf' in step && step.allOf !== undefined ? `one of each of ${step.allOf.join(', ')}` : undefined;
    const some = `${step.count ?? 1} ${(step.count ?? 1) === 1 ? 'approver' : 'different approvers'}`;
    return groups ?? (step.groups === undefined ? some : `${some} of ${step.groups.join(' or ')}`);
  });
  const emergency =
    breakGlass &&
    `; in an emergency ${breakGlass.approvals} before, and ${breakGlass.reviewers} others review it after`;
  return `${said.join(', then ')}${strict ? '; author, approver and executor are all different people' : ''}${emergency ?? ''}`;
}

/** `data=personal, country=de`; undefined = not of that form. */
export function parseLabels(text: string): Labels | undefined {
  const parts = text.split(/[,\n]/).map((part) => part.trim());
  const pairs = parts.filter((part) => part !== '').map((part) => /^([^=\s]+)\s*[=:]\s*(\S.*)$/.exec(part));
  if (pairs.some((pair) => pair === null)) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair?.[1] ?? '', pair?.[2] ?? '']));
}

export const labelsText = (labels: Labels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
