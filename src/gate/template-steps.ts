/** A held statement as a step of a loop, on one connection. */
import type { GrantInput } from '../approvals/digest.ts';
import { analyse } from '../sql/analyse.ts';
import { templateStep, type StepQuestion, type TemplateStep } from '../sql/statement-template.ts';
import type { GateConnection } from './connection.ts';

type Asked = Pick<StepQuestion, 'text' | 'parameters' | 'parameterKinds' | 'facts'>;

/** By the catalogue as it was read last. undefined = none for certain. */
export function stepOf(gate: GateConnection, asked: Asked, maxBytes: number): TemplateStep | undefined {
  const { catalogue, maskIndex } = gate.current();
  const { text, parameters, parameterKinds, facts } = asked;
  return templateStep({
    text,
    parameters,
    parameterKinds,
    facts,
    catalogue,
    isMasked: (relationOid, attnum) => maskIndex.rule(relationOid, attnum) !== undefined,
    maxBytes,
  });
}

/** The same of what was digested, whatever else is said about it. */
export async function stepOfInput(
  gate: GateConnection,
  { statement }: GrantInput,
  maxBytes: number,
): Promise<TemplateStep | undefined> {
  if (statement === undefined) return undefined;
  const { catalogue } = await gate.refresh();
  const { text, parameters, parameterKinds } = statement;
  return stepOf(gate, { text, parameters, parameterKinds, facts: analyse(text, catalogue, { maxBytes }) }, maxBytes);
}
