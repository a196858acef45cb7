import { Badge, Button, Group, Table, Tabs, Text, Tooltip } from '@mantine/core';
import { IconDownload, IconUsersGroup } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useSearchParams } from 'react-router';
import { Conflicts, DatabaseAccounts, UnconfirmedBreakGlass } from '../components/AccessFacts.tsx';
import { AccessReviews } from '../components/AccessReviews.tsx';
import { Empty } from '../components/Empty.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { More } from '../components/More.tsx';
import { OnlyFor } from '../components/OnlyFor.tsx';
import { Page } from '../components/Page.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { useAct } from '../lib/act.ts';
import { fetchHoldings, peopleOf, reviewNow, type Holding } from '../lib/access.ts';
import { moment } from '../lib/format.ts';
import { save } from '../lib/save.ts';

export function AccessPage() {
  const [view, setView] = useSearchParams();
  const tab = view.get('tab') ?? 'who';
  return (
    <Page title="Access" lead="Who holds which duty, who could do too much alone or with one other, and reviews of it.">
      <OnlyFor duty={['auditor', 'admin']} what="Reviews of access">
        <Tabs value={tab} onChange={(value) => setView(value === null ? {} : { tab: value })} keepMounted={false}>
          <Tabs.List mb="md">
            <Tabs.Tab value="who">Who holds what</Tabs.Tab>
            <Tabs.Tab value="conflicts">Conflicts</Tabs.Tab>
            <Tabs.Tab value="accounts">Database accounts</Tabs.Tab>
            <Tabs.Tab value="break-glass">Break-glass</Tabs.Tab>
            <Tabs.Tab value="reviews">Reviews</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="who">
            <Matrix />
          </Tabs.Panel>
          <Tabs.Panel value="conflicts">
            <Conflicts />
          </Tabs.Panel>
          <Tabs.Panel value="accounts">
            <DatabaseAccounts />
          </Tabs.Panel>
          <Tabs.Panel value="break-glass">
            <UnconfirmedBreakGlass />
          </Tabs.Panel>
          <Tabs.Panel value="reviews">
            <AccessReviews />
          </Tabs.Panel>
        </Tabs>
      </OnlyFor>
    </Page>
  );
}

function Matrix() {
  const query = useInfiniteQuery({
    queryKey: ['access', 'holdings'],
    queryFn: ({ pageParam, signal }) => fetchHoldings(pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next,
  });
  const download = useAct<undefined, string>({
    run: reviewNow,
    changes: [],
    after: (text) => save(text, 'access-now.json', 'application/json'),
  });
  return (
    <>
      <Group justify="flex-end" mb="sm">
        <Button
          variant="default"
          size="sm"
          leftSection={<IconDownload size={16} aria-hidden />}
          loading={download.isPending}
          onClick={() => download.mutate(undefined)}
        >
          Download as JSON
        </Button>
      </Group>
      <Loaded query={query}>
        {({ pages }) => {
          const holdings = pages.flatMap((page) => page.holdings);
          const connections = [...new Set(holdings.map(({ connection }) => connection))].sort();
          const people = peopleOf(holdings);
          return people.length === 0 ? (
            <Empty icon={<IconUsersGroup />} title="Nobody holds a duty">
              Groups get duties by bindings; people appear from their first log-in on.
            </Empty>
          ) : (
            <Sheet
              label="Duties by person and connection"
              head={['Person', ...connections]}
              minWidth={160 + 150 * connections.length}
            >
              {people.map(({ human, principals, duties }) => (
                <Table.Tr key={human}>
                  <Table.Td>
                    <Text fw={600} size="sm">
                      {human === '' ? 'nobody known' : human}
                    </Text>
                    {principals.some((one) => one !== human) && (
                      <Text size="xs" c="dimmed">
                        as {principals.join(', ')}
                      </Text>
                    )}
                  </Table.Td>
                  {connections.map((connection) => (
                    <Table.Td key={connection}>
                      <Cell holdings={duties.get(connection) ?? []} />
                    </Table.Td>
                  ))}
                </Table.Tr>
              ))}
            </Sheet>
          );
        }}
      </Loaded>
      <More {...query} />
    </>
  );
}

function Cell({ holdings }: { readonly holdings: readonly Holding[] }) {
  if (holdings.length === 0) return <Text span>–</Text>;
  const byDuty = [...Map.groupBy(holdings, ({ duty }) => duty)];
  return byDuty.map(([duty, same]) => {
    const isUnused = same.every(({ unused }) => unused);
    const said = same.map((one) => `${one.principal}, from ${one.groups.join(', ')}; ${useText(one)}`).join('. ');
    return (
      <Tooltip key={duty} label={said} multiline maw={360}>
        <Badge
          variant={isUnused ? 'outline' : 'light'}
          color={isUnused ? 'gray' : 'seal'}
          tt="none"
          radius="sm"
          mr={4}
          className="verdict"
        >
          {duty}
          {isUnused && ', unused'}
        </Badge>
      </Tooltip>
    );
  });
}

function useText({ lastUse }: Holding): string {
  return lastUse === undefined ? 'never used' : `last used ${moment(lastUse.at)} (${lastUse.kind})`;
}
