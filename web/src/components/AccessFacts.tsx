/** What the access review finds beside the lines: conflicts, database accounts, break-glass that waits for its review. */
import { List, Stack, Table, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { aloneWords, factsQuery } from '../lib/access.ts';
import { count, moment, plural, span } from '../lib/format.ts';
import { useNow } from '../lib/now.ts';
import { Goto } from './Goto.tsx';
import { Loaded } from './Loaded.tsx';
import { Plain } from './Plain.tsx';
import { Section } from './Section.tsx';
import { Sheet } from './Sheet.tsx';
import { State } from './State.tsx';

export function Conflicts() {
  const query = useQuery(factsQuery);
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

const tones: Readonly<Record<string, string>> = { critical: 'failed', high: 'failed', medium: 'pending' };

export function DatabaseAccounts() {
  const query = useQuery(factsQuery);
  return (
    <Section
      title="Database accounts"
      hint="The accounts with which the gateway opens sessions, where they can do more than their duty needs. What they hold at the database is what somebody could do who got past the gateway."
    >
      <Loaded query={query}>
        {({ accounts }) =>
          accounts.length === 0 ? (
            <Text size="sm">None can do more than its duty needs, as far as the target&apos;s catalogue says.</Text>
          ) : (
            <Sheet
              label="Database accounts"
              head={['Severity', 'Account', 'What it can do', 'What to do']}
              minWidth={780}
            >
              {accounts.map((one, index) => (
                <Table.Tr key={index}>
                  <Table.Td>
                    <State state={tones[one.severity] ?? 'planned'} label={one.severity} />
                  </Table.Td>
                  <Table.Td className="break">
                    <Plain text={one.where} />
                  </Table.Td>
                  <Table.Td className="break">
                    <Plain text={one.what} />
                    <Text size="xs" c="dimmed">
                      <Plain text={one.why} />
                    </Text>
                  </Table.Td>
                  <Table.Td className="break">
                    <Plain text={one.remedy} />
                  </Table.Td>
                </Table.Tr>
              ))}
            </Sheet>
          )
        }
      </Loaded>
    </Section>
  );
}

export function UnconfirmedBreakGlass() {
  const query = useQuery(factsQuery);
  const now = useNow();
  return (
    <Section
      title="Break-glass that is not confirmed yet"
      hint="Approved by fewer people in an emergency. People who had no part in it review it on its request; until then, whoever had a part in it gets no other break-glass."
    >
      <Loaded query={query}>
        {({ breakGlass = [] }) =>
          breakGlass.length === 0 ? (
            <Text size="sm">None: every use was confirmed, or there was none.</Text>
          ) : (
            <Sheet
              label="Break-glass that is not confirmed yet"
              head={['Request', 'Asked by', 'Reviews', 'Due', 'Who can review it']}
              minWidth={780}
            >
              {breakGlass.map((one) => (
                <Table.Tr key={one.request}>
                  <Table.Td>
                    <Goto to={`/requests/${one.request}`}>
                      <span className="mono">{one.request}</span>
                    </Goto>
                    <Text size="xs" c="dimmed">
                      on {one.connection}
                    </Text>
                  </Table.Td>
                  <Table.Td>
                    <Plain text={one.human} />
                    <Text size="xs" c="dimmed">
                      {moment(one.at)}
                    </Text>
                  </Table.Td>
                  <Table.Td>
                    {one.reviewsGiven} of {one.reviewsNeeded}
                  </Table.Td>
                  <Table.Td>
                    <Due dueMs={Date.parse(one.dueAt)} now={now} />
                  </Table.Td>
                  <Table.Td className="break">
                    {one.mayReview.length === 0 ? (
                      'nobody: give somebody else the duty approver, auditor or admin'
                    ) : (
                      <Plain text={one.mayReview.join(', ')} />
                    )}
                    <Text size="xs" c="dimmed">
                      {one.reviewsNeeded - one.reviewsGiven} of them still to review
                    </Text>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Sheet>
          )
        }
      </Loaded>
    </Section>
  );
}

function Due({ dueMs, now }: { readonly dueMs: number; readonly now: number }) {
  if (dueMs < now) return <State state="failed" label={`late by ${span(now - dueMs)}`} />;
  return <>in {span(dueMs - now)}</>;
}
