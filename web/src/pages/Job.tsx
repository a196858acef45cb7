import { Anchor, Button, Group, Paper, Select, Stack, Table, Tabs, Text } from '@mantine/core';
import { IconEdit } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams, useSearchParams } from 'react-router';
import { ActionButton } from '../components/ActionButton.tsx';
import { Code } from '../components/Code.tsx';
import { Copyable, shortDigest } from '../components/Copyable.tsx';
import { Diff } from '../components/Diff.tsx';
import { Facts } from '../components/Facts.tsx';
import { Goto } from '../components/Goto.tsx';
import { JobEditor } from '../components/JobEditor.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { Page } from '../components/Page.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { useAct } from '../lib/act.ts';
import { api } from '../lib/api.ts';
import { moment } from '../lib/format.ts';
import { authorsText, standingState, type JobText } from '../lib/job.ts';
import { dutiesOf, useWho } from '../lib/who.ts';

const example = `job: my-export
connection: crm
source: |
  select id, name, created_at from customers
chunk: { by: id, rows: 50000 }
output: { format: parquet, to: "file://out/my-export" }
`;

export function JobPage() {
  const { job = '' } = useParams();
  const [view] = useSearchParams();
  if (job === 'new' && view.get('edit') === '1') return <NewJob />;
  return <ExistingJob job={job} />;
}

function NewJob() {
  const who = useWho();
  const connection = Object.entries(who.duties).find(([, duties]) => duties.includes('designer'))?.[0] ?? 'crm';
  return (
    <Page
      title="New job"
      lead="Pushing it is a commit with your name, a plan, and a request that somebody else decides on."
    >
      <JobEditor initial={example.replace('connection: crm', `connection: ${connection}`)} path={undefined} />
    </Page>
  );
}

function ExistingJob({ job }: { readonly job: string }) {
  const query = useQuery({
    queryKey: ['requests', 'jobs', job],
    queryFn: ({ signal }) => api<{ versions: readonly JobText[] }>(`/jobs/${encodeURIComponent(job)}`, { signal }),
  });
  return <Loaded query={query}>{({ versions }) => <Versions job={job} versions={versions} />}</Loaded>;
}

function Versions({ job, versions }: { readonly job: string; readonly versions: readonly JobText[] }) {
  const [view, setView] = useSearchParams();
  const newest = versions[0];
  if (newest === undefined) return null;
  const shown = versions.find((one) => String(one.version) === view.get('version')) ?? newest;
  const isEditing = view.get('edit') === '1';
  const tab = view.get('tab') ?? 'definition';
  const set = (name: string, value: string | undefined) =>
    setView((old) => {
      if (value === undefined) old.delete(name);
      else old.set(name, value);
      return old;
    });
  return (
    <Page
      title={job}
      lead={
        <Group gap="xs">
          <State state={standingState(newest.standing)} />
          <span>
            version {newest.version} on <Goto to={`/connections/${newest.connection}`}>{newest.connection}</Goto>
          </span>
          <Goto to={`/runs?job=${encodeURIComponent(job)}`}>its runs</Goto>
        </Group>
      }
      actions={!isEditing && <JobActions newest={newest} edit={() => set('edit', '1')} />}
    >
      {isEditing ? (
        <JobEditor initial={newest.content} path={newest.path} onCancel={() => set('edit', undefined)} />
      ) : (
        <Tabs value={tab} onChange={(value) => set('tab', value ?? undefined)} keepMounted={false}>
          <Tabs.List mb="md">
            <Tabs.Tab value="definition">Definition</Tabs.Tab>
            <Tabs.Tab value="versions">Versions ({versions.length})</Tabs.Tab>
            <Tabs.Tab value="changes">Changes</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="definition">
            <Definition version={shown} />
          </Tabs.Panel>
          <Tabs.Panel value="versions">
            <VersionTable versions={versions} show={(version) => set('version', String(version))} />
          </Tabs.Panel>
          <Tabs.Panel value="changes">
            <Changes versions={versions} />
          </Tabs.Panel>
        </Tabs>
      )}
    </Page>
  );
}

function Definition({ version }: { readonly version: JobText }) {
  const { standing } = version;
  return (
    <Stack>
      <Paper className="card" p="md">
        <Facts
          facts={[
            ['Version', String(version.version)],
            ['State', <State key="s" state={standingState(standing)} />],
            ['Authors', authorsText(version.authors)],
            ['Pushed', `${moment(version.pushedAt)} by ${version.pushedBy}`],
            ['Commit', <Copyable key="c" text={version.commit} shown={shortDigest(version.commit)} />],
            ['Digest', <Copyable key="d" text={version.contentDigest} shown={shortDigest(version.contentDigest)} />],
            [
              'Request',
              standing === null ? (
                '–'
              ) : (
                <Goto key="r" to={`/requests/${standing.request}`}>
                  {standing.state}
                </Goto>
              ),
            ],
            [
              'Run',
              standing?.run === undefined ? (
                '–'
              ) : (
                <Goto key="u" to={`/runs/${standing.run}`}>
                  {standing.runState}
                </Goto>
              ),
            ],
          ]}
        />
      </Paper>
      <Code text={version.content} language="yaml" label={`Definition, version ${version.version}`} />
    </Stack>
  );
}

function VersionTable({
  versions,
  show,
}: {
  readonly versions: readonly JobText[];
  readonly show: (version: number) => void;
}) {
  const [, setView] = useSearchParams();
  return (
    <Sheet label="Versions" head={['Version', 'State', 'Authors', 'Pushed', 'Commit', '']}>
      {versions.map((one, index) => (
        <Table.Tr key={one.version}>
          <Table.Td>{one.version}</Table.Td>
          <Table.Td>
            <State state={standingState(one.standing)} />
          </Table.Td>
          <Table.Td>{authorsText(one.authors)}</Table.Td>
          <Table.Td>{moment(one.pushedAt)}</Table.Td>
          <Table.Td className="mono">{one.commit.slice(0, 10)}</Table.Td>
          <Table.Td>
            <Group gap="sm" wrap="nowrap">
              <Anchor
                component="button"
                size="sm"
                onClick={() => {
                  show(one.version);
                  setView((old) => {
                    old.set('tab', 'definition');
                    old.set('version', String(one.version));
                    return old;
                  });
                }}
              >
                Show
              </Anchor>
              {versions[index + 1] !== undefined && (
                <Anchor
                  component={Link}
                  size="sm"
                  to={`?tab=changes&from=${versions[index + 1]?.version}&to=${one.version}`}
                >
                  Changes
                </Anchor>
              )}
            </Group>
          </Table.Td>
        </Table.Tr>
      ))}
    </Sheet>
  );
}

function Changes({ versions }: { readonly versions: readonly JobText[] }) {
  const [view, setView] = useSearchParams();
  const find = (name: string) => versions.find((one) => String(one.version) === view.get(name));
  const after = find('to') ?? versions[0];
  const before = find('from') ?? versions[1];
  if (after === undefined || before === undefined)
    return <Text size="sm">There is one version only: nothing to compare it with.</Text>;
  const data = versions.map((one) => ({ value: String(one.version), label: `Version ${one.version}` }));
  const choose = (name: string) => (value: string | null) =>
    setView((old) => {
      if (value !== null) old.set(name, value);
      return old;
    });
  return (
    <Stack>
      <Group>
        <Select
          label="From"
          data={data}
          value={String(before.version)}
          onChange={choose('from')}
          allowDeselect={false}
          w={160}
        />
        <Select
          label="To"
          data={data}
          value={String(after.version)}
          onChange={choose('to')}
          allowDeselect={false}
          w={160}
        />
      </Group>
      {before.content === after.content ? (
        <Text>The two are equal.</Text>
      ) : (
        <Diff
          before={before.content}
          after={after.content}
          label={`Changes from version ${before.version} to version ${after.version}`}
        />
      )}
    </Stack>
  );
}

function JobActions({ newest, edit }: { readonly newest: JobText; readonly edit: () => void }) {
  const who = useWho();
  const navigate = useNavigate();
  const { standing } = newest;
  const ask = useAct<undefined, { request: string }>({
    run: () =>
      api('/jobs', {
        method: 'POST',
        body: { content: newest.content, path: newest.path, message: `Ask for a run of ${newest.job}` },
      }),
    changes: ['requests'],
    after: ({ request }) => void navigate(`/requests/${request}`),
  });
  const mayDesign = (who.duties[newest.connection] ?? []).includes('designer');
  const whyNot = mayDesign
    ? undefined
    : `This needs the duty designer on ${newest.connection}; yours: ${dutiesOf(who).join(', ') || 'none'}.`;
  const isWaiting = standing?.state === 'pending' || standing?.grant === 'open';
  return (
    <>
      {standing !== null && isWaiting ? (
        <Button component={Link} to={`/requests/${standing.request}`} variant="light">
          {standing.state === 'pending' ? 'Its request waits' : 'It is approved'}
        </Button>
      ) : (
        <ActionButton variant="light" why={whyNot} loading={ask.isPending} onClick={() => ask.mutate(undefined)}>
          Ask for a run
        </ActionButton>
      )}
      <ActionButton why={whyNot} onClick={edit} leftSection={<IconEdit size={16} aria-hidden />}>
        Edit
      </ActionButton>
    </>
  );
}
