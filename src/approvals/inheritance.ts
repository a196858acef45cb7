/** What a connection has because of its labels alone: who holds which duty, what is masked, who approves. */
import type { Binding } from '../identity/bindings.ts';
import { appliesTo, type MaskingTemplate } from '../masking/policy.ts';
import type { RequestKind } from '../store/database.ts';
import { workflowFor, type Workflow } from './workflow.ts';

export interface Inheritance {
  readonly masking: readonly MaskingTemplate[];
  readonly bindings: readonly Pick<Binding, 'group' | 'duties'>[];
  /** For requests of each kind whose statements have no class that a workflow asks for. */
  readonly workflows: readonly { readonly kind: RequestKind; readonly workflow: Workflow }[];
}

const kinds: readonly RequestKind[] = ['job', 'statement', 'session'];

export function inheritedBy(
  labels: Readonly<Record<string, string>>,
  rules: {
    readonly masking: readonly MaskingTemplate[];
    readonly bindings: readonly Binding[];
    readonly workflows: readonly Workflow[];
  },
): Inheritance {
  const applying = rules.bindings.filter((binding) => appliesTo({ appliesTo: binding.labels ?? {} }, labels));
  return {
    masking: rules.masking.filter((template) => appliesTo(template, labels)),
    bindings: [...Map.groupBy(applying, ({ group }) => group)].map(([group, bindings]) => ({
      group,
      duties: [...new Set(bindings.flatMap(({ duties }) => duties))],
    })),
    workflows: kinds.map((kind) => ({ kind, workflow: workflowFor(rules.workflows, { kind, labels, classes: [] }) })),
  };
}
