/** What labels bring with them: masks, duties, approvals. */
import { List, Stack, Table, Text } from '@mantine/core';
import { approvalsText, labelsText, maskText, type Inheritance } from '../lib/connection.ts';
import { span } from '../lib/format.ts';
import { Sheet } from './Sheet.tsx';

const kinds: Readonly<Record<string, string>> = {
  job: 'A chunk job',
  statement: 'A held statement',
  session: 'A session',
};

export function Inherited({ inherits }: { readonly inherits: Inheritance }) {
  const { masking, bindings, workflows } = inherits;
  return (
    <Stack>
      <div>
        <Text fw={600} size="sm" mb={4}>
          Masking
        </Text>
        {masking.length === 0 ? (
          <Text size="sm">No template applies: nothing would be masked.</Text>
        ) : (
          <List size="sm" spacing={4}>
            {masking.map((template) => (
              <List.Item key={template.name}>
                <b>{template.name}</b> (
                {Object.keys(template.appliesTo).length === 0 ? 'every connection' : labelsText(template.appliesTo)}):{' '}
                {template.columns.map(({ match, mask }) => `${match} ${maskText(mask)}`).join(', ') || 'no columns'};{' '}
                {template.detectors.length === 0
                  ? 'no detectors'
                  : `detects ${template.detectors.map(({ detect }) => (typeof detect === 'string' ? detect : detect.name)).join(', ')}`}
              </List.Item>
            ))}
          </List>
        )}
      </div>
      <div>
        <Text fw={600} size="sm" mb={4}>
          Duties
        </Text>
        <List size="sm" spacing={4}>
          {bindings.map(({ group, duties }, index) => (
            <List.Item key={index}>
              Group <b>{group}</b>: {duties.join(', ')}
            </List.Item>
          ))}
        </List>
      </div>
      <Sheet label="Approvals" head={['What is asked', 'Needs', 'Waits at most', 'Then usable for']} minWidth={520}>
        {workflows.map(({ kind, workflow }) => (
          <Table.Tr key={kind}>
            <Table.Td>{kinds[kind] ?? kind}</Table.Td>
            <Table.Td>
              {approvalsText(workflow)}
              {workflow.name !== undefined && (
                <Text size="xs" c="dimmed">
                  workflow {workflow.name}
                </Text>
              )}
            </Table.Td>
            <Table.Td>{span(workflow.expiresMs)}</Table.Td>
            <Table.Td>{span(workflow.grantExpiresMs)}</Table.Td>
          </Table.Tr>
        ))}
      </Sheet>
    </Stack>
  );
}
