/** What waits for me, oldest first; what I asked for; everything that I may see. */
import { Button, Group, Loader, Select, Stack, Tabs, Text } from '@mantine/core';
import { IconInbox, IconLock } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useSearchParams } from 'react-router';
import { Empty } from '../components/Empty.tsx';
import { Failure } from '../components/Failure.tsx';
import { Page } from '../components/Page.tsx';
import { RequestRow } from '../components/RequestRow.tsx';
import { useRowKeys } from '../lib/keys.ts';
import { useNow } from '../lib/now.ts';
import { fetchRequests, requestListKey, type InboxView, type RequestListQuery } from '../lib/requests.ts';
import { dutiesOf, useWho, type Who } from '../lib/who.ts';

const views: readonly { readonly view: InboxView; readonly title: string }[] = [
  { view: 'waiting', title: 'Waiting for me' },
  { view: 'mine', title: 'Mine' },
  { view: 'all', title: 'All' },
];

const states = ['pending', 'approved', 'rejected', 'withdrawn', 'expired'];

/** Whoever decides begins with what waits for them; whoever asks, with that; whoever looks on, with everything. */
function firstView(who: Who): InboxView {
  const duties = dutiesOf(who);
  if (duties.includes('approver')) return 'waiting';
  return duties.includes('auditor') || duties.includes('admin') ? 'all' : 'mine';
}

export function InboxPage() {
  const who = useWho();
  const [search, setSearch] = useSearchParams();
  const view = views.find((one) => one.view === search.get('view'))?.view ?? firstView(who);
  const query: RequestListQuery = {
    view,
    state: view === 'waiting' ? undefined : (search.get('state') ?? undefined),
    connection: search.get('connection') ?? undefined,
  };
  const change = (name: string, value: string | null) =>
    setSearch((before) => {
      const next = new URLSearchParams(before);
      if (value === null || value === '') next.delete(name);
      else next.set(name, value);
      return next;
    });
  const connections = Object.keys(who.duties).filter((name) => (who.duties[name] ?? []).length > 0);
  return (
    <Page
      title="Inbox"
      lead={view === 'waiting' ? 'What waits for your decision, oldest first.' : undefined}
      filters={
        <Group justify="space-between" gap="sm">
          <Tabs value={view} onChange={(value) => change('view', value)} variant="pills">
            <Tabs.List aria-label="Which requests">
              {views.map((one) => (
                <Tabs.Tab key={one.view} value={one.view}>
                  {one.title}
                </Tabs.Tab>
              ))}
            </Tabs.List>
          </Tabs>
          <Group gap="xs">
            {connections.length > 1 && (
              <Select
                aria-label="Connection"
                placeholder="Every connection"
                data={connections}
                value={query.connection ?? null}
                onChange={(value) => change('connection', value)}
                clearable
                w={180}
              />
            )}
            {view !== 'waiting' && (
              <Select
                aria-label="State"
                placeholder="Every state"
                data={states}
                value={query.state ?? null}
                onChange={(value) => change('state', value)}
                clearable
                w={150}
              />
            )}
          </Group>
        </Group>
      }
    >
      <Requests query={query} />
    </Page>
  );
}

function Requests({ query }: { readonly query: RequestListQuery }) {
  const now = useNow();
  useRowKeys();
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: requestListKey(query),
    queryFn: ({ pageParam, signal }) => fetchRequests(query, pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next,
    // The events say when something changed; this is for networks that do not let them through.
    refetchInterval: 60_000,
  });
  if (error !== null) return <Failure error={error} retry={() => void refetch()} />;
  if (data === undefined) return <Loader mx="auto" my="xl" aria-label="Loading" />;
  const requests = data.pages.flatMap((page) => page.requests);
  if (requests.length === 0 && !hasNextPage) return <NothingHere query={query} />;
  return (
    <Stack gap="xs">
      <ul className="rows card" aria-label="Requests">
        {requests.map((request) => (
          <li key={request.id}>
            <RequestRow request={request} now={now} />
          </li>
        ))}
      </ul>
      {hasNextPage && (
        <Button variant="default" mx="auto" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          Load more
        </Button>
      )}
    </Stack>
  );
}

function NothingHere({ query: { view, state } }: { readonly query: RequestListQuery }) {
  const who = useWho();
  const duties = dutiesOf(who);
  if (duties.length === 0) {
    return (
      <Empty icon={<IconLock />} title="You hold no duty">
        Duties come from groups of the identity provider, by the bindings of this gateway. Ask whoever looks after them.
      </Empty>
    );
  }
  if (state !== undefined) return <Empty icon={<IconInbox />} title={`No request is ${state}`} />;
  if (view === 'waiting') {
    const isDecider = duties.includes('approver') || duties.includes('admin');
    return (
      <Empty icon={<IconInbox />} title={isDecider ? 'Nothing waits for you' : 'Deciding is not your duty'}>
        {isDecider
          ? 'New requests appear here by themselves. What you wrote or asked for waits for somebody else.'
          : 'Requests are decided by people with the duty approver, changes of the rules also by administrators. What you asked for is under “Mine”.'}
      </Empty>
    );
  }
  return (
    <Empty icon={<IconInbox />} title={view === 'mine' ? 'You asked for nothing yet' : 'Nobody asked for anything yet'}>
      A request is made by pushing a job, or by sending a statement that needs an approval:{' '}
      <Text span className="mono">
        countersign jobs push FILE
      </Text>
    </Empty>
  );
}
