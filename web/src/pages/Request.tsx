/** One request: who, what, where, why first; then everything that is signed; the decision beside it. */
import { Anchor, Group, Loader, SimpleGrid, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Link, useParams } from 'react-router';
import { Code } from '../components/Code.tsx';
import { Diff } from '../components/Diff.tsx';
import { Failure } from '../components/Failure.tsx';
import { Page } from '../components/Page.tsx';
import { nounOf } from '../components/RequestRow.tsx';
import { BreakGlassNotice } from '../components/request/BreakGlass.tsx';
import { ChunkPicture } from '../components/request/ChunkPicture.tsx';
import { DecisionPanel } from '../components/request/DecisionPanel.tsx';
import { DigestFields } from '../components/request/DigestFields.tsx';
import { Glance, outputsOf } from '../components/request/Glance.tsx';
import { History } from '../components/request/History.tsx';
import { Lineage } from '../components/request/Lineage.tsx';
import { Parameters } from '../components/request/Parameters.tsx';
import { People } from '../components/request/People.tsx';
import { PolicyChanges } from '../components/request/PolicyChanges.tsx';
import { Sample } from '../components/request/Sample.tsx';
import { Section } from '../components/Section.tsx';
import { useDigestCheck } from '../lib/digest.ts';
import { day } from '../lib/format.ts';
import { requestQuery, type DigestInput, type RequestDetail } from '../lib/requests.ts';

export function RequestPage() {
  const { id = '' } = useParams();
  const { data, error, refetch } = useQuery(requestQuery(id));
  if (data !== undefined) return <Request request={data} />;
  return (
    <Page title="Request">
      {error === null ? <Loader aria-label="Loading" /> : <Failure error={error} retry={() => void refetch()} />}
    </Page>
  );
}

function Request({ request }: { readonly request: RequestDetail }) {
  const input = useMemo(() => JSON.parse(request.digestInputJson) as DigestInput, [request.digestInputJson]);
  const check = useDigestCheck(request, input);
  return (
    <Page
      title={request.title}
      lead={
        <Group gap="xs">
          <Anchor component={Link} to="/" size="sm" underline="always">
            Inbox
          </Anchor>
          <Text size="sm">{nounOf(request.kind)}</Text>
          <Text size="sm" className="mono">
            {request.id}
          </Text>
        </Group>
      }
    >
      <BreakGlassNotice request={request} />
      <div className="request-layout">
        <div className="request-glance">
          <Stack gap="lg">
            <Glance request={request} input={input} />
            <Signed request={request} input={input} />
          </Stack>
        </div>
        <div className="request-decision">
          <DecisionPanel request={request} check={check} />
        </div>
        <Stack gap="lg" className="request-rest">
          <Content request={request} input={input} />
          <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
            <People request={request} />
            <History request={request} />
          </SimpleGrid>
          <DigestFields request={request} input={input} check={check} />
        </Stack>
      </div>
    </Page>
  );
}

interface Parts {
  readonly request: RequestDetail;
  readonly input: DigestInput;
}

/** What an approval lets happen. On a phone too it stands before the buttons. */
function Signed({ request, input }: Parts) {
  const template = input.statement?.template;
  const sql = template?.text ?? input.statement?.text ?? input.plan?.bounds?.source;
  return (
    <>
      {sql !== undefined && (
        <Section
          title={input.statement === undefined ? 'What is read' : template === undefined ? 'The statement' : 'The loop'}
          hint={
            input.statement === undefined
              ? 'The job’s source with its parameters in place; each chunk reads its range of it. Signed.'
              : template === undefined
                ? 'Exactly this text is sent, once. Signed.'
                : 'Statements of exactly this shape are sent; only what stands at :lo and :hi moves. Signed.'
          }
        >
          <Code text={sql} language="sql" label="SQL" />
          <Parameters values={input.statement?.parameters} />
        </Section>
      )}
      <PolicyChanges input={input} evidence={request.evidence} />
    </>
  );
}

function Content({ request, input }: Parts) {
  const { plan, source } = request.evidence;
  const outputs = outputsOf({ request, input });
  return (
    <>
      <Changes request={request} />
      {plan !== undefined && <ChunkPicture plan={plan} />}
      {outputs.length > 0 && <Lineage outputs={outputs} />}
      {plan !== undefined && plan.sample.rows.length > 0 && <Sample sample={plan.sample} outputs={outputs} />}
      {source !== undefined && (
        <Section title="The definition file" hint={input.job?.path}>
          <Code text={source} language="yaml" label="Definition file" lines={20} />
        </Section>
      )}
    </>
  );
}

function Changes({ request }: { readonly request: RequestDetail }) {
  const { lastApproved, evidence, job } = request;
  if (job === undefined || evidence.source === undefined) return null;
  if (lastApproved === undefined) {
    return (
      <Section title="What changed">
        <Text size="sm">No version of this job was approved before: all of it is new.</Text>
      </Section>
    );
  }
  return (
    <Section
      title="What changed"
      hint={
        <>
          since version {lastApproved.version}, approved on {day(lastApproved.approvedAt)} by{' '}
          <Anchor
            component={Link}
            to={`/requests/${encodeURIComponent(lastApproved.request)}`}
            size="sm"
            underline="always"
          >
            this request
          </Anchor>
        </>
      }
    >
      <Diff before={lastApproved.content} after={evidence.source} label="Changes of the definition file" />
    </Section>
  );
}
