import { Group, Paper, Stack, Table, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useParams } from 'react-router';
import { Facts } from '../components/Facts.tsx';
import { Goto } from '../components/Goto.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { More } from '../components/More.tsx';
import { OnlyFor } from '../components/OnlyFor.tsx';
import { Page } from '../components/Page.tsx';
import { Plain } from '../components/Plain.tsx';
import { Replay } from '../components/Replay.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { StatementRow } from '../components/StatementRow.tsx';
import { api, withQuery } from '../lib/api.ts';
import { count, moment, span } from '../lib/format.ts';
import type { SessionSummary, Timeline } from '../lib/session.ts';

export function SessionPage() {
  const { id = '' } = useParams();
  return (
    <Page title="Session" lead={<span className="mono break">{id}</span>}>
      <OnlyFor duty="auditor" what="Sessions and their replays">
        <Session id={id} />
      </OnlyFor>
    </Page>
  );
}

function Session({ id }: { readonly id: string }) {
  const [seek, setSeek] = useState<{ readonly ms: number; readonly turn: number }>();
  const query = useQuery({
    queryKey: ['session', id],
    queryFn: ({ signal }) => api<SessionSummary>(`/sessions/${encodeURIComponent(id)}`, { signal }),
  });
  return (
    <Loaded query={query}>
      {(session) => (
        <>
          <Paper className="card" p="md">
            <Overview session={session} />
          </Paper>
          <Replay sessionId={id} startedAt={session.startedAt} seek={seek} />
          <Statements
            id={id}
            show={(at) =>
              setSeek((old) => ({
                ms: Math.max(0, Date.parse(at) - Date.parse(session.startedAt)),
                turn: (old?.turn ?? 0) + 1,
              }))
            }
          />
        </>
      )}
    </Loaded>
  );
}

function Overview({ session }: { readonly session: SessionSummary }) {
  const { startedAt, endedAt, runId } = session;
  return (
    <Facts
      facts={[
        [
          'Person',
          session.principalId === session.human ? session.human : `${session.principalId}, of ${session.human}`,
        ],
        ['Duty', session.duty],
        [
          'Connection',
          <Goto key="c" to={`/connections/${session.connection}`}>
            {session.connection}
          </Goto>,
        ],
        [
          'Run',
          runId === undefined ? (
            'none'
          ) : (
            <Goto key="r" to={`/runs/${runId}`}>
              {runId}
            </Goto>
          ),
        ],
        ['Client says', <Plain key="a" text={session.application === '' ? '–' : session.application} />],
        ['From', session.clientAddress],
        ['Node', session.node],
        ['Began', moment(startedAt)],
        [
          'Lasted',
          endedAt === undefined ? <State key="o" state="open" /> : span(Date.parse(endedAt) - Date.parse(startedAt)),
        ],
        ['Statements', count(session.statements)],
        ['Rows', count(session.rows)],
        ['Cells masked', count(session.maskedCells)],
      ]}
    />
  );
}

function Statements({ id, show }: { readonly id: string; readonly show: (at: string) => void }) {
  const query = useInfiniteQuery({
    queryKey: ['session', id, 'statements'],
    queryFn: ({ pageParam, signal }) =>
      api<Timeline>(withQuery(`/sessions/${encodeURIComponent(id)}/statements`, { from: pageParam }), { signal }),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
  });
  return (
    <Stack gap="xs">
      <Group justify="space-between">
        <Title order={2} size="h4">
          Statements
        </Title>
        <Text size="sm" c="dimmed">
          From the log; texts are scrubbed.
        </Text>
      </Group>
      <Loaded query={query}>
        {({ pages }) => (
          <Sheet
            label="Statements"
            minWidth={860}
            head={['At', 'Statement', 'Verdict', 'Ended', 'Took', 'Rows', 'Masked', '']}
          >
            {pages.flatMap((page) =>
              page.statements.map((statement) => (
                <StatementRow key={statement.logIndex} statement={statement} show={show} />
              )),
            )}
            {pages[0]?.statements.length === 0 && (
              <Table.Tr>
                <Table.Td colSpan={8}>It asked for nothing.</Table.Td>
              </Table.Tr>
            )}
          </Sheet>
        )}
      </Loaded>
      <More {...query} />
    </Stack>
  );
}
