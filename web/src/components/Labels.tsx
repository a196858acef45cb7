import { Badge, Group, Text } from '@mantine/core';
import type { Labels as LabelSet } from '../lib/connection.ts';

export function Labels({ labels }: { readonly labels: LabelSet }) {
  const all = Object.entries(labels);
  if (all.length === 0) return <Text size="sm">no labels</Text>;
  return (
    <Group gap={4}>
      {all.map(([name, value]) => (
        <Badge key={name} variant="default" tt="none" radius="sm">
          {name}={value}
        </Badge>
      ))}
    </Group>
  );
}
