import { Anchor, Button, Stack, Table, Text, TextInput } from '@mantine/core';
import { IconDatabase } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { Link } from 'react-router';
import { Code } from '../components/Code.tsx';
import { Empty } from '../components/Empty.tsx';
import { Failure } from '../components/Failure.tsx';
import { Inherited } from '../components/Inherited.tsx';
import { Labels } from '../components/Labels.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { Page } from '../components/Page.tsx';
import { Section } from '../components/Section.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { api } from '../lib/api.ts';
import { parseLabels, type Connection, type Inheritance, type Labels as LabelSet } from '../lib/connection.ts';
import { plural } from '../lib/format.ts';

export function ConnectionsPage() {
  const query = useQuery({
    queryKey: ['connections'],
    queryFn: ({ signal }) => api<{ connections: readonly Connection[] }>('/connections', { signal }),
  });
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
      <NewConnection />
    </Page>
  );
}

function NewConnection() {
  const [name, setName] = useState('');
  const [text, setText] = useState('data=personal');
  const labels = parseLabels(text);
  const ask = useMutation<Inheritance, Error, LabelSet>({
    mutationFn: (asked) => api('/connections/inherits', { method: 'POST', body: { labels: asked } }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (labels !== undefined) ask.mutate(labels);
  };
  return (
    <Section title="Try labels" hint="What a new connection with these labels would inherit, before there is one.">
      <form onSubmit={submit}>
        <Stack gap="sm">
          <TextInput
            label="Name"
            placeholder="billing"
            value={name}
            maw={360}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <TextInput
            label="Labels"
            description="name=value, separated by commas"
            value={text}
            maw={520}
            error={labels === undefined ? 'Write name=value, separated by commas.' : undefined}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <Button type="submit" variant="light" loading={ask.isPending} w="fit-content">
            Show what it would inherit
          </Button>
        </Stack>
      </form>
      {ask.error !== null && <Failure error={ask.error} />}
      {ask.data !== undefined && labels !== undefined && (
        <>
          <Inherited inherits={ask.data} />
          <Text size="sm">
            To add it, put this into the gateway&apos;s configuration file; connections, unlike rules, are read when the
            gateway starts.
          </Text>
          <Code
            text={configurationFor(name === '' ? 'billing' : name, labels)}
            language="yaml"
            label="Configuration of the new connection"
          />
        </>
      )}
    </Section>
  );
}

function configurationFor(name: string, labels: LabelSet): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${JSON.stringify(label)}: ${JSON.stringify(value)}`);
  const user = (duty: string) =>
    `      ${duty}: { user: cs_${duty}, password: { env: ${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_${duty.toUpperCase()} } }`;
  return `connections:
  - name: ${JSON.stringify(name)}
    engine: postgres
    host: db.example.com
    database: ${JSON.stringify(name)}
    labels: { ${pairs.join(', ')} }
    tls: { mode: verify-full }
    credentials:
${['gateway', 'designer', 'executor'].map(user).join('\n')}
`;
}
