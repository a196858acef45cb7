import { Alert, Button, Group, Select, Stack, Table, Text, TextInput } from '@mantine/core';
import { IconEyeOff } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { Empty } from '../components/Empty.tsx';
import { Failure } from '../components/Failure.tsx';
import { Goto } from '../components/Goto.tsx';
import { Labels } from '../components/Labels.tsx';
import { Loaded } from '../components/Loaded.tsx';
import { Page } from '../components/Page.tsx';
import { Plain } from '../components/Plain.tsx';
import { Section } from '../components/Section.tsx';
import { Sheet } from '../components/Sheet.tsx';
import { api } from '../lib/api.ts';
import { maskText, type Connection, type MaskingTemplate, type MaskSpec } from '../lib/connection.ts';

interface Rules {
  readonly templates: readonly MaskingTemplate[];
  readonly types: readonly string[];
}

export function MaskingPage() {
  const rules = useQuery({ queryKey: ['masking'], queryFn: ({ signal }) => api<Rules>('/masking', { signal }) });
  const connections = useQuery({
    queryKey: ['connections'],
    queryFn: ({ signal }) => api<{ connections: readonly Connection[] }>('/connections', { signal }),
  });
  const known = connections.data?.connections ?? [];
  return (
    <Page
      title="Masking"
      lead={
        <>
          What is masked, where each rule reaches, and what a value would become. Templates are{' '}
          <Goto to="/policies?tab=edit">changed with the other rules</Goto>.
        </>
      }
    >
      <Loaded query={rules}>
        {({ templates, types }) => (
          <>
            <TryValue types={types} connections={known} />
            {templates.length === 0 && (
              <Empty icon={<IconEyeOff />} title="No masking templates">
                Nothing is masked on any connection.
              </Empty>
            )}
            {templates.map((template) => (
              <Template key={template.name} template={template} connections={known} />
            ))}
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Template({
  template,
  connections,
}: {
  readonly template: MaskingTemplate;
  readonly connections: readonly Connection[];
}) {
  const reached = (rule: string) =>
    connections.flatMap(({ name, masks }) =>
      masks.filter((one) => one.rule === rule).map(({ column }) => ({ name, column })),
    );
  return (
    <Section
      title={template.name}
      hint={
        Object.keys(template.appliesTo).length === 0 ? 'For every connection.' : 'For connections with these labels:'
      }
      aside={Object.keys(template.appliesTo).length > 0 && <Labels labels={template.appliesTo} />}
    >
      <Sheet
        label={`Column rules of ${template.name}`}
        head={['Pattern', 'Mask', 'May be asked about', 'Reaches']}
        minWidth={640}
      >
        {template.columns.map(({ match, mask, predicates }, index) => {
          const places = reached(`${template.name}/columns[${index}]`);
          return (
            <Table.Tr key={index}>
              <Table.Td className="mono">{match}</Table.Td>
              <Table.Td>{maskText(mask)}</Table.Td>
              <Table.Td>{predicatesText(predicates)}</Table.Td>
              <Table.Td>
                {places.length === 0 ? (
                  <Text size="sm" c="dimmed">
                    nothing that you can see
                  </Text>
                ) : (
                  places.slice(0, 12).map(({ name, column }) => (
                    <Text size="sm" key={`${name} ${column}`}>
                      <Goto to={`/connections/${name}`}>{name}</Goto> <span className="mono break">{column}</span>
                    </Text>
                  ))
                )}
                {places.length > 12 && <Text size="sm">and {places.length - 12} more</Text>}
              </Table.Td>
            </Table.Tr>
          );
        })}
      </Sheet>
      {template.detectors.length > 0 && (
        <Text size="sm">
          In every other column it looks for:{' '}
          {template.detectors
            .map(
              ({ detect, mask }) =>
                `${typeof detect === 'string' ? detect : `${detect.name} (${detect.pattern})`}, ${mask}`,
            )
            .join('; ')}
          .
        </Text>
      )}
    </Section>
  );
}

function predicatesText(predicates: unknown): string {
  if (predicates === undefined || predicates === 'deny') return 'nothing';
  if (predicates === 'is-null') return 'whether it is NULL';
  const { perHour } = predicates as { perHour?: number };
  return `equality, ${perHour ?? '?'} values an hour`;
}

interface Tried {
  readonly masked: string | null;
  readonly by: 'rule' | 'mask' | 'detector' | 'nothing';
  readonly rule: string | null;
  readonly mask: MaskSpec | null;
}

const masks = ['redact', 'null', 'last4', 'hash', 'email-domain', 'year'];

function TryValue({
  types,
  connections,
}: {
  readonly types: readonly string[];
  readonly connections: readonly Connection[];
}) {
  const [asked, setAsked] = useState({ value: '', type: 'text', connection: '', column: '', mask: '' });
  const set = (name: keyof typeof asked) => (value: string | null) => setAsked({ ...asked, [name]: value ?? '' });
  const attempt = useMutation<Tried>({
    mutationFn: () => {
      const given = Object.entries(asked).filter(([name, value]) => name === 'value' || value !== '');
      return api('/masking/test', { method: 'POST', body: Object.fromEntries(given) });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    attempt.mutate();
  };
  return (
    <Section
      title="Try a value"
      hint="Masked in the gateway by the functions that mask rows. The value is yours: it is answered and nowhere kept. Type one that you made up."
    >
      <form onSubmit={submit} autoComplete="off">
        <Stack gap="sm">
          <Group align="flex-end" gap="sm">
            <TextInput
              label="Value"
              required
              miw={260}
              flex={1}
              value={asked.value}
              onChange={(event) => set('value')(event.currentTarget.value)}
            />
            <Select
              label="Type"
              data={[...types]}
              value={asked.type}
              onChange={set('type')}
              allowDeselect={false}
              w={150}
            />
          </Group>
          <Group align="flex-end" gap="sm">
            <Select
              label="On connection"
              placeholder="none"
              data={connections.map(({ name }) => name)}
              value={asked.connection === '' ? null : asked.connection}
              onChange={set('connection')}
              clearable
              w={180}
            />
            <TextInput
              label="In column"
              placeholder="customers.email"
              value={asked.column}
              onChange={(event) => set('column')(event.currentTarget.value)}
            />
            <Select
              label="Or with this mask"
              placeholder="as the rules say"
              data={masks}
              value={asked.mask === '' ? null : asked.mask}
              onChange={set('mask')}
              clearable
              w={190}
            />
            <Button type="submit" loading={attempt.isPending}>
              Mask it
            </Button>
          </Group>
        </Stack>
      </form>
      {attempt.error !== null && <Failure error={attempt.error} />}
      {attempt.data !== undefined && <Result tried={attempt.data} />}
    </Section>
  );
}

function Result({ tried: { masked, by, rule, mask } }: { readonly tried: Tried }) {
  const why: Readonly<Record<Tried['by'], string>> = {
    rule: `The rule ${rule ?? ''} says ${mask === null ? '' : maskText(mask)}.`,
    mask: `The mask ${mask === null ? '' : maskText(mask)}, as you asked.`,
    detector: 'No rule names the column; what it holds was detected.',
    nothing: 'No rule names the column and nothing was detected: it goes out as it is.',
  };
  return (
    <Alert color={by === 'nothing' ? 'yellow' : 'seal'} variant="light" title="It becomes" role="status">
      <Text className="mono break" size="lg">
        {masked === null ? 'NULL' : <Plain text={masked} />}
      </Text>
      <Text size="sm">{why[by]}</Text>
      {mask === 'hash' && (
        <Text size="sm">With a key made for this one answer: a real column&apos;s hash is another one.</Text>
      )}
    </Alert>
  );
}
