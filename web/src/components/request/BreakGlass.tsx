/** Emergencies: asking that fewer approve before, the mark that this was asked, and the reviews after. */
import { Alert, Button, Collapse, Group, Stack, Text, Textarea } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBolt } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { moment, plural, span } from '../../lib/format.ts';
import { breakGlass, review, type RequestDetail, type Review } from '../../lib/requests.ts';
import { Failure } from '../Failure.tsx';
import { Plain } from '../Plain.tsx';

interface Parts {
  readonly request: RequestDetail;
}

export function BreakGlassNotice({ request: { breakGlass: asked, reviews } }: Parts) {
  if (asked === undefined) return null;
  const { human, reason, at, reviewers, reviewWithinMs } = asked;
  return (
    <Alert color="red" icon={<IconBolt aria-hidden />} title="Break-glass">
      <Plain text={human} /> asked at {moment(at)} that fewer approve before it runs: <Plain text={reason} />.
      Afterwards {plural(reviewers, 'other person', 'other people')} review it within {span(reviewWithinMs)}; so far{' '}
      {(reviews ?? []).length}.
    </Alert>
  );
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
      <Button variant="subtle" color="red" size="compact-sm" onClick={toggle} aria-expanded={isOpen}>
        An emergency?
      </Button>
      <Collapse expanded={isOpen}>
        <Stack gap="xs" pt="xs">
          <Text size="sm">
            Fewer people approve before, at least one of them somebody else; everybody is told; others review it
            afterwards.
          </Text>
          <Textarea
            label="Reason"
            autosize
            minRows={2}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
          />
          <Button color="red" loading={isPending} disabled={reason.trim() === ''} onClick={() => mutate()}>
            Ask for break-glass
          </Button>
          {error !== null && <Failure error={error} />}
        </Stack>
      </Collapse>
    </div>
  );
}

export function ReviewForm({ request }: Parts) {
  const [comment, setComment] = useState('');
  const client = useQueryClient();
  const { mutate, isPending, error } = useMutation({
    mutationFn: (verdict: Review['verdict']) => review(request.id, verdict, comment),
    onSettled: () => client.invalidateQueries({ queryKey: ['requests'] }),
  });
  return (
    <Stack gap="xs">
      <Text size="sm" fw={600}>
        Your review of this break-glass
      </Text>
      <Textarea
        label="Comment"
        autosize
        minRows={2}
        value={comment}
        onChange={(event) => setComment(event.currentTarget.value)}
      />
      <Group grow gap="xs">
        <Button loading={isPending} onClick={() => mutate('ok')}>
          It was right
        </Button>
        <Button variant="outline" color="red" loading={isPending} onClick={() => mutate('object')}>
          Object
        </Button>
      </Group>
      {error !== null && <Failure error={error} />}
    </Stack>
  );
}
