/** The rules as files that people edit: one of YAML with everything but the Cedar texts, and one for each of those. */
import { stringify } from 'yaml';
import type { RuleSet } from './policy.ts';

export interface RuleText {
  readonly name: string;
  readonly text: string;
}

export const rulesFile = 'rules.yaml';

export function ruleTexts({ connections, bindings, masking, workflows, policies }: RuleSet): RuleText[] {
  const rules = { connections, bindings, masking, workflows, policies: { defaults: policies.defaults } };
  return [{ name: rulesFile, text: stringify(rules, { lineWidth: 0 }) }, ...policies.files];
}

/** What is sent: a part that nobody touched stays as it is in force, but the Cedar files come together or not at all. */
export function changedFiles(before: readonly RuleText[], now: readonly RuleText[]): RuleText[] {
  const isChanged = ({ name, text }: RuleText) => before.find((one) => one.name === name)?.text !== text;
  const cedar = now.filter(({ name }) => name !== rulesFile);
  return [...now.filter((file) => file.name === rulesFile && isChanged(file)), ...(cedar.some(isChanged) ? cedar : [])];
}

export interface RuleProblem {
  readonly line: number;
  readonly message: string;
}

/** Those lines of the server's words that name a place in this file. */
export function problemsIn(file: string, message: string): RuleProblem[] {
  return message.split('\n').flatMap((text) => {
    const place = text.indexOf(`${file}:`);
    const [, line, said] =
      (place < 0 ? null : /^(\d+):(?:\d+:)? *(.+)$/.exec(text.slice(place + file.length + 1))) ?? [];
    return line === undefined || said === undefined ? [] : [{ line: Number(line), message: said }];
  });
}
