/** What happened to the request, in order, with the words of those who decided. */
import { Anchor, Text, Timeline } from '@mantine/core';
import { IconBolt, IconCheck, IconClock, IconEye, IconPlayerPlay, IconSend, IconX } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { Link } from 'react-router';
import { moment } from '../../lib/format.ts';
import { whoAsked, type RequestDetail } from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';
import { Section } from '../Section.tsx';

interface Step {
  readonly at: string | undefined;
  readonly title: ReactNode;
  readonly icon: ReactNode;
  readonly color?: string;
  readonly body?: ReactNode;
}

export function History({ request }: { readonly request: RequestDetail }) {
  const steps = stepsOf(request);
  return (
    <Section title="What happened">
      <Timeline active={steps.length} bulletSize={26} lineWidth={2}>
        {steps.map((step, index) => (
          <Timeline.Item key={index} bullet={step.icon} color={step.color ?? 'seal'} title={step.title}>
            {step.body}
            {step.at !== undefined && (
              <Text size="xs" c="dimmed">
                {moment(step.at)}
              </Text>
            )}
          </Timeline.Item>
        ))}
      </Timeline>
    </Section>
  );
}

function stepsOf(request: RequestDetail): Step[] {
  const { decisions, grant, runId, sessionId, state, closedAt, createdAt } = request;
  const icon = (Icon: typeof IconCheck) => <Icon size={15} aria-hidden />;
  const steps: Step[] = [
    {
      at: createdAt,
      icon: icon(IconSend),
      title: (
        <>
          Asked by <Plain text={whoAsked(request)} />
        </>
      ),
      body: sessionId !== undefined && (
        <Text size="sm">
          in{' '}
          <Anchor component={Link} to={`/sessions/${encodeURIComponent(sessionId)}`} underline="always">
            session {sessionId}
          </Anchor>
        </Text>
      ),
    },
    ...decisions.map((one): Step => {
      const isApproval = one.verdict === 'approve';
      return {
        at: one.decidedAt,
        icon: icon(isApproval ? IconCheck : IconX),
        color: isApproval ? 'seal' : 'red',
        title: (
          <>
            {isApproval ? 'Approved' : 'Rejected'} by{' '}
            <Plain text={one.principalId === one.human ? one.human : `${one.principalId} (${one.human})`} />
          </>
        ),
        body: one.comment !== '' && (
          <Text size="sm" component="blockquote" className="quote break">
            <Plain text={one.comment} />
          </Text>
        ),
      };
    }),
  ];
  if (request.breakGlass !== undefined) {
    const { human, reason, at } = request.breakGlass;
    steps.push({
      at,
      icon: icon(IconBolt),
      color: 'red',
      title: (
        <>
          Break-glass, asked by <Plain text={human} />
        </>
      ),
      body: (
        <Text size="sm" component="blockquote" className="quote break">
          <Plain text={reason} />
        </Text>
      ),
    });
  }
  for (const { human, verdict, comment, reviewedAt } of request.reviews ?? []) {
    steps.push({
      at: reviewedAt,
      icon: icon(IconEye),
      color: verdict === 'ok' ? 'seal' : 'red',
      title: (
        <>
          {verdict === 'ok' ? 'Reviewed by' : 'Objected to by'} <Plain text={human} />
        </>
      ),
      body: comment !== '' && (
        <Text size="sm" component="blockquote" className="quote break">
          <Plain text={comment} />
        </Text>
      ),
    });
  }
  if (state === 'withdrawn' || state === 'expired') {
    steps.push({
      at: closedAt,
      icon: icon(IconClock),
      color: 'gray',
      title: state === 'expired' ? 'Its time was up' : 'Withdrawn',
    });
  }
  if (grant?.state === 'consumed' || runId !== undefined) {
    steps.push({
      at: grant?.consumedAt,
      icon: icon(IconPlayerPlay),
      color: 'blue',
      title: (
        <>
          Used by <Plain text={grant?.consumedBy ?? 'its executor'} />
        </>
      ),
      body: runId !== undefined && (
        <Anchor component={Link} to={`/runs/${encodeURIComponent(runId)}`} size="sm" underline="always">
          run {runId}
        </Anchor>
      ),
    });
  }
  if (grant?.state === 'void') {
    steps.push({
      at: undefined,
      icon: icon(IconX),
      color: 'red',
      title: 'The approval is void',
      body: (
        <Text size="sm" className="break">
          <Plain text={grant.voidReason ?? ''} />
        </Text>
      ),
    });
  }
  // What has no time of its own is the last.
  return steps.toSorted((one, other) => timeOf(one) - timeOf(other));
}

function timeOf({ at }: Step): number {
  return at === undefined ? Number.MAX_SAFE_INTEGER : Date.parse(at);
}
