import { Alert, Anchor, Group, Paper, Progress, Stack, Table, Text, Title } from '@mantine/core';
import { useDisclosure, useInterval } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useParams } from 'react-router';
import { ChunkGrid } from '../components/ChunkGrid.tsx';
import { Facts } from '../components/Facts.tsx';
import { Goto } from '../components/Goto.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { Page } from '../components/Page.tsx';
import { RunActions } from '../components/RunActions.tsx';
import { RunManifest } from '../components/RunManifest.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { Throughput } from '../components/Throughput.tsx';
import { api } from '../lib/api.ts';
import { bytes, count, moment, plural, span } from '../lib/format.ts';
import { chunkStates, etaMs, isOpen, rowRate, type ChunkState, type RunProgress } from '../lib/run.ts';
import { dutiesOf, useWho } from '../lib/who.ts';

const liveMs = 1_000;

export function RunPage() {
  const { id = '' } = useParams();
  const query = useQuery({
    queryKey: ['runs', id, 'progress'],
    queryFn: ({ signal }) => api<RunProgress>(`/runs/${encodeURIComponent(id)}/progress`, { signal }),
    refetchInterval: ({ state: { data } }) => (data === undefined || isOpen(data.state) ? liveMs : false),
  });
  return (
    <Loaded query={query}>
      {(run) => (
        <Page
          title={`${run.job}, version ${run.jobVersion}`}
          lead={
            <Group gap="xs">
              <State state={run.state} />
              <span className="mono break">{run.runId}</span>
            </Group>
          }
          actions={<RunActions run={run} />}
        >
          <Overview run={run} />
          <Paper className="card" p="md">
            <Title order={2} size="h4" mb="sm">
              Chunks
            </Title>
            <ChunkGrid run={run} />
          </Paper>
          <Paper className="card" p="md">
            <Title order={2} size="h4" mb="sm">
              Throughput
            </Title>
            <Throughput run={run} />
          </Paper>
          {run.failureCount > 0 && <Failures run={run} />}
          {run.state === 'completed' && <RunManifest run={run} />}
        </Page>
      )}
    </Loaded>
  );
}

const barColors: Readonly<Record<ChunkState, string>> = {
  sealed: 'seal',
  streaming: 'blue',
  leased: 'blue.3',
  planned: 'gray',
  failed: 'pink',
  blocked: 'pink.9',
};

/** Redraws what depends on the time. */
function useNow(isLive: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useInterval(() => setNow(Date.now()), liveMs, { autoInvoke: isLive });
  return now;
}

function Overview({ run }: { readonly run: RunProgress }) {
  const who = useWho();
  const now = useNow(isOpen(run.state));
  const rate = run.state === 'running' ? rowRate(run, now) : undefined;
  const left = etaMs(run, now);
  const endMs = run.finishedAt === null ? now : Date.parse(run.finishedAt);
  const done = run.chunks.sealed;
  return (
    <Paper className="card" p="md">
      <Stack gap="md">
        <Group justify="space-between">
          <Text fw={600}>
            {count(done)} of {plural(run.chunkCount, 'chunk')} sealed
          </Text>
          <Text size="sm" c="dimmed">
            {run.state === 'running' && (left === undefined ? 'Time left: not known yet' : `About ${span(left)} left`)}
            {run.state === 'paused' && 'Paused: what is being read goes on to its end'}
            {run.finishedAt !== null && `Took ${span(endMs - Date.parse(run.createdAt))}`}
          </Text>
        </Group>
        <Progress.Root size="lg" aria-hidden>
          {chunkStates
            .filter(({ state }) => state !== 'planned')
            .map(({ state }) => (
              <Progress.Section
                key={state}
                value={(100 * run.chunks[state]) / run.chunkCount}
                color={barColors[state]}
              />
            ))}
        </Progress.Root>
        {run.failure !== null && (
          <Alert color="red" variant="light" title="How it ended">
            {run.failure}
          </Alert>
        )}
        {run.snapshot === 'mixed' && (
          <Text size="sm">
            Snapshot: mixed. Its chunks were read from more than one state of the data, and the manifest says so.
          </Text>
        )}
        <Facts
          facts={[
            ['Rows delivered', `${count(run.rows)} of about ${count(run.estimatedRows)}`],
            ['Delivered', bytes(run.bytes)],
            ['Cells masked', count(run.maskedCells)],
            ...(rate === undefined ? [] : [['Now', `${count(Math.round(rate))} rows/s`] as const]),
            ['Executor', run.executorId],
            [
              'Connection',
              <Goto key="c" to={`/connections/${run.connection}`}>
                {run.connection}
              </Goto>,
            ],
            [
              'Job',
              <Goto key="j" to={`/jobs/${run.job}`}>
                {run.job}
              </Goto>,
            ],
            ['Began', moment(run.createdAt)],
            ['Written as', `${run.output.format} to ${run.output.to}`],
            [
              'Approval',
              run.request === null ? (
                '–'
              ) : (
                <Goto key="r" to={`/requests/${run.request}`}>
                  the request that was approved
                </Goto>
              ),
            ],
            ...(dutiesOf(who).includes('auditor')
              ? [
                  [
                    'Proof',
                    <Goto key="p" to={`/audit?run=${run.runId}`}>
                      show that this run was approved
                    </Goto>,
                  ] as const,
                  [
                    'Sessions',
                    <Goto key="s" to={`/sessions?run=${run.runId}`}>
                      the sessions that read it
                    </Goto>,
                  ] as const,
                ]
              : []),
          ]}
        />
      </Stack>
    </Paper>
  );
}

function Failures({ run }: { readonly run: RunProgress }) {
  const [isAll, { toggle }] = useDisclosure(false);
  const shown = isAll ? run.failures : run.failures.slice(0, 10);
  return (
    <Stack gap="xs">
      <Title order={2} size="h4">
        What went wrong
      </Title>
      <Sheet label="Chunks that failed" head={['Chunk', 'State now', 'Attempt', 'Why']}>
        {shown.map((one) => (
          <Table.Tr key={one.chunkNo}>
            <Table.Td>{one.chunkNo}</Table.Td>
            <Table.Td>
              <State state={one.state} />
            </Table.Td>
            <Table.Td>{one.attempt}</Table.Td>
            <Table.Td className="break">{one.reason}</Table.Td>
          </Table.Tr>
        ))}
      </Sheet>
      {run.failures.length > shown.length && (
        <Anchor component="button" size="sm" onClick={toggle}>
          Show {run.failures.length} of {count(run.failureCount)}
        </Anchor>
      )}
    </Stack>
  );
}
