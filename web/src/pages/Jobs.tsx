import { Anchor, Button, Table, Text } from '@mantine/core';
import { IconFileCode, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { Empty } from '../components/Empty.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { Page } from '../components/Page.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { api } from '../lib/api.ts';
import { moment } from '../lib/format.ts';
import { authorsText, standingState, type JobVersion } from '../lib/job.ts';
import { dutiesOf, useWho } from '../lib/who.ts';

export function JobsPage() {
  const who = useWho();
  const query = useQuery({
    queryKey: ['requests', 'jobs'],
    queryFn: ({ signal }) => api<{ jobs: readonly JobVersion[] }>('/jobs', { signal }),
  });
  const isDesigner = dutiesOf(who).includes('designer');
  return (
    <Page
      title="Jobs"
      lead="Definitions of what is read in chunks, and what became of their newest versions."
      actions={
        isDesigner && (
          <Button component={Link} to="/jobs/new?edit=1" leftSection={<IconPlus size={16} aria-hidden />}>
            New job
          </Button>
        )
      }
    >
      <Loaded query={query}>
        {({ jobs }) =>
          jobs.length === 0 ? (
            <Empty icon={<IconFileCode />} title="No jobs">
              A designer pushes one here or with <span className="mono">countersign jobs push FILE</span>
            </Empty>
          ) : (
            <Sheet label="Jobs" head={['Job', 'Connection', 'Newest', 'State', 'Authors', 'Pushed']}>
              {jobs.map((job) => (
                <Table.Tr key={job.job}>
                  <Table.Td>
                    <Anchor component={Link} to={`/jobs/${job.job}`} fw={600}>
                      {job.job}
                    </Anchor>
                  </Table.Td>
                  <Table.Td>{job.connection}</Table.Td>
                  <Table.Td>version {job.version}</Table.Td>
                  <Table.Td>
                    <State state={standingState(job.standing)} />
                  </Table.Td>
                  <Table.Td>
                    <Text size="sm" lineClamp={2}>
                      {authorsText(job.authors)}
                    </Text>
                  </Table.Td>
                  <Table.Td>{moment(job.pushedAt)}</Table.Td>
                </Table.Tr>
              ))}
            </Sheet>
          )
        }
      </Loaded>
    </Page>
  );
}
