/** Who, what, where, why: the ten seconds of an approver. Everything here is read from what is signed, or says that it is not. */
import { Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { bytes, count, plural, span } from '../../lib/format.ts';
import {
  whoAsked,
  type DigestInput,
  type OutputColumn,
  type RequestDetail,
  type SignedTemplate,
} from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';

interface Parts {
  readonly request: RequestDetail;
  readonly input: DigestInput;
}

export function Glance({ request, input }: Parts) {
  const facts: readonly (readonly [string, ReactNode])[] = [
    ['Who', <Who key="who" request={request} />],
    ['What', <What key="what" request={request} input={input} />],
    ['Where', <Where key="where" request={request} input={input} />],
    ['Why', <Why key="why" request={request} />],
    ['Limits', <Limits key="limits" input={input} />],
  ];
  return (
    <dl className="facts card section">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="break">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Who({ request }: Pick<Parts, 'request'>) {
  const others = [...new Set(request.authors.map(({ human }) => human))].filter(
    (one) => one !== request.requesterHuman,
  );
  return (
    <>
      <b>
        <Plain text={whoAsked(request)} />
      </b>{' '}
      asked
      {others.length > 0 && (
        <>
          ; written together with <Plain text={others.join(', ')} />
        </>
      )}
    </>
  );
}

export function outputsOf({ request, input }: Parts): readonly OutputColumn[] {
  const signed = input.plan?.bounds?.outputs;
  const types = new Map(request.evidence.plan?.outputs.map(({ name, typeName }) => [name, typeName]));
  return (signed ?? []).map((column) => {
    const typeName = types.get(column.name);
    return typeName === undefined ? column : { ...column, typeName };
  });
}

function What({ request, input }: Parts) {
  const { plan } = request.evidence;
  const outputs = outputsOf({ request, input });
  if (input.kind === 'job') {
    const masked = outputs.filter(({ mask }) => mask !== null && mask !== undefined).length;
    return (
      <>
        <b>
          Read {plural(outputs.length, 'column')} in {plural(input.plan?.count ?? 0, 'chunk')}
        </b>
        {plan !== undefined && `, about ${count(plan.estimatedRows)} rows (${bytes(plan.estimatedBytes)}, an estimate)`}
        {`; ${masked === 0 ? 'no column is masked by a rule' : `${masked} of them masked`}`}. Job{' '}
        <Plain text={request.title} />.
      </>
    );
  }
  if (input.statement !== undefined) {
    const { template } = input.statement;
    const relations = request.evidence.statements?.flatMap((one) => one.relations) ?? [];
    return (
      <>
        <b>
          {plural(input.statement.classes?.length ?? 1, 'statement')}:{' '}
          {(input.statement.classes ?? ['unknown']).join(', ')}
        </b>
        {relations.length > 0 && (
          <>
            {' on '}
            <Plain text={[...new Set(relations)].join(', ')} />
          </>
        )}
        {template === undefined
          ? '. It runs once, in the session that waits for it.'
          : `. A loop: again and again, while only the range of ${template.key} moves${rangeOf(template)}.`}
      </>
    );
  }
  const wider = (input.changes ?? []).filter(({ effect }) => effect === 'wider').length;
  return (
    <>
      <b>
        <Plain text={request.title} />
      </b>
      {wider > 0 && `; ${plural(wider, 'change lets', 'changes let')} somebody do or see more`}
    </>
  );
}

function rangeOf({ lowest, highest, uses }: SignedTemplate): string {
  const within = lowest === undefined || highest === undefined ? '' : ` within ${lowest} … ${highest}`;
  return uses === undefined ? within : `${within}, at most ${plural(uses, 'statement')}`;
}

function Where({ request, input }: Parts) {
  const { target, output, connections } = input;
  return (
    <>
      <b>{connections === undefined ? request.connection : connections.join(', ') || 'no connection'}</b>
      {target !== undefined && (
        <>
          {' '}
          <Text span size="sm" c="dimmed" className="mono">
            {target.engine} {target.host}:{target.port}/{target.database}
          </Text>
        </>
      )}
      {output?.to !== undefined && (
        <>
          {' → '}
          <Text span className="mono">
            <Plain text={output.to} />
          </Text>{' '}
          ({output.format})
        </>
      )}
    </>
  );
}

function Why({ request: { kind, evidence } }: Pick<Parts, 'request'>) {
  const { reason, policies, message } = evidence;
  if (message !== undefined && message !== '') return <Plain text={message} />;
  if (reason === undefined) {
    return kind === 'job'
      ? 'A chunk job runs only after somebody else approved exactly this version.'
      : 'The rules ask for it.';
  }
  return (
    <>
      <Plain text={reason} />
      {policies !== undefined && policies.length > 0 && (
        <Text span size="sm" c="dimmed" className="mono">
          {' '}
          {policies.join(', ')}
        </Text>
      )}
    </>
  );
}

function Limits({ input: { caps, executors, expiry, statement } }: Pick<Parts, 'input'>) {
  const use = statement?.template === undefined ? 'one use' : 'used';
  const said = [
    ...(caps === undefined ? [] : [caps.rows === null ? 'no cap on rows' : `at most ${count(caps.rows)} rows`]),
    ...(caps === undefined ? [] : [caps.bytes === null ? 'no cap on bytes' : `at most ${bytes(caps.bytes)}`]),
    ...(executors === undefined
      ? []
      : [`run by ${executors.duty}${executors.groups.length === 0 ? '' : ` in ${executors.groups.join(' or ')}`}`]),
    ...(expiry === undefined ? [] : [`${use} within ${span(expiry.durationMs)} after approval`]),
  ];
  return said.length === 0 ? 'none; the change takes effect when it is approved' : said.join(' · ');
}
