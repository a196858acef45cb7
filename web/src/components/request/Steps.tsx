/** The steps of the workflow, where there is more to say of them than how many have to approve. */
import { Group, List, Text } from '@mantine/core';
import { moment } from '../../lib/format.ts';
import type { Step } from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';
import { State } from '../State.tsx';

const words: Record<Step['state'], string> = {
  done: 'done',
  open: 'open now',
  waiting: 'later',
  overdue: 'overdue',
  skipped: 'not reached',
};
const tones: Record<Step['state'], string> = {
  done: 'completed',
  open: 'pending',
  waiting: 'planned',
  overdue: 'failed',
  skipped: 'planned',
};

export function Steps({ steps }: { readonly steps: readonly Step[] }) {
  const [only] = steps;
  const isPlain = steps.length < 2 && (only === undefined || (only.groups ?? only.allOf).length === 0);
  if (isPlain) return null;
  return (
    <List listStyleType="none" spacing="xs" size="sm" aria-label="Steps">
      {steps.map((step) => (
        <List.Item key={step.no}>
          <Group gap="xs">
            <Text size="sm" fw={600}>
              Step {step.no}
            </Text>
            <State state={tones[step.state]} label={words[step.state]} />
          </Group>
          <Text size="sm" className="break">
            <Plain text={whoOf(step)} />
          </Text>
          {step.state === 'open' && step.dueAt !== undefined && (
            <Text size="xs" c="dimmed">
              until {moment(step.dueAt)}
            </Text>
          )}
        </List.Item>
      ))}
    </List>
  );
}

function whoOf({ needed, allOf, groups, deciders, approvals }: Step): string {
  const from = deciders ?? groups;
  const who =
    allOf.length > 0
      ? `one of each of ${allOf.join(', ')}`
      : `${needed}${from === undefined ? '' : ` of ${from.join(' or ')}`}`;
  return approvals.length === 0 ? who : `${who}; so far ${approvals.map(({ human }) => human).join(', ')}`;
}
