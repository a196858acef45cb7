/** Each output column, what it is made of, and what is shown of it. From the signed fields. */
import { Badge, Table, Text } from '@mantine/core';
import { IconEyeOff } from '@tabler/icons-react';
import type { OutputColumn } from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';
import { Scroll } from '../Scroll.tsx';
import { Section } from '../Section.tsx';

export function Lineage({ outputs }: { readonly outputs: readonly OutputColumn[] }) {
  return (
    <Section
      title="Columns and masks"
      hint="What leaves, where each column comes from, and what of it is shown. Signed."
    >
      <Scroll label="Columns and masks">
        <Table verticalSpacing={6}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Column</Table.Th>
              <Table.Th>Comes from</Table.Th>
              <Table.Th>Mask</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {outputs.map((column, index) => (
              <Table.Tr key={index}>
                <Table.Td>
                  <Text span fw={600} size="sm">
                    <Plain text={column.name} />
                  </Text>{' '}
                  <Text span size="xs" c="dimmed">
                    {column.typeName}
                  </Text>
                </Table.Td>
                <Table.Td className="mono">
                  <Plain text={column.sources.join(', ') || '(a constant)'} />
                </Table.Td>
                <Table.Td>
                  <Mask mask={column.mask} />
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Section>
  );
}

export function Mask({ mask }: { readonly mask: string | null | undefined }) {
  if (mask === null || mask === undefined) {
    return (
      <Text span size="sm" c="dimmed">
        none; detectors look at its text
      </Text>
    );
  }
  return (
    <Badge
      variant="light"
      radius="sm"
      tt="none"
      leftSection={<IconEyeOff size={13} aria-hidden />}
      className="tone tone-seal"
    >
      {mask}
    </Badge>
  );
}
