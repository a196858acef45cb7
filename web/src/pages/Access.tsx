import { Badge, List, Stack, Table, Tabs, Text, Tooltip } from '@mantine/core';
import { IconUsersGroup } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useSearchParams } from 'react-router';
import { AccessReviews } from '../components/AccessReviews.tsx';
import { Empty } from '../components/Empty.tsx';
import { Failure } from '../components/Failure.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { More } from '../components/More.tsx';
import { OnlyFor } from '../components/OnlyFor.tsx';
import { Page } from '../components/Page.tsx';
import { Section } from '../components/Section.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { State } from '../components/State.tsx';
import { aloneWords, peopleOf, type AccessFacts, type Holding } from '../lib/access.ts';
import { api, ApiError, withQuery } from '../lib/api.ts';
import { count, moment, plural } from '../lib/format.ts';

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
            <Tabs.Tab value="reviews">Reviews</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="who">
            <Matrix />
          </Tabs.Panel>
          <Tabs.Panel value="conflicts">
            <Conflicts />
          </Tabs.Panel>
          <Tabs.Panel value="reviews">
            <AccessReviews />
          </Tabs.Panel>
        </Tabs>
      </OnlyFor>
    </Page>
  );
}

interface Holdings {
  readonly total: number;
  readonly holdings: readonly Holding[];
  readonly next?: string;
}

function Matrix() {
  const query = useInfiniteQuery({
    queryKey: ['access', 'holdings'],
    queryFn: ({ pageParam, signal }) =>
      api<Holdings>(withQuery('/access/holdings', { before: pageParam, limit: 1_000 }), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next,
  });
  return (
    <>
      <Loaded query={query}>
        {({ pages }) => {
          const holdings = pages.flatMap((page) => page.holdings);
          const connections = [...new Set(holdings.map(({ connection }) => connection))].sort();
          const people = peopleOf(holdings);
          return people.length === 0 ? (
            <Empty icon={<IconUsersGroup />} title="Nobody holds a duty">
              Groups get duties by bindings; people appear when their first token is seen.
            </Empty>
          ) : (
            <Sheet
              label="Duties by person and connection"
              head={['Person', ...connections]}
              minWidth={320 + 160 * connections.length}
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

function Conflicts() {
  const query = useQuery({
    queryKey: ['access', 'facts'],
    queryFn: ({ signal }) => api<AccessFacts>('/access/facts', { signal }),
  });
  if (query.error instanceof ApiError) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return (
    <Loaded query={query}>
      {({ alone, pairs, unapproved, followUps }) => (
        <Stack gap="lg">
          <Section
            title="Alone"
            hint="What one human could do, were it not for the rules that take all their accounts for one."
          >
            {alone.length === 0 ? (
              <Text size="sm">Nobody.</Text>
            ) : (
              <List spacing="xs" size="sm">
                {alone.map((one, index) => (
                  <List.Item key={index}>
                    <b>{one.humans.join(' and ')}</b> {aloneWords[one.reason] ?? one.reason} on{' '}
                    {one.connections.join(', ')}
                    {one.suspectedAlias && ': they look like one person (the same e-mail address)'}.
                    <Text size="xs" c="dimmed">
                      {one.through
                        .map(({ principal, duty, groups }) => `${principal} is ${duty} from ${groups.join(', ')}`)
                        .join('; ')}
                    </Text>
                  </List.Item>
                ))}
              </List>
            )}
          </Section>
          <Section
            title="With one other"
            hint="Pairs of people who together get something through that nobody else sees before."
          >
            {pairs.length === 0 ? (
              <Text size="sm">No pair.</Text>
            ) : (
              <Sheet
                label="Pairs"
                head={['Connection', 'What', 'One writes or asks', 'The other approves', 'Pairs', 'Against it']}
                minWidth={720}
              >
                {pairs.map((one, index) => (
                  <Table.Tr key={index}>
                    <Table.Td>{one.connection}</Table.Td>
                    <Table.Td>a {one.what}</Table.Td>
                    <Table.Td>{one.examples.first.join(', ')}</Table.Td>
                    <Table.Td>{one.examples.second.join(', ')}</Table.Td>
                    <Table.Td className="num">{count(one.pairs)}</Table.Td>
                    <Table.Td>{one.remedy}</Table.Td>
                  </Table.Tr>
                ))}
              </Sheet>
            )}
          </Section>
          {unapproved.length > 0 && (
            <Section
              title="Without an approval"
              hint="What a policy lets people do although the default is to hold it."
            >
              <Sheet label="Without an approval" head={['Connection', 'Action', 'Who', 'Policies']}>
                {unapproved.map((one, index) => (
                  <Table.Tr key={index}>
                    <Table.Td>{one.connection}</Table.Td>
                    <Table.Td>{one.action}</Table.Td>
                    <Table.Td>{one.humans.join(', ')}</Table.Td>
                    <Table.Td className="mono break">{one.policies.join(', ')}</Table.Td>
                  </Table.Tr>
                ))}
              </Sheet>
            </Section>
          )}
          {followUps.length > 0 && (
            <Section title="What earlier reviews revoked" hint={plural(followUps.length, 'line')}>
              <Sheet label="Earlier revocations" head={['Who', 'Duty', 'State', 'To do']}>
                {followUps.map((one) => (
                  <Table.Tr key={one.line}>
                    <Table.Td>{one.principal}</Table.Td>
                    <Table.Td>
                      {one.duty} on {one.connection}
                    </Table.Td>
                    <Table.Td>
                      <State
                        state={one.state === 'done' ? 'completed' : 'pending'}
                        label={one.state === 'done' ? 'done' : 'still held'}
                      />
                    </Table.Td>
                    <Table.Td>{one.state === 'done' ? '' : one.remedy}</Table.Td>
                  </Table.Tr>
                ))}
              </Sheet>
            </Section>
          )}
        </Stack>
      )}
    </Loaded>
  );
}
