import { Anchor, Table, Text, Tooltip } from '@mantine/core';
import { count } from '../lib/format.ts';
import type { TimelineStatement } from '../lib/session.ts';
import { Goto } from './Goto.tsx';
import { Plain } from './Plain.tsx';
import { State } from './State.tsx';

const words: Readonly<Record<TimelineStatement['verdict'], readonly [state: string, label: string]>> = {
  allow: ['completed', 'allowed'],
  granted: ['approved', 'approved'],
  denied: ['rejected', 'denied'],
  held: ['pending', 'held'],
};

const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

export interface StatementRowProps {
  readonly statement: TimelineStatement;
  readonly show: (at: string) => void;
}

export function StatementRow({ statement, show }: StatementRowProps) {
  const { at, text, whole, verdict, policies, code, request, run, chunk, outcome } = statement;
  const [state, label] = words[verdict];
  return (
    <Table.Tr>
      <Table.Td className="num">{clock.format(new Date(at))}</Table.Td>
      <Table.Td maw={420}>
        <Text size="sm" className="mono break" lineClamp={3}>
          <Plain text={whole ? text : `${text} …`} />
        </Text>
        <Text size="xs" c="dimmed">
          {statement.class}
          {request !== undefined && (
            <>
              {' · '}
              <Goto to={`/requests/${request}`}>request</Goto>
            </>
          )}
          {run !== undefined && (
            <>
              {' · '}
              <Goto to={`/runs/${run}`}>run</Goto>, chunk {chunk}
            </>
          )}
        </Text>
      </Table.Td>
      <Table.Td>
        <Tooltip label={policies.join(', ')} disabled={policies.length === 0} multiline maw={360}>
          <span className="verdict">
            <State state={state} label={label} />
          </span>
        </Tooltip>
      </Table.Td>
      <Table.Td>
        {outcome === undefined ? (code ?? (verdict === 'held' ? 'waits' : 'not known')) : outcomeText(outcome)}
      </Table.Td>
      <Table.Td className="num">{outcome === undefined ? '–' : `${count(outcome.durationMs)} ms`}</Table.Td>
      <Table.Td className="num">{outcome === undefined ? '–' : count(outcome.rows)}</Table.Td>
      <Table.Td className="num">{outcome === undefined ? '–' : count(outcome.maskedCells)}</Table.Td>
      <Table.Td>
        <Anchor component="button" size="sm" onClick={() => show(at)}>
          Replay
        </Anchor>
      </Table.Td>
    </Table.Tr>
  );
}

function outcomeText({ status, sqlstate }: NonNullable<TimelineStatement['outcome']>): string {
  return sqlstate === undefined ? status : `${status} ${sqlstate}`;
}
