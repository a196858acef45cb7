/** The difference between two sets of rules, in words: what gets wider stands out. */
import { Group, List, Text } from '@mantine/core';
import type { PolicyChange } from '../lib/policy.ts';
import { Plain } from './Plain.tsx';
import { State } from './State.tsx';

const effects: Readonly<Record<PolicyChange['effect'], string>> = {
  wider: 'pending',
  narrower: 'completed',
  same: 'planned',
};

export function RuleChanges({ changes }: { readonly changes: readonly PolicyChange[] }) {
  if (changes.length === 0) return <Text size="sm">Nothing.</Text>;
  return (
    <List spacing={6} size="sm" listStyleType="none">
      {changes.map((change, index) => (
        <List.Item key={index}>
          <Group gap="xs" align="flex-start" wrap="nowrap">
            <State state={effects[change.effect]} label={change.effect} />
            <Text size="sm" className="break">
              {change.part}: <Plain text={change.what} />
              {change.why !== undefined && ` (${change.why})`}
            </Text>
          </Group>
        </List.Item>
      ))}
    </List>
  );
}
