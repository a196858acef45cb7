/** The decision: how many are needed, what you may do, and for every button that is disabled the reason beside it. */
import { Alert, Button, Group, Progress, Stack, Text, Textarea, Title } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconCheck, IconLock, IconX } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useId, useRef, useState } from 'react';
import type { DigestCheck } from '../../lib/digest.ts';
import { moment, span } from '../../lib/format.ts';
import { isTyping } from '../../lib/keys.ts';
import { useNow } from '../../lib/now.ts';
import { decide, type RequestDetail } from '../../lib/requests.ts';
import { Failure } from '../Failure.tsx';
import { Plain } from '../Plain.tsx';
import { State } from '../State.tsx';
import { BreakGlassForm, ReviewForm } from './BreakGlass.tsx';
import { Steps } from './Steps.tsx';
import { TemplateForm } from './TemplateForm.tsx';

interface Parts {
  readonly request: RequestDetail;
  readonly check: DigestCheck;
}

type Decision = 'approve' | 'reject' | 'withdraw';

const done: Record<Decision, string> = { approve: 'Approved', reject: 'Rejected', withdraw: 'Withdrawn' };
const maxComment = 4_000;

export function DecisionPanel({ request, check }: Parts) {
  const titleId = useId();
  return (
    <Stack component="section" aria-labelledby={titleId} className="card section decision" gap="sm">
      <Group justify="space-between">
        <Title order={2} size="h4" id={titleId}>
          Decision
        </Title>
        <State state={request.state} />
      </Group>
      <Count request={request} />
      <WhoDecides request={request} />
      <Steps steps={request.steps ?? []} />
      {request.state === 'pending' ? <Choice request={request} check={check} /> : <Outcome request={request} />}
      <ReviewForm request={request} />
    </Stack>
  );
}

function Count({ request: { approvalsGiven, approvalsNeeded, state, expiresAt } }: Pick<Parts, 'request'>) {
  const now = useNow(1_000);
  const leftMs = new Date(expiresAt).getTime() - now;
  return (
    <div>
      <Progress.Root size="sm" aria-hidden>
        <Progress.Section value={(100 * approvalsGiven) / Math.max(1, approvalsNeeded)} />
      </Progress.Root>
      <Group justify="space-between" mt={4}>
        <Text size="sm">
          {approvalsGiven} of {approvalsNeeded} {approvalsNeeded === 1 ? 'approval' : 'approvals, by different people'}
        </Text>
        {state === 'pending' && (
          <Text size="sm" c="dimmed" title={moment(expiresAt)}>
            {leftMs > 0 ? `${span(leftMs)} left` : 'time is up'}
          </Text>
        )}
      </Group>
    </div>
  );
}

/** For whoever waits for it. */
function WhoDecides({ request }: Pick<Parts, 'request'>) {
  const { state, kind, connection, approvalsGiven, approvalsNeeded, you, steps = [] } = request;
  if (state !== 'pending' || you.may.includes('approve')) return null;
  const left = Math.max(1, approvalsNeeded - approvalsGiven);
  const groups = steps.find((step) => step.state === 'open')?.deciders;
  return (
    <Text size="sm" className="break">
      It waits for {left === 1 ? 'one approval' : `${left} approvals`} more, by{' '}
      {left === 1 ? 'somebody else' : 'others'} with the duty{' '}
      {kind === 'policy' ? 'approver or admin on every connection that it touches' : `approver on ${connection}`}
      {groups !== undefined && groups.length > 0 && (
        <>
          {' in '}
          <Plain text={groups.join(' or ')} />
        </>
      )}
      .
    </Text>
  );
}

function useDecide(request: RequestDetail) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ action, comment }: { action: Decision; comment: string }) => decide(request.id, action, comment),
    onSuccess: (answer, { action }) =>
      notifications.show({
        title:
          action === 'approve' && answer.state === 'pending' ? 'Recorded; more approvals are needed' : done[action],
        message: request.title,
        color: action === 'reject' ? 'red' : 'seal',
      }),
    onSettled: () => client.invalidateQueries({ queryKey: ['requests'] }),
  });
}

function Choice({ request, check }: Parts) {
  const [comment, setComment] = useState('');
  const [isMissing, setMissing] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const reasonId = useId();
  const { mutate, isPending, variables, error } = useDecide(request);
  const { may } = request.you;
  const blocked = check.verdict === 'equal' ? undefined : (check.problem ?? 'the digest is being computed …');
  const mayDecide = may.includes('approve') || may.includes('reject');
  const reason = reasonFor(request, 'approve') ?? blocked;
  useCommentKey(field);
  const act = (action: Decision) => {
    if (action === 'reject' && comment.trim() === '') {
      setMissing(true);
      field.current?.focus();
      return;
    }
    mutate({ action, comment });
  };
  const busy = (action: Decision) => isPending && variables.action === action;
  return (
    <Stack gap="sm">
      {mayDecide && (
        <Textarea
          ref={field}
          label="Comment"
          description="Needed to reject. It is kept in the log and shown to whoever asked."
          autosize
          minRows={2}
          maxRows={8}
          maxLength={maxComment}
          value={comment}
          error={isMissing ? 'Say why: a rejection needs a reason' : undefined}
          onChange={(event) => {
            setComment(event.currentTarget.value);
            setMissing(false);
          }}
        />
      )}
      <Group grow gap="xs">
        <Button
          leftSection={<IconCheck size={18} aria-hidden />}
          disabled={!may.includes('approve') || blocked !== undefined || isPending}
          loading={busy('approve')}
          aria-describedby={reason === undefined ? undefined : reasonId}
          onClick={() => act('approve')}
        >
          Approve
        </Button>
        <Button
          variant="outline"
          color="red"
          leftSection={<IconX size={18} aria-hidden />}
          disabled={!may.includes('reject') || isPending}
          loading={busy('reject')}
          aria-describedby={reason === undefined ? undefined : reasonId}
          onClick={() => act('reject')}
        >
          Reject
        </Button>
      </Group>
      {reason !== undefined && (
        <Alert
          id={reasonId}
          color="yellow"
          icon={<IconLock aria-hidden />}
          title="You cannot approve this"
          className="why-not"
        >
          <Plain text={reason} />
        </Alert>
      )}
      {may.includes('approve') && blocked === undefined && request.evidence.template !== undefined && (
        <TemplateForm request={request} offer={request.evidence.template} comment={comment} />
      )}
      {may.includes('break-glass') && <BreakGlassForm request={request} />}
      {may.includes('withdraw') && (
        <Button variant="default" loading={busy('withdraw')} disabled={isPending} onClick={() => act('withdraw')}>
          Withdraw my request
        </Button>
      )}
      {error !== null && <Failure error={error} />}
    </Stack>
  );
}

function reasonFor(request: RequestDetail, action: Decision): string | undefined {
  return request.you.reasons.find((one) => one.action === action)?.reason;
}

/** `c` goes to the comment; Tab goes on to the buttons. */
function useCommentKey(field: React.RefObject<HTMLTextAreaElement | null>): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'c' || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      event.preventDefault();
      field.current?.focus();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [field]);
}

function Outcome({ request }: Pick<Parts, 'request'>) {
  const { state, grant, closedAt } = request;
  const at = closedAt === undefined ? '' : ` at ${moment(closedAt)}`;
  if (state !== 'approved' || grant === undefined)
    return (
      <Text size="sm">
        This request is {state}
        {at}. Nothing of it runs.
      </Text>
    );
  const said: Record<string, string> = {
    open: `It may be used once, until ${moment(grant.expiresAt)}.`,
    consumed: `It was used by ${grant.consumedBy ?? 'somebody'}${grant.consumedAt === undefined ? '' : ` at ${moment(grant.consumedAt)}`}, and cannot be used again.`,
    void: `It is void: ${grant.voidReason ?? 'what runs is not what was approved any more'}.`,
    expired: 'It was not used in time.',
  };
  return (
    <Stack gap={4}>
      <Group gap="xs">
        <Text size="sm">Its grant is</Text>
        <State state={grant.state} label={grant.state === 'consumed' ? 'used' : grant.state} />
      </Group>
      <Text size="sm" className="break">
        {said[grant.state] ?? grant.state}
      </Text>
    </Stack>
  );
}
