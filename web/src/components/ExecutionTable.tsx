import { Table, Text } from '@mantine/core';
import type { Execution } from '../lib/audit.ts';
import { moment } from '../lib/format.ts';
import { Goto } from './Goto.tsx';
import { Section } from './Section.tsx';
import { Sheet } from './Sheet.tsx';
import { State } from './State.tsx';

export function ExecutionTable({ executions }: { readonly executions: readonly Execution[] }) {
  return (
    <Section title="Executions" hint="What was sent under a grant, newest first, with what approved it.">
      <Sheet label="Executions" head={['At', 'Who', 'What', 'Approved by', 'Proof']} minWidth={720}>
        {executions.map((one) => (
          <Table.Tr key={`${one.proof.intent.node} ${one.proof.intent.index}`}>
            <Table.Td>{moment(one.at)}</Table.Td>
            <Table.Td>
              {one.human ?? 'nobody known'}
              <Text size="xs" c="dimmed">
                on {one.connection}
              </Text>
            </Table.Td>
            <Table.Td>
              {one.runId === undefined ? (
                <Goto to={`/sessions/${one.sessionId}`}>a statement</Goto>
              ) : (
                <>
                  <Goto to={`/runs/${one.runId}`}>a run</Goto>, chunk {one.chunkNo}
                </>
              )}
            </Table.Td>
            <Table.Td>
              {one.problems.length > 0 ? (
                <State state="rejected" label={one.problems[0]?.message ?? 'not approved'} />
              ) : (
                <>
                  {one.proof.decisions.map(({ human }) => human).join(', ')}
                  {one.requestId !== undefined && (
                    <Text size="xs">
                      <Goto to={`/requests/${one.requestId}`}>its request</Goto>
                    </Text>
                  )}
                </>
              )}
            </Table.Td>
            <Table.Td>
              {one.runId === undefined ? (
                <Text size="sm" c="dimmed">
                  entry {one.proof.intent.index}
                </Text>
              ) : (
                <Goto to={`/audit?run=${one.runId}`}>show it</Goto>
              )}
            </Table.Td>
          </Table.Tr>
        ))}
        {executions.length === 0 && (
          <Table.Tr>
            <Table.Td colSpan={5}>Nothing was executed under a grant yet.</Table.Td>
          </Table.Tr>
        )}
      </Sheet>
    </Section>
  );
}
