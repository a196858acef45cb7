/** One run: the entries of the log that say who asked, who approved, and that it ran afterwards; proved when the page opens. */
import { Loader, Table, Text, Timeline } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, withQuery } from '../lib/api.ts';
import type { ApprovalCheck } from '../lib/approval-check.ts';
import type { Execution, ExecutionReport } from '../lib/audit.ts';
import { count, moment, plural } from '../lib/format.ts';
import type { RunProgress } from '../lib/run.ts';
import { Failure } from './Failure.tsx';
import { Loaded } from './Loaded.tsx';
import { NotProved, Proved, verifyApprovals } from './LogVerifier.tsx';
import { Plain } from './Plain.tsx';
import { Section } from './Section.tsx';
import { Sheet } from './Sheet.tsx';

const pageLength = 1_000;

/** Executions of one run: those of its time, a page after the other. */
async function executionsOf(runId: string, signal: AbortSignal): Promise<readonly Execution[]> {
  const run = await api<RunProgress>(`/runs/${encodeURIComponent(runId)}/progress`, { signal });
  const to = run.finishedAt === null ? undefined : new Date(Date.parse(run.finishedAt) + 60_000).toISOString();
  const found: Execution[] = [];
  let before: string | undefined;
  do {
    const path = withQuery('/audit/executions', { from: run.createdAt, to, before, limit: pageLength });
    const { page } = await api<ExecutionReport>(path, { signal });
    found.push(...page.items.filter((one) => one.runId === runId));
    before = page.next;
  } while (before !== undefined);
  return found;
}

export function ApprovalProof({ runId }: { readonly runId: string }) {
  const query = useQuery({
    queryKey: ['audit', runId],
    queryFn: ({ signal }) => executionsOf(runId, signal),
  });
  return (
    <Loaded query={query}>
      {(executions) =>
        executions.length === 0 ? (
          <Text>Nothing of this run was executed yet, as far as the log goes.</Text>
        ) : (
          <Checked runId={runId} executions={executions} />
        )
      }
    </Loaded>
  );
}

function Checked({ runId, executions }: { readonly runId: string; readonly executions: readonly Execution[] }) {
  const query = useQuery({
    queryKey: ['verification', runId, executions.length],
    queryFn: () => verifyApprovals(executions),
    staleTime: Infinity,
    retry: false,
  });
  if (query.error !== null) return <NotProved error={query.error} again={() => void query.refetch()} />;
  if (query.data === undefined) return <Loader aria-label="Verifying" />;
  const { checks } = query.data;
  const bad = checks.filter(({ problems }) => problems.length > 0).length;
  const first = checks.at(-1);
  return (
    <>
      {bad > 0 ? (
        <Failure error={new Error(`${plural(bad, 'execution')} of this run cannot be proved to have been approved.`)} />
      ) : (
        <Section
          title="Yes: every execution of this run was approved before"
          hint={`${plural(checks.length, 'execution')}, one for each chunk that was read.`}
        >
          {first !== undefined && <Story check={first} />}
        </Section>
      )}
      <Section title="What was checked">
        <Proved verification={query.data} />
      </Section>
    </>
  );
}

const members = ['human', 'principal', 'request', 'grant', 'verdict', 'comment', 'connection', 'chunk', 'digest'];

/** Entries as they were proved, in their order. */
function Story({ check }: { readonly check: ApprovalCheck }) {
  const steps = check.steps.toSorted((a, b) => a.index - b.index);
  return (
    <Timeline bulletSize={16} lineWidth={2} active={steps.length}>
      {steps.map(({ what, index, entry }) => (
        <Timeline.Item key={index} title={what}>
          <Text size="xs" c="dimmed">
            {moment(String(entry['at']))}, entry {count(index)}
          </Text>
          <Sheet label={what} head={[]} minWidth={280}>
            {members
              .filter((name) => ['string', 'number'].includes(typeof entry[name]) && entry[name] !== '')
              .map((name) => (
                <Table.Tr key={name}>
                  <Table.Th scope="row" fz="xs" w={110}>
                    {name}
                  </Table.Th>
                  <Table.Td className="mono break">
                    <Plain text={String(entry[name])} />
                  </Table.Td>
                </Table.Tr>
              ))}
          </Sheet>
        </Timeline.Item>
      ))}
    </Timeline>
  );
}
