import { Anchor, Select, Table, Text } from '@mantine/core';
import { IconPlayerPlay } from '@tabler/icons-react';
import { Link, useSearchParams } from 'react-router';
import { Empty } from '../components/Empty.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { More } from '../components/More.tsx';
import { Page } from '../components/Page.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { withQuery } from '../lib/api.ts';
import { moment, span } from '../lib/format.ts';
import { usePaged } from '../lib/paged.ts';
import type { RunSummary } from '../lib/run.ts';

const states = ['running', 'paused', 'completed', 'failed', 'killed'];

export function RunsPage() {
  const [filter, setFilter] = useSearchParams();
  const state = filter.get('state') ?? undefined;
  const job = filter.get('job') ?? undefined;
  const query = usePaged<{ runs: readonly RunSummary[]; next: string | null }>(
    ['runs', 'list', { state, job }],
    (before) => withQuery('/runs', { state, job, before, limit: 50 }),
  );
  return (
    <Page
      title="Runs"
      lead={
        job === undefined ? 'Approved jobs as they were executed, newest first.' : `Of the job ${job}, newest first.`
      }
      filters={
        <Select
          aria-label="State"
          placeholder="Every state"
          data={states}
          value={state ?? null}
          clearable
          w={180}
          onChange={(value) =>
            setFilter((old) => {
              if (value === null) old.delete('state');
              else old.set('state', value);
              return old;
            })
          }
        />
      }
    >
      <Loaded query={query}>
        {({ pages }) => {
          const runs = pages.flatMap((page) => page.runs);
          return runs.length === 0 ? (
            <Empty icon={<IconPlayerPlay />} title="No runs">
              A run begins when an executor uses an approval: <span className="mono">countersign run JOB</span>
            </Empty>
          ) : (
            <Sheet label="Runs" head={['Run', 'Job', 'Connection', 'Executor', 'State', 'Began', 'Took']}>
              {runs.map((run) => (
                <RunRow key={run.id} run={run} />
              ))}
            </Sheet>
          );
        }}
      </Loaded>
      <More {...query} />
    </Page>
  );
}

function RunRow({ run }: { readonly run: RunSummary }) {
  const endMs = run.finished_at === null ? Date.now() : Date.parse(run.finished_at);
  return (
    <Table.Tr>
      <Table.Td>
        <Anchor component={Link} to={`/runs/${run.id}`} size="sm" className="mono">
          {run.id}
        </Anchor>
      </Table.Td>
      <Table.Td>
        <Anchor component={Link} to={`/jobs/${run.job}`} size="sm">
          {run.job}
        </Anchor>{' '}
        <Text span size="xs" c="dimmed">
          version {run.job_version}
        </Text>
      </Table.Td>
      <Table.Td>{run.connection}</Table.Td>
      <Table.Td>{run.executor_id}</Table.Td>
      <Table.Td>
        <State state={run.state} />
      </Table.Td>
      <Table.Td>{moment(run.created_at)}</Table.Td>
      <Table.Td>{span(endMs - Date.parse(run.created_at))}</Table.Td>
    </Table.Tr>
  );
}
