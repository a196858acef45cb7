/** The verify button: everything after it happens in this browser. It says what was proved, and what was not. */
import { Alert, Anchor, Button, Group, List, Progress, Stack, Text } from '@mantine/core';
import { IconCheck, IconShieldCheck, IconX } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { checkApproval, ProvenEntries, type ApprovalCheck } from '../lib/approval-check.ts';
import type { Execution } from '../lib/audit.ts';
import { count, plural } from '../lib/format.ts';
import { checkLog, forgetLog, type CheckedLog } from '../lib/log-check.ts';
import { Section } from './Section.tsx';

export interface Verification {
  readonly log: CheckedLog;
  readonly checks: readonly ApprovalCheck[];
  readonly entries: number;
  readonly tookMs: number;
}

export async function verifyApprovals(
  executions: readonly Execution[],
  onProgress: (done: number) => void = () => undefined,
): Promise<Verification> {
  const startedMs = performance.now();
  const log = await checkLog();
  const entries = new ProvenEntries(log.tree, log.checkpoint.root, log.node);
  const checks: ApprovalCheck[] = [];
  for (const execution of executions) {
    checks.push(await checkApproval(execution, entries));
    if (checks.length % 20 === 0) onProgress(checks.length);
  }
  return { log, checks, entries: entries.size, tookMs: performance.now() - startedMs };
}

export function LogVerifier({ executions }: { readonly executions: readonly Execution[] }) {
  const [done, setDone] = useState(0);
  const verify = useMutation({ mutationFn: () => verifyApprovals(executions, setDone) });
  return (
    <Section
      title="Verify in this browser"
      hint="Fetches the signed checkpoint, hash tiles and entries of the log, and checks signature and proofs here. Nothing is asked of the gateway but the log's own files."
      aside={
        <Button
          onClick={() => {
            setDone(0);
            verify.mutate();
          }}
          loading={verify.isPending}
          leftSection={<IconShieldCheck size={18} aria-hidden />}
        >
          Verify {executions.length === 0 ? 'the log' : plural(executions.length, 'execution')}
        </Button>
      }
    >
      {verify.isPending && executions.length > 0 && (
        <Progress value={(100 * done) / executions.length} aria-label="Executions verified" />
      )}
      {verify.error !== null && <NotProved error={verify.error} again={verify.reset} />}
      {verify.data !== undefined && <Proved verification={verify.data} />}
    </Section>
  );
}

export function NotProved({ error, again }: { readonly error: Error; readonly again: () => void }) {
  return (
    <Alert color="red" variant="light" icon={<IconX aria-hidden />} title="Not proved" role="alert">
      <Text size="sm">{error.message}</Text>
      <Text size="sm" mt="xs">
        Keep this message. If the log was moved to a new gateway on purpose, this browser can{' '}
        <Anchor
          component="button"
          inherit
          onClick={() => {
            forgetLog();
            again();
          }}
        >
          forget what it saw
        </Anchor>
        .
      </Text>
    </Alert>
  );
}

export function Proved({ verification: { log, checks, entries, tookMs } }: { readonly verification: Verification }) {
  const bad = checks.filter(({ problems }) => problems.length > 0);
  const { checkpoint, known } = log;
  return (
    <Stack gap="sm" role="status">
      {bad.length > 0 && (
        <Alert
          color="red"
          variant="light"
          icon={<IconX aria-hidden />}
          title={`${plural(bad.length, 'execution')} not proved`}
        >
          <List size="sm">
            {bad.slice(0, 20).map(({ execution, problems }) => (
              <List.Item key={execution.proof.intent.index}>
                Entry {count(execution.proof.intent.index)}: {problems.join('; ')}
              </List.Item>
            ))}
          </List>
        </Alert>
      )}
      <Text fw={600}>Proved here, in {(tookMs / 1_000).toFixed(1)} s</Text>
      <List size="sm" spacing={4} icon={<IconCheck size={16} aria-hidden />}>
        <List.Item>
          The checkpoint of {plural(checkpoint.size, 'entry', 'entries')} is signed by{' '}
          <span className="mono break">{log.verifierKey}</span>.
        </List.Item>
        <List.Item>
          {known === undefined
            ? 'This browser sees this log for the first time; from now on it remembers it.'
            : `The log continues, unchanged, the ${plural(known.size, 'entry', 'entries')} that this browser saw last.`}
        </List.Item>
        {checks.length > 0 && (
          <List.Item>
            {count(checks.length - bad.length)} of {plural(checks.length, 'execution')}: somebody who is neither author
            nor requester approved exactly this before it ran. {plural(entries, 'entry', 'entries')} of the log with
            inclusion proofs say so.
          </List.Item>
        )}
      </List>
      <Text fw={600}>Not proved here</Text>
      <List size="sm" spacing={4}>
        <List.Item>That the log knows everything that ran: compare it with the database&apos;s own log.</List.Item>
        <List.Item>
          That the key is the gateway&apos;s: compare it with the one that was given to you another way. This page, too,
          came from the gateway; <span className="mono">countersign audit verify</span> needs neither.
        </List.Item>
        <List.Item>
          That other people are shown the same log: compare checkpoints, or have a witness sign them.
        </List.Item>
        <List.Item>That two names are two people: the gateway decides that, from the identity provider.</List.Item>
      </List>
      <Group gap="xs">
        <Text size="xs" c="dimmed" className="mono break">
          {checkpoint.note.split('\n').slice(0, 3).join(' ')}
        </Text>
      </Group>
    </Stack>
  );
}
