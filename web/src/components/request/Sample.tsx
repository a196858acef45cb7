/** How the result will look: some rows, masked as the executor gets them. An illustration, not signed. */
import { Table, Text } from '@mantine/core';
import { IconEyeOff } from '@tabler/icons-react';
import { plural } from '../../lib/format.ts';
import type { OutputColumn, Plan } from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';
import { Scroll } from '../Scroll.tsx';
import { Section } from '../Section.tsx';

const maxCell = 80;

export function Sample({
  sample,
  outputs,
}: {
  readonly sample: Plan['sample'];
  readonly outputs: readonly OutputColumn[];
}) {
  const masked = new Set(outputs.filter(({ mask }) => mask !== null && mask !== undefined).map(({ name }) => name));
  return (
    <Section
      title="Masked sample"
      hint={`${plural(sample.rows.length, 'row')} as they would be delivered. An illustration: not signed.`}
    >
      <Scroll label="Masked sample">
        <Table verticalSpacing={4} className="sample">
          <Table.Thead>
            <Table.Tr>
              {sample.columns.map((name, index) => (
                <Table.Th key={index}>
                  <Plain text={name} />
                  {masked.has(name) && <IconEyeOff size={13} role="img" aria-label="masked" />}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {sample.rows.map((row, rowNo) => (
              <Table.Tr key={rowNo}>
                {row.map((cell, index) => (
                  <Table.Td key={index} className="mono">
                    {cell === null ? (
                      <Text span size="xs" c="dimmed">
                        NULL
                      </Text>
                    ) : (
                      <Plain text={cell.length > maxCell ? `${cell.slice(0, maxCell)}…` : cell} />
                    )}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Section>
  );
}
