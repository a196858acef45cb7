/** The state of anything: a word and a colour, the same everywhere. */
import { Badge } from '@mantine/core';

const colors: Readonly<Record<string, string>> = {
  pending: 'yellow',
  approved: 'seal',
  open: 'seal',
  completed: 'seal',
  sealed: 'seal',
  consumed: 'blue',
  running: 'blue',
  streaming: 'blue',
  leased: 'blue',
  paused: 'yellow',
  rejected: 'red',
  failed: 'red',
  killed: 'red',
  blocked: 'red',
  void: 'red',
  withdrawn: 'gray',
  expired: 'gray',
  planned: 'gray',
};

export function State({ state, label = state }: { readonly state: string; readonly label?: string }) {
  return (
    <Badge
      color={colors[state] ?? 'gray'}
      variant="light"
      tt="none"
      radius="sm"
      className={`verdict tone tone-${colors[state] ?? 'gray'}`}
    >
      {label}
    </Badge>
  );
}
