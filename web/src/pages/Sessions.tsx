import { Anchor, Checkbox, Group, Table, Text, TextInput } from '@mantine/core';
import { IconTerminal2 } from '@tabler/icons-react';
import { useState, type FormEvent } from 'react';
import { Link, useSearchParams } from 'react-router';
import { Empty } from '../components/Empty.tsx';
import { Goto } from '../components/Goto.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { More } from '../components/More.tsx';
import { OnlyFor } from '../components/OnlyFor.tsx';
import { Page } from '../components/Page.tsx';
import { Plain } from '../components/Plain.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { withQuery } from '../lib/api.ts';
import { count, moment, span } from '../lib/format.ts';
import { usePaged } from '../lib/paged.ts';
import type { SessionSummary } from '../lib/session.ts';

const fields = [
  { name: 'human', label: 'Person' },
  { name: 'connection', label: 'Connection' },
  { name: 'run', label: 'Run' },
] as const;

export function SessionsPage() {
  return (
    <Page
      title="Sessions"
      lead="Database sessions through the gateway, newest first. Looking at a replay is itself in the log."
      filters={<Filters />}
    >
      <OnlyFor duty="auditor" what="Sessions and their replays">
        <List />
      </OnlyFor>
    </Page>
  );
}

function Filters() {
  const [filter, setFilter] = useSearchParams();
  const [typed, setTyped] = useState<Readonly<Record<string, string>>>(() => Object.fromEntries(filter));
  const apply = (event?: FormEvent) => {
    event?.preventDefault();
    setFilter(Object.fromEntries(Object.entries(typed).filter(([, value]) => value !== '')));
  };
  return (
    <form onSubmit={apply} onBlur={() => apply()}>
      <Group align="flex-end" gap="sm">
        {fields.map(({ name, label }) => (
          <TextInput
            key={name}
            label={label}
            size="sm"
            w={170}
            value={typed[name] ?? ''}
            onChange={(event) => setTyped({ ...typed, [name]: event.currentTarget.value })}
          />
        ))}
        <TextInput
          label="Since (UTC)"
          type="datetime-local"
          size="sm"
          value={typed['from'] ?? ''}
          onChange={(event) => setTyped({ ...typed, from: event.currentTarget.value })}
        />
        <Checkbox
          label="Open ones only"
          checked={filter.get('open') === 'true'}
          pb={8}
          onChange={(event) => {
            const next = { ...typed, open: event.currentTarget.checked ? 'true' : '' };
            setTyped(next);
            setFilter(Object.fromEntries(Object.entries(next).filter(([, value]) => value !== '')));
          }}
        />
        <input type="submit" hidden />
      </Group>
    </form>
  );
}

function List() {
  const [filter] = useSearchParams();
  const asked = Object.fromEntries(filter);
  const from = asked['from'] === undefined ? undefined : `${asked['from']}:00Z`;
  const query = usePaged<{ sessions: readonly SessionSummary[]; next: string | null }>(
    ['sessions', 'list', asked],
    (before) =>
      withQuery('/sessions', {
        human: asked['human'],
        connection: asked['connection'],
        run: asked['run'],
        open: asked['open'],
        from,
        before,
        limit: 50,
      }),
  );
  return (
    <>
      <Loaded query={query}>
        {({ pages }) => {
          const sessions = pages.flatMap((page) => page.sessions);
          return sessions.length === 0 ? (
            <Empty icon={<IconTerminal2 />} title="No sessions">
              None match, on the connections where you are an auditor.
            </Empty>
          ) : (
            <Sheet
              label="Sessions"
              minWidth={860}
              head={[
                'Session',
                'Person',
                'Connection',
                'Client',
                'Statements',
                'Rows',
                'Cells masked',
                'Began',
                'Lasted',
              ]}
            >
              {sessions.map((session) => (
                <SessionRow key={session.id} session={session} />
              ))}
            </Sheet>
          );
        }}
      </Loaded>
      <More {...query} />
    </>
  );
}

function SessionRow({ session }: { readonly session: SessionSummary }) {
  const { id, principalId, human, connection, runId, startedAt, endedAt } = session;
  return (
    <Table.Tr>
      <Table.Td>
        <Anchor component={Link} to={`/sessions/${id}`} size="sm" className="mono">
          {id}
        </Anchor>
      </Table.Td>
      <Table.Td>
        {principalId}
        <Text size="xs" c="dimmed">
          {principalId === human ? session.duty : `of ${human}, ${session.duty}`}
        </Text>
      </Table.Td>
      <Table.Td>
        {connection}
        {runId !== undefined && (
          <Text size="xs" c="dimmed">
            in a <Goto to={`/runs/${runId}`}>run</Goto>
          </Text>
        )}
      </Table.Td>
      <Table.Td className="break">
        <Plain text={session.application === '' ? '–' : session.application} />
      </Table.Td>
      <Table.Td className="num">{count(session.statements)}</Table.Td>
      <Table.Td className="num">{count(session.rows)}</Table.Td>
      <Table.Td className="num">{count(session.maskedCells)}</Table.Td>
      <Table.Td>{moment(startedAt)}</Table.Td>
      <Table.Td>
        {endedAt === undefined ? <State state="open" /> : span(Date.parse(endedAt) - Date.parse(startedAt))}
      </Table.Td>
    </Table.Tr>
  );
}
