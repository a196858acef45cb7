import { Alert, Group, Paper, Table, Text } from '@mantine/core';
import { IconPlugConnected } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useParams } from 'react-router';
import { ActionButton } from '../components/ActionButton.tsx';
import { Facts } from '../components/Facts.tsx';
import { Failure } from '../components/Failure.tsx';
import { Goto } from '../components/Goto.tsx';
import { Inherited } from '../components/Inherited.tsx';
import { Labels } from '../components/Labels.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { Page } from '../components/Page.tsx';
import { RemoveConnection } from '../components/RemoveConnection.tsx';
import { Section } from '../components/Section.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { api } from '../lib/api.ts';
import type { ConnectionDetail } from '../lib/connection.ts';
import { count } from '../lib/format.ts';

interface Reached {
  readonly systemIdentifier: string;
  readonly serverVersion: string;
  readonly tookMs: number;
}

export function ConnectionPage() {
  const { name = '' } = useParams();
  const query = useQuery({
    queryKey: ['connections', name],
    queryFn: ({ signal }) => api<ConnectionDetail>(`/connections/${encodeURIComponent(name)}`, { signal }),
  });
  return <Loaded query={query}>{(connection) => <Shown connection={connection} />}</Loaded>;
}

function Shown({ connection }: { readonly connection: ConnectionDetail }) {
  const { name, engine, labels, target, duties, masks, problem, origin, inherits } = connection;
  const test = useMutation<Reached>({
    mutationFn: () => api(`/connections/${encodeURIComponent(name)}/test`, { method: 'POST', body: {} }),
  });
  const whyNot = duties.some((duty) => duty === 'admin' || duty === 'approver')
    ? undefined
    : `This needs the duty admin or approver on ${name}; yours: ${duties.join(', ')}.`;
  return (
    <Page
      title={name}
      lead={<Labels labels={labels} />}
      actions={
        <Group gap="xs">
          <RemoveConnection name={name} origin={origin} />
          <ActionButton
            variant="default"
            why={whyNot}
            loading={test.isPending}
            onClick={() => test.mutate()}
            leftSection={<IconPlugConnected size={16} aria-hidden />}
          >
            Test the connection
          </ActionButton>
        </Group>
      }
    >
      {test.error !== null && <Failure error={test.error} />}
      {test.data !== undefined && (
        <Alert color="seal" variant="light" title="The target answers" role="status">
          PostgreSQL {test.data.serverVersion}, system {test.data.systemIdentifier}, after {count(test.data.tookMs)} ms.
        </Alert>
      )}
      {problem !== null && (
        <Alert color="red" variant="light" title="The target could not be asked">
          <Text size="sm">{problem.message}</Text>
          {problem.hint !== undefined && <Text size="sm">{problem.hint}</Text>}
        </Alert>
      )}
      <Paper className="card" p="md">
        <Facts
          facts={[
            ['Engine', engine],
            ['Address', `${target.host}:${target.port}`],
            ['Database', target.database],
            ['TLS', target.tls],
            ['Stands in', origin === 'file' ? 'the configuration file' : 'the rules'],
            ['Your duties', duties.join(', ')],
            ...(duties.includes('auditor')
              ? [
                  [
                    'Sessions',
                    <Goto key="s" to={`/sessions?connection=${encodeURIComponent(name)}`}>
                      its sessions
                    </Goto>,
                  ] as const,
                ]
              : []),
          ]}
        />
      </Paper>
      <Section
        title="What it inherits"
        hint="From its labels alone: a new connection with the same labels has the same."
      >
        <Inherited inherits={inherits} />
      </Section>
      <Section title="Masked columns" hint="As the rules reach into the target's catalogue now.">
        {masks.length === 0 ? (
          <Text size="sm">
            {problem === null ? 'No column matches a rule.' : 'Not known while the target cannot be asked.'}
          </Text>
        ) : (
          <Sheet label="Masked columns" head={['Column', 'Mask', 'Rule']} minWidth={420}>
            {masks.map((one) => (
              <Table.Tr key={one.column}>
                <Table.Td className="mono break">{one.column}</Table.Td>
                <Table.Td>{one.mask}</Table.Td>
                <Table.Td className="mono">{one.rule}</Table.Td>
              </Table.Tr>
            ))}
          </Sheet>
        )}
      </Section>
    </Page>
  );
}
