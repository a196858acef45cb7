/** Reviews of access: begin one, decide each line, end it. What is revoked is done at the identity provider; the review says how. */
import { Anchor, Button, Group, Stack, Table, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconDownload } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useSearchParams } from 'react-router';
import { reviewReport, type DecidedLine, type ReviewDetail, type ReviewSummary } from '../lib/access.ts';
import { useAct } from '../lib/act.ts';
import { api, withQuery } from '../lib/api.ts';
import { moment, plural } from '../lib/format.ts';
import { save } from '../lib/save.ts';
import { useWho } from '../lib/who.ts';
import { ActionButton } from './ActionButton.tsx';
import { Confirm } from './Confirm.tsx';
import { Loaded } from './Loaded.tsx';
import { More } from './More.tsx';
import { Section } from './Section.tsx';
import { Sheet } from './Sheet.tsx';
import { State } from './State.tsx';

export function AccessReviews() {
  const [view, setView] = useSearchParams();
  const id = view.get('review');
  const open = (review: string | undefined) =>
    setView(review === undefined ? { tab: 'reviews' } : { tab: 'reviews', review });
  const start = useAct<undefined, ReviewSummary>({
    run: () => api('/access/reviews', { method: 'POST', body: {} }),
    changes: ['access'],
    after: (review) => open(review.id),
  });
  const query = useQuery({
    queryKey: ['access', 'reviews'],
    queryFn: ({ signal }) => api<{ reviews: readonly ReviewSummary[] }>('/access/reviews', { signal }),
  });
  if (id !== null) return <Review id={id} close={() => open(undefined)} />;
  return (
    <Section
      title="Reviews"
      hint="A review takes down who holds what now; each line is kept or revoked, with the reviewer's name, in the log."
      aside={
        <Button onClick={() => start.mutate(undefined)} loading={start.isPending}>
          Begin a review
        </Button>
      }
    >
      <Loaded query={query}>
        {({ reviews }) => (
          <Sheet label="Reviews" head={['Review', 'Begun', 'By', 'State']} minWidth={420}>
            {reviews.map((one) => (
              <Table.Tr key={one.id}>
                <Table.Td>
                  <Anchor component="button" size="sm" className="mono" onClick={() => open(one.id)}>
                    {one.id}
                  </Anchor>
                </Table.Td>
                <Table.Td>{moment(one.startedAt)}</Table.Td>
                <Table.Td>{one.startedBy}</Table.Td>
                <Table.Td>
                  <State
                    state={one.endedAt === undefined ? 'pending' : 'completed'}
                    label={one.endedAt === undefined ? 'open' : 'ended'}
                  />
                </Table.Td>
              </Table.Tr>
            ))}
            {reviews.length === 0 && (
              <Table.Tr>
                <Table.Td colSpan={4}>No review yet.</Table.Td>
              </Table.Tr>
            )}
          </Sheet>
        )}
      </Loaded>
    </Section>
  );
}

interface Lines {
  readonly lines: readonly DecidedLine[];
  readonly next?: string;
}

function Review({ id, close }: { readonly id: string; readonly close: () => void }) {
  const path = `/access/reviews/${encodeURIComponent(id)}`;
  const review = useQuery({
    queryKey: ['access', 'reviews', id],
    queryFn: ({ signal }) => api<ReviewDetail>(path, { signal }),
  });
  const lines = useInfiniteQuery({
    queryKey: ['access', 'reviews', id, 'lines'],
    queryFn: ({ pageParam, signal }) =>
      api<Lines>(withQuery(`${path}/lines`, { before: pageParam, limit: 200 }), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next,
  });
  const [isEnding, ending] = useDisclosure(false);
  const end = useAct<boolean, unknown>({
    run: (incomplete) => api(`${path}/end`, { method: 'POST', body: { incomplete } }),
    changes: ['access'],
    said: () => 'The review has ended.',
  });
  const download = useAct<'text' | 'json', string>({
    run: (format) => reviewReport(id, format),
    changes: [],
    after: (text, format) =>
      format === 'text'
        ? save(text, `${id}.txt`, 'text/plain; charset=utf-8')
        : save(text, `${id}.json`, 'application/json'),
  });
  return (
    <Loaded query={review}>
      {(summary) => (
        <Section
          title={`Review ${summary.id}`}
          hint={`Begun by ${summary.startedBy} on ${moment(summary.startedAt)}; ${summary.counts.kept} kept, ${summary.counts.revoked} revoked, ${summary.counts.undecided} not decided`}
          aside={
            <Group gap="xs">
              {(['text', 'json'] as const).map((format) => (
                <Button
                  key={format}
                  variant="default"
                  leftSection={<IconDownload size={16} aria-hidden />}
                  loading={download.isPending && download.variables === format}
                  onClick={() => download.mutate(format)}
                >
                  {format === 'text' ? 'Report as text' : 'Report as JSON'}
                </Button>
              ))}
              <Button variant="default" onClick={close}>
                All reviews
              </Button>
              <ActionButton
                why={summary.endedAt === undefined ? undefined : 'It has ended.'}
                loading={end.isPending}
                onClick={ending.open}
              >
                End the review
              </ActionButton>
            </Group>
          }
        >
          <Loaded query={lines}>
            {({ pages }) => (
              <Sheet label="Lines of the review" head={['Who', 'Duty', 'From', 'Last used', 'Decision']} minWidth={780}>
                {pages
                  .flatMap((page) => page.lines)
                  .map((line) => (
                    <Line key={line.line} line={line} path={path} isOpen={summary.endedAt === undefined} />
                  ))}
              </Sheet>
            )}
          </Loaded>
          <More {...lines} />
          <Confirm
            isOpen={isEnding}
            close={ending.close}
            title="End the review?"
            action={summary.counts.undecided === 0 ? 'End it' : 'End it incomplete'}
            onConfirm={() => end.mutate(summary.counts.undecided > 0)}
          >
            {summary.counts.undecided === 0
              ? 'Every line is decided. '
              : `${plural(summary.counts.undecided, 'line is', 'lines are')} not decided, and the report says so. `}
            Nothing in it can be changed afterwards.
          </Confirm>
        </Section>
      )}
    </Loaded>
  );
}

function Line({ line, path, isOpen }: { readonly line: DecidedLine; readonly path: string; readonly isOpen: boolean }) {
  const who = useWho();
  const [comment, setComment] = useState(line.comment ?? '');
  const decide = useAct<'keep' | 'revoke', unknown>({
    run: (verdict) =>
      api(`${path}/decisions`, { method: 'POST', body: { decisions: [{ line: line.line, verdict, comment }] } }),
    changes: ['access'],
  });
  const own = line.human === who.human ? 'Nobody decides on their own duties.' : undefined;
  const what = `${line.duty} of ${line.principal} on ${line.connection}`;
  return (
    <Table.Tr>
      <Table.Td>
        {line.principal}
        {line.principal !== line.human && (
          <Text size="xs" c="dimmed">
            of {line.human}
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        {line.duty}
        <Text size="xs" c="dimmed">
          on {line.connection}
        </Text>
      </Table.Td>
      <Table.Td>{line.groups.join(', ')}</Table.Td>
      <Table.Td>{line.lastUse === undefined ? 'never' : moment(line.lastUse.at)}</Table.Td>
      <Table.Td>
        {line.verdict !== undefined && (
          <Stack gap={2} mb={isOpen ? 6 : 0}>
            <State
              state={line.verdict === 'keep' ? 'completed' : 'rejected'}
              label={line.verdict === 'keep' ? 'kept' : 'revoked'}
            />
            <Text size="xs" c="dimmed">
              {line.reviewer}
              {line.comment !== undefined && line.comment !== '' && `: ${line.comment}`}
            </Text>
            {line.remedy !== undefined && <Text size="xs">{line.remedy}</Text>}
          </Stack>
        )}
        {isOpen && (
          <Group gap={6} wrap="nowrap">
            <TextInput
              size="xs"
              aria-label={`Comment on ${what}`}
              placeholder="Why"
              value={comment}
              onChange={(event) => setComment(event.currentTarget.value)}
            />
            <ActionButton size="compact-sm" variant="default" why={own} onClick={() => decide.mutate('keep')}>
              Keep<span className="only-read"> {what}</span>
            </ActionButton>
            <ActionButton
              size="compact-sm"
              variant="default"
              why={own ?? (comment.trim() === '' ? 'Say why in the comment.' : undefined)}
              onClick={() => decide.mutate('revoke')}
            >
              Revoke<span className="only-read"> {what}</span>
            </ActionButton>
          </Group>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
