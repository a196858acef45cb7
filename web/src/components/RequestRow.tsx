/** One request in a list: what, who, where, why, and how long it has waited. */
import { Badge, Group, Stack, Text, Tooltip } from '@mantine/core';
import { IconBolt, IconFileCode, IconGavel, IconTerminal2, IconClockPlay } from '@tabler/icons-react';
import { Link } from 'react-router';
import { moment, span } from '../lib/format.ts';
import { whoAsked, type RequestSummary } from '../lib/requests.ts';
import { Plain } from './Plain.tsx';
import { State } from './State.tsx';

const kinds: Readonly<Record<string, { readonly icon: typeof IconTerminal2; readonly noun: string }>> = {
  job: { icon: IconFileCode, noun: 'Chunk job' },
  statement: { icon: IconTerminal2, noun: 'Statement' },
  session: { icon: IconClockPlay, noun: 'Session' },
  policy: { icon: IconGavel, noun: 'Change of the rules' },
};

export function nounOf(kind: string): string {
  return kinds[kind]?.noun ?? kind;
}

/** What expires within this is said louder. */
const soonMs = 10 * 60_000;

export function RequestRow({ request, now }: { readonly request: RequestSummary; readonly now: number }) {
  const Icon = kinds[request.kind]?.icon ?? IconFileCode;
  const isPending = request.state === 'pending';
  return (
    <Link to={`/requests/${encodeURIComponent(request.id)}`} className="row" data-row>
      <Tooltip label={nounOf(request.kind)}>
        <span className="row-icon">
          <Icon size={20} stroke={1.6} aria-hidden />
          <span className="only-read">{nounOf(request.kind)}: </span>
        </span>
      </Tooltip>
      <Stack gap={2} miw={0} flex={1}>
        <Group gap="xs">
          <Text fw={600} className="break">
            <Plain text={request.title} />
          </Text>
          {request.breakGlass !== undefined && (
            <Badge color="red" variant="filled" radius="sm" tt="none" leftSection={<IconBolt size={12} aria-hidden />}>
              break glass
            </Badge>
          )}
        </Group>
        <Text size="sm" c="dimmed" className="break">
          <Plain text={whoAsked(request)} />
          {request.connection !== '' && ` on ${request.connection}`}
          {request.reason !== undefined && (
            <>
              {' · '}
              <Plain text={request.reason} />
            </>
          )}
        </Text>
      </Stack>
      <Ages request={request} now={now} isPending={isPending} />
    </Link>
  );
}

function Ages({ request, now, isPending }: { request: RequestSummary; now: number; isPending: boolean }) {
  const leftMs = new Date(request.expiresAt).getTime() - now;
  return (
    <div className="row-ages">
      {isPending ? (
        <Badge variant="light" color="gray" radius="sm" tt="none" className="verdict tone tone-gray">
          {request.approvalsGiven} of {request.approvalsNeeded} approved
        </Badge>
      ) : (
        <State state={request.state} />
      )}
      <Text size="xs" c="dimmed" title={moment(request.createdAt)}>
        {span(now - new Date(request.createdAt).getTime())} ago
      </Text>
      {isPending && (
        <Text size="xs" className={leftMs < soonMs ? 'soon' : 'quiet'} title={moment(request.expiresAt)}>
          {leftMs > 0 ? `${span(leftMs)} left` : 'time is up'}
        </Text>
      )}
    </div>
  );
}
