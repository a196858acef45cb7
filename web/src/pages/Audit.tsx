import { Group, Paper, Table, Text, ThemeIcon, Title } from '@mantine/core';
import { IconAlertTriangle, IconShieldCheck } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useSearchParams } from 'react-router';
import { ApprovalProof } from '../components/ApprovalProof.tsx';
import { ExecutionTable } from '../components/ExecutionTable.tsx';
import { Goto } from '../components/Goto.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { LogVerifier } from '../components/LogVerifier.tsx';
import { More } from '../components/More.tsx';
import { OnlyFor } from '../components/OnlyFor.tsx';
import { Page } from '../components/Page.tsx';
import { Section } from '../components/Section.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { api, withQuery } from '../lib/api.ts';
import type { ExecutionException, ExecutionReport } from '../lib/audit.ts';
import { count, plural } from '../lib/format.ts';

export function AuditPage() {
  const [view] = useSearchParams();
  const run = view.get('run');
  return (
    <Page
      title={run === null ? 'Audit' : 'Was this run approved?'}
      lead={
        run === null ? (
          'Every execution, the approval that it passed, and the proof of it.'
        ) : (
          <Goto to={`/runs/${run}`}>{run}</Goto>
        )
      }
    >
      <OnlyFor duty="auditor" what="The log and its proofs">
        {run === null ? <Executions /> : <ApprovalProof runId={run} />}
      </OnlyFor>
    </Page>
  );
}

function Executions() {
  const query = useInfiniteQuery({
    queryKey: ['audit', 'executions'],
    queryFn: ({ pageParam, signal }) =>
      api<ExecutionReport>(withQuery('/audit/executions', { before: pageParam, limit: 100 }), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.page.next,
    staleTime: 30_000,
  });
  return (
    <Loaded query={query}>
      {({ pages }) => {
        const newest = pages[0];
        const items = pages.flatMap((page) => page.page.items);
        return (
          newest !== undefined && (
            <>
              <Verdict report={newest} />
              <LogVerifier executions={items} />
              {newest.exceptions.length > 0 && <Exceptions exceptions={newest.exceptions} />}
              <ExecutionTable executions={items} />
              <More {...query} />
              {newest.allowedByRule.length > 0 && <Allowed rows={newest.allowedByRule} />}
            </>
          )
        );
      }}
    </Loaded>
  );
}

function Verdict({ report }: { readonly report: ExecutionReport }) {
  const { executions, approved, exceptionCount, complete } = report;
  const isGood = exceptionCount === 0;
  return (
    <Paper className="card" p="lg">
      <Group wrap="nowrap" align="flex-start">
        <ThemeIcon size={48} radius="xl" variant="light" color={isGood ? 'seal' : 'red'} aria-hidden>
          {isGood ? <IconShieldCheck /> : <IconAlertTriangle />}
        </ThemeIcon>
        <div>
          <Title order={2} size="h3">
            {isGood
              ? 'Every execution passed an approval'
              : `${plural(exceptionCount, 'exception')}: not everything passed an approval`}
          </Title>
          <Text>
            {count(approved)} of {plural(executions, 'execution')} passed an approval. Exceptions:{' '}
            {exceptionCount === 0 ? 'none' : count(exceptionCount)}.
          </Text>
          <Text size="sm" c="dimmed">
            {complete
              ? 'As the gateway counts, from its whole log.'
              : 'The gateway is still reading its log: the numbers will grow.'}
          </Text>
        </div>
      </Group>
    </Paper>
  );
}

function Exceptions({ exceptions }: { readonly exceptions: readonly ExecutionException[] }) {
  return (
    <Section title="Exceptions" hint="There must be none.">
      <Sheet label="Exceptions" head={['Who', 'Where', 'What is wrong', 'Entry']}>
        {exceptions.map((one, index) => (
          <Table.Tr key={index}>
            <Table.Td>{one.human ?? 'nobody known'}</Table.Td>
            <Table.Td>{one.connection ?? '–'}</Table.Td>
            <Table.Td>
              {one.problems.map(({ code, message }) => (
                <Text size="sm" key={code}>
                  {message}
                </Text>
              ))}
              {one.runId !== undefined && <Goto to={`/runs/${one.runId}`}>{one.runId}</Goto>}
            </Table.Td>
            <Table.Td>{one.entry === undefined ? 'none' : count(one.entry.index)}</Table.Td>
          </Table.Tr>
        ))}
      </Sheet>
    </Section>
  );
}

function Allowed({ rows }: { readonly rows: ExecutionReport['allowedByRule'] }) {
  return (
    <Section title="Allowed by a rule" hint="Sent without an approval because a policy permits it, in whole days.">
      <Sheet label="Allowed by a rule" head={['Person', 'Connection', 'Duty', 'Policies', 'Statements']}>
        {rows.map((row, index) => (
          <Table.Tr key={index}>
            <Table.Td>{row.human}</Table.Td>
            <Table.Td>{row.connection}</Table.Td>
            <Table.Td>{row.duty}</Table.Td>
            <Table.Td className="mono break">{row.policies}</Table.Td>
            <Table.Td className="num">{count(row.statements)}</Table.Td>
          </Table.Tr>
        ))}
      </Sheet>
    </Section>
  );
}
