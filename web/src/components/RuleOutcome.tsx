/** What a change of the rules would do, and whether somebody else has to decide on it. */
import { Alert, Text } from '@mantine/core';
import type { RuleAnswer } from '../lib/policy.ts';
import { Plain } from './Plain.tsx';
import { RuleChanges } from './RuleChanges.tsx';

export function RuleOutcome({ answer }: { readonly answer: RuleAnswer }) {
  const { changes, effect, connections, warnings } = answer;
  if (changes.length === 0) return <Alert title="This changes nothing." variant="light" />;
  return (
    <Alert
      color={effect === 'wider' ? 'yellow' : 'green'}
      variant="light"
      title={effect === 'wider' ? 'Something gets wider: somebody else has to approve it' : 'Nothing gets wider'}
    >
      <RuleChanges changes={changes} />
      <Text size="sm" mt="xs">
        Touches {connections.join(', ')}.
      </Text>
      {warnings.map((warning, index) => (
        <Text key={index} size="sm">
          <Plain text={warning} />
        </Text>
      ))}
    </Alert>
  );
}
