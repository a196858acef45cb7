/** Emergencies: asking that fewer approve before, the mark that this was asked, and the reviews after. */
import { Alert, Button, Collapse, Group, Stack, Text, Textarea } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBolt, IconLock } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { moment, plural, span } from '../../lib/format.ts';
import { useNow } from '../../lib/now.ts';
import { breakGlass, review, type RequestDetail, type Review } from '../../lib/requests.ts';
import { ActionButton } from '../ActionButton.tsx';
import { Failure } from '../Failure.tsx';
import { Plain } from '../Plain.tsx';

interface Parts {
  readonly request: RequestDetail;
}

export function BreakGlassNotice({ request }: Parts) {
  const { breakGlass: asked, reviews = [], state, reviewDueAt, confirmedAt } = request;
  const now = useNow();
  if (asked === undefined) return null;
  const isConfirmed = confirmedAt !== undefined;
  const left = asked.reviewers - reviews.filter(({ verdict }) => verdict === 'ok').length;
  const dueMs = reviewDueAt === undefined ? undefined : Date.parse(reviewDueAt) - now;
  return (
    <Alert
      color={isConfirmed ? 'seal' : 'red'}
      icon={<IconBolt aria-hidden />}
      title={isConfirmed ? 'Break-glass, confirmed' : 'Break-glass'}
    >
      <Plain text={asked.human} /> asked at {moment(asked.at)} that fewer approve before it runs:{' '}
      <Plain text={asked.reason} />. {isConfirmed && `Confirmed at ${moment(confirmedAt)} by ${namesOf(reviews)}.`}
      {!isConfirmed &&
        state === 'pending' &&
        `Once approved, ${plural(asked.reviewers, 'other person reviews', 'other people review')} it within ${span(asked.reviewWithinMs)}.`}
      {!isConfirmed && dueMs !== undefined && (
        <>
          {plural(left, 'review is', 'reviews are')} still to come, by people who had no part in it,{' '}
          {dueMs > 0 ? `within ${span(dueMs)}` : `and late by ${span(-dueMs)}`}.
        </>
      )}
    </Alert>
  );
}

function namesOf(reviews: readonly Review[]): string {
  return reviews
    .filter(({ verdict }) => verdict === 'ok')
    .map(({ human }) => human)
    .join(' and ');
}

export function BreakGlassForm({ request }: Parts) {
  const [isOpen, { toggle }] = useDisclosure(false);
  const [reason, setReason] = useState('');
  const client = useQueryClient();
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => breakGlass(request.id, reason),
    onSettled: () => client.invalidateQueries({ queryKey: ['requests'] }),
  });
  return (
    <div>
      <Button
        variant="default"
        size="compact-sm"
        leftSection={<IconBolt size={16} aria-hidden />}
        onClick={toggle}
        aria-expanded={isOpen}
      >
        An emergency?
      </Button>
      <Collapse expanded={isOpen}>
        <Stack gap="xs" pt="xs">
          <Text size="sm">
            Fewer people approve before it runs, at least one of them somebody else. Whoever is told of requests is told
            of this. Others review it afterwards, and until they have, whoever had a part in it gets no other
            break-glass.
          </Text>
          <Textarea
            label="Reason"
            description="Kept in the log and shown to whoever approves and reviews."
            autosize
            minRows={2}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
          />
          <ActionButton
            color="red"
            loading={isPending}
            why={reason.trim() === '' ? 'Say why: break-glass needs a reason.' : undefined}
            onClick={() => mutate()}
          >
            Ask for break-glass
          </ActionButton>
          {error !== null && <Failure error={error} />}
        </Stack>
      </Collapse>
    </div>
  );
}

/** For whoever may review an approval by break-glass; whoever may not reads why. */
export function ReviewForm({ request }: Parts) {
  const [comment, setComment] = useState('');
  const client = useQueryClient();
  const { mutate, isPending, error } = useMutation({
    mutationFn: (verdict: Review['verdict']) => review(request.id, verdict, comment),
    onSettled: () => client.invalidateQueries({ queryKey: ['requests'] }),
  });
  if (request.reviewDueAt === undefined || request.confirmedAt !== undefined) return null;
  const why = request.you.reasons.find(({ action }) => action === 'review')?.reason;
  return (
    <Stack gap="xs">
      <Text size="sm" fw={600}>
        Your review of this break-glass
      </Text>
      {why === undefined && (
        <Textarea
          label="Comment"
          description="Needed to object. It is kept in the log."
          autosize
          minRows={2}
          value={comment}
          onChange={(event) => setComment(event.currentTarget.value)}
        />
      )}
      <Group grow gap="xs">
        <ActionButton loading={isPending} why={why} onClick={() => mutate('ok')}>
          It was right
        </ActionButton>
        <ActionButton
          variant="outline"
          color="red"
          loading={isPending}
          why={why ?? (comment.trim() === '' ? 'Say in the comment what was wrong.' : undefined)}
          onClick={() => mutate('object')}
        >
          Object
        </ActionButton>
      </Group>
      {why !== undefined && (
        <Alert color="yellow" icon={<IconLock aria-hidden />} title="You cannot review this" className="why-not">
          <Plain text={why} />
        </Alert>
      )}
      {error !== null && <Failure error={error} />}
    </Stack>
  );
}
