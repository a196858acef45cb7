import { Alert, Group, Paper, Select, Stack, Table, Tabs, Text } from '@mantine/core';
import { IconEdit } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useSearchParams } from 'react-router';
import { ActionButton } from '../components/ActionButton.tsx';
import { Code } from '../components/Code.tsx';
import { Copyable, shortDigest } from '../components/Copyable.tsx';
import { Facts } from '../components/Facts.tsx';
import { Goto } from '../components/Goto.tsx';
import { Labels } from '../components/Labels.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { More } from '../components/More.tsx';
import { Page } from '../components/Page.tsx';
import { Plain } from '../components/Plain.tsx';
import { Section } from '../components/Section.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { RuleChanges } from '../components/RuleChanges.tsx';
import { RulesEditor } from '../components/RulesEditor.tsx';
import { api, withQuery } from '../lib/api.ts';
import { approvalsText, type Labels as LabelSet } from '../lib/connection.ts';
import { moment } from '../lib/format.ts';
import {
  policiesQuery,
  whyNotChangeRules,
  type Policies,
  type PolicyChange,
  type PolicyVersion,
  type RuleSet,
} from '../lib/policy.ts';
import { useWho } from '../lib/who.ts';

export function PoliciesPage() {
  const [view, setView] = useSearchParams();
  const tab = view.get('tab') ?? 'rules';
  const whyNot = whyNotChangeRules(useWho());
  const query = useQuery(policiesQuery);
  return (
    <Page
      title="Policies"
      lead={
        <>
          The rules in force. They are changed here or with <span className="mono">countersign apply</span>; what would
          widen access is a request that somebody else decides on.
        </>
      }
      actions={
        tab === 'edit' ? undefined : (
          <ActionButton
            leftSection={<IconEdit size={16} aria-hidden />}
            variant="default"
            why={whyNot}
            onClick={() => setView({ tab: 'edit' })}
          >
            Change the rules
          </ActionButton>
        )
      }
    >
      <Tabs value={tab} onChange={(value) => setView(value === null ? {} : { tab: value })} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="rules">In force</Tabs.Tab>
          <Tabs.Tab value="history">History</Tabs.Tab>
          {tab === 'edit' && <Tabs.Tab value="edit">Change</Tabs.Tab>}
        </Tabs.List>
        <Tabs.Panel value="rules">
          <Loaded query={query}>{(policies) => <InForce policies={policies} />}</Loaded>
        </Tabs.Panel>
        <Tabs.Panel value="edit">
          <Loaded query={query}>
            {(policies) => <RulesEditor policies={policies} onDone={() => setView({ tab: 'rules' })} />}
          </Loaded>
        </Tabs.Panel>
        <Tabs.Panel value="history">
          <History />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function InForce({ policies }: { readonly policies: Policies }) {
  const { source, digest, version, rules, configurationFile } = policies;
  return (
    <Stack>
      {configurationFile.differs && (
        <Alert color="yellow" variant="light" title="The configuration file says something else">
          <Text size="sm">What was applied counts. The file differs in:</Text>
          <RuleChanges changes={configurationFile.changes} />
        </Alert>
      )}
      <Paper className="card" p="md">
        <Facts
          facts={[
            ['From', version === undefined ? source : `version ${version.number}`],
            ...(version === undefined
              ? []
              : ([
                  ['Applied', `${moment(version.appliedAt)} by ${version.appliedBy}`],
                  ['Why', <Plain key="w" text={version.message === '' ? '–' : version.message} />],
                ] as const)),
            ['Digest', <Copyable key="d" text={digest} shown={shortDigest(digest)} />],
          ]}
        />
      </Paper>
      <Bindings rules={rules} />
      <Workflows rules={rules} />
      <Section
        title="Cedar policies"
        hint={
          rules.policies.defaults
            ? 'Besides the built-in permissions and prohibitions.'
            : 'The built-in permissions are switched off; the prohibitions never are.'
        }
      >
        {rules.policies.files.length === 0 && <Text size="sm">No files of your own.</Text>}
        {rules.policies.files.map(({ name, text }) => (
          <div key={name}>
            <Text size="sm" fw={600} mb={4} className="mono">
              <Plain text={name} />
            </Text>
            <Code text={text} language="cedar" label={`Policy file ${name}`} />
          </div>
        ))}
      </Section>
    </Stack>
  );
}

function Bindings({ rules }: { readonly rules: RuleSet }) {
  return (
    <Section title="Bindings" hint="Which group of the identity provider gives which duty, and where.">
      <Sheet label="Bindings" head={['Group', 'Duties', 'On connections with']} minWidth={420}>
        {rules.bindings.map(({ group, duties, labels = {} }, index) => (
          <Table.Tr key={index}>
            <Table.Td>
              <Plain text={group} />
            </Table.Td>
            <Table.Td>{duties.join(', ')}</Table.Td>
            <Table.Td>
              <LabelsOrAll labels={labels} />
            </Table.Td>
          </Table.Tr>
        ))}
      </Sheet>
    </Section>
  );
}

function LabelsOrAll({ labels = {} }: { readonly labels?: LabelSet | undefined }) {
  return Object.keys(labels).length === 0 ? 'every connection' : <Labels labels={labels} />;
}

/** Whatever else a request has to be like, as the rules say it. */
function narrowing({ kinds: _kinds, labels: _labels, ...rest }: RuleSet['workflows'][number]['match']): string[] {
  return Object.entries(rest).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
}

function Workflows({ rules }: { readonly rules: RuleSet }) {
  return (
    <Section
      title="Workflows"
      hint="The first that matches counts; where none does, one approver who is neither author nor requester."
    >
      {rules.workflows.length === 0 ? (
        <Text size="sm">None of your own.</Text>
      ) : (
        <Sheet label="Workflows" head={['For', 'On connections with', 'Needs']} minWidth={520}>
          {rules.workflows.map((workflow, index) => (
            <Table.Tr key={index}>
              <Table.Td>
                {workflow.name !== undefined && <b>{workflow.name} </b>}
                {workflow.match.kinds?.join(', ') ?? 'everything'}
                {narrowing(workflow.match).map((one) => (
                  <Text key={one} size="xs" className="mono break">
                    {one}
                  </Text>
                ))}
              </Table.Td>
              <Table.Td>
                <LabelsOrAll labels={workflow.match.labels} />
              </Table.Td>
              <Table.Td>{approvalsText(workflow)}</Table.Td>
            </Table.Tr>
          ))}
        </Sheet>
      )}
    </Section>
  );
}

const pageLength = 50;

function History() {
  const query = useInfiniteQuery({
    queryKey: ['requests', 'policies', 'versions'],
    queryFn: ({ pageParam, signal }) =>
      api<{ versions: readonly PolicyVersion[] }>(
        withQuery('/policies/versions', { before: pageParam, limit: pageLength }),
        { signal },
      ),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: ({ versions }) => (versions.length < pageLength ? undefined : versions.at(-1)?.number),
  });
  return (
    <Loaded query={query}>
      {({ pages }) => {
        const versions = pages.flatMap((page) => page.versions);
        return (
          <Stack gap="lg">
            <Sheet label="Versions of the rules" head={['Version', 'Applied', 'By', 'Why', 'Approved as', 'Digest']}>
              {versions.map((one) => (
                <Table.Tr key={one.number}>
                  <Table.Td>{one.number}</Table.Td>
                  <Table.Td>{moment(one.appliedAt)}</Table.Td>
                  <Table.Td>{one.appliedBy}</Table.Td>
                  <Table.Td className="break">
                    <Plain text={one.message} />
                  </Table.Td>
                  <Table.Td>
                    {one.requestId === undefined ? (
                      'no need'
                    ) : (
                      <Goto to={`/requests/${one.requestId}`}>its request</Goto>
                    )}
                  </Table.Td>
                  <Table.Td className="mono">{shortDigest(one.digest)}</Table.Td>
                </Table.Tr>
              ))}
              {versions.length === 0 && (
                <Table.Tr>
                  <Table.Td colSpan={6}>Nothing was applied yet: the configuration file counts.</Table.Td>
                </Table.Tr>
              )}
            </Sheet>
            <More {...query} />
            {versions.length > 1 && <Difference versions={versions} />}
          </Stack>
        );
      }}
    </Loaded>
  );
}

function Difference({ versions }: { readonly versions: readonly PolicyVersion[] }) {
  const [view, setView] = useSearchParams();
  const from = view.get('from') ?? String(versions[1]?.number ?? '');
  const to = view.get('to') ?? String(versions[0]?.number ?? '');
  const query = useQuery({
    queryKey: ['requests', 'policies', 'diff', from, to],
    queryFn: ({ signal }) =>
      api<{ changes: readonly PolicyChange[] }>(withQuery('/policies/diff', { from, to }), { signal }),
  });
  const data = versions.map(({ number }) => ({ value: String(number), label: `Version ${number}` }));
  const choose = (name: string) => (value: string | null) =>
    setView((old) => {
      if (value !== null) old.set(name, value);
      return old;
    });
  return (
    <Section title="What changed">
      <Group>
        <Select label="From" data={data} value={from} onChange={choose('from')} allowDeselect={false} w={150} />
        <Select label="To" data={data} value={to} onChange={choose('to')} allowDeselect={false} w={150} />
      </Group>
      <Loaded query={query}>{({ changes }) => <RuleChanges changes={changes} />}</Loaded>
    </Section>
  );
}
