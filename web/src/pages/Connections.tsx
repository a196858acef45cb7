import { Anchor, Table } from '@mantine/core';
import { IconDatabase } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { Empty } from '../components/Empty.tsx';
import { Labels } from '../components/Labels.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { NewConnection } from '../components/NewConnection.tsx';
import { Page } from '../components/Page.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { api } from '../lib/api.ts';
import type { Connection } from '../lib/connection.ts';
import { plural } from '../lib/format.ts';
import { policiesQuery } from '../lib/policy.ts';

export function ConnectionsPage() {
  const query = useQuery({
    queryKey: ['connections'],
    queryFn: ({ signal }) => api<{ connections: readonly Connection[] }>('/connections', { signal }),
  });
  const policies = useQuery(policiesQuery);
  return (
    <Page
      title="Connections"
      lead="The databases behind the gateway on which you hold a duty. What a connection is like comes from its labels."
    >
      <Loaded query={query}>
        {({ connections }) =>
          connections.length === 0 ? (
            <Empty icon={<IconDatabase />} title="No connections">
              You hold no duty on any. Duties come from groups of the identity provider.
            </Empty>
          ) : (
            <Sheet label="Connections" head={['Name', 'Engine', 'Labels', 'Your duties', 'Masked columns']}>
              {connections.map((one) => (
                <Table.Tr key={one.name}>
                  <Table.Td>
                    <Anchor component={Link} to={`/connections/${one.name}`} fw={600}>
                      {one.name}
                    </Anchor>
                  </Table.Td>
                  <Table.Td>{one.engine}</Table.Td>
                  <Table.Td>
                    <Labels labels={one.labels} />
                  </Table.Td>
                  <Table.Td>{one.duties.join(', ')}</Table.Td>
                  <Table.Td>
                    {one.problem === null ? (
                      plural(one.masks.length, 'column')
                    ) : (
                      <State state="failed" label="not reachable" />
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Sheet>
          )
        }
      </Loaded>
      <Loaded query={policies}>{(rules) => <NewConnection policies={rules} />}</Loaded>
    </Page>
  );
}
