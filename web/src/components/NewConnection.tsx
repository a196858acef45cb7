/** One more connection: what its labels bring is shown first, and somebody else decides on it. No password passes here. */
import { Button, Checkbox, Group, SimpleGrid, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { useNavigate } from 'react-router';
import { isLoopback } from '../../../src/lib/loopback.ts';
import { api } from '../lib/api.ts';
import { parseLabels, type Inheritance } from '../lib/connection.ts';
import { changeRules, whyNotChangeRules, type AddedConnection, type Policies, type RuleAnswer } from '../lib/policy.ts';
import { nameOf, useWho } from '../lib/who.ts';
import { ActionButton } from './ActionButton.tsx';
import { Failure } from './Failure.tsx';
import { Inherited } from './Inherited.tsx';
import { RuleOutcome } from './RuleOutcome.tsx';
import { Section } from './Section.tsx';

const blank = {
  name: '',
  host: '',
  port: '5432',
  database: '',
  labels: '',
  serverName: '',
  gateway: 'cs_gateway',
  designer: 'cs_designer',
  executor: 'cs_executor',
};

type Form = typeof blank;

interface Shown {
  readonly inherits: Inheritance;
  readonly answer: RuleAnswer;
}

export function NewConnection({ policies }: { readonly policies: Policies }) {
  const who = useWho();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [form, setForm] = useState(blank);
  const [isPlain, setPlain] = useState(false);
  const [message, setMessage] = useState('');
  const labels = parseLabels(form.labels);
  const { digest: base, rules } = policies;
  const send = (dryRun: boolean) => {
    const connections = [...rules.connections, connectionFrom(form, isPlain && isLoopback(form.host.trim()))];
    const files = [{ name: 'connections.json', text: JSON.stringify({ connections }) }];
    return changeRules({ files, message, base, dryRun });
  };
  const look = useMutation({
    mutationFn: async (): Promise<Shown> => {
      const [inherits, answer] = await Promise.all([
        api<Inheritance>('/connections/inherits', { method: 'POST', body: { labels } }),
        send(true),
      ]);
      return { inherits, answer };
    },
  });
  const ask = useMutation({
    mutationFn: () => send(false),
    onSuccess: ({ request }) => {
      void client.invalidateQueries({ queryKey: ['requests'] });
      void navigate(request === undefined ? '/policies' : `/requests/${request}`);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (labels !== undefined) look.mutate();
  };
  const field = (name: keyof Form, label: string, more: { description?: string; placeholder?: string } = {}) => (
    <TextInput
      label={label}
      value={form[name]}
      {...more}
      onChange={(event) => {
        setForm({ ...form, [name]: event.currentTarget.value });
        look.reset();
        ask.reset();
      }}
    />
  );
  const error = ask.error ?? look.error;
  const shown = look.data;
  const whyNot =
    whyNotChangeRules(who) ?? (message.trim() === '' ? 'Say why: whoever decides wants to know.' : undefined);
  return (
    <Section
      title="Add a connection"
      hint="What is masked there, who has which duty and who approves comes from its labels. Somebody else decides on it."
    >
      <form onSubmit={submit} aria-label="New connection">
        <Stack gap="sm">
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 4 }}>
            {field('name', 'Name', { placeholder: 'billing' })}
            {field('host', 'Host', { placeholder: 'db.example.com' })}
            {field('port', 'Port')}
            {field('database', 'Database', { placeholder: form.name === '' ? 'billing' : form.name })}
          </SimpleGrid>
          <TextInput
            label="Labels"
            description="name=value, separated by commas"
            placeholder="data=personal, team=billing"
            value={form.labels}
            error={labels === undefined ? 'Write name=value, separated by commas.' : undefined}
            onChange={(event) => {
              setForm({ ...form, labels: event.currentTarget.value });
              look.reset();
              ask.reset();
            }}
          />
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 4 }}>
            {field('gateway', 'Role of the gateway')}
            {field('designer', 'Role of designers')}
            {field('executor', 'Role of executors')}
            {field('serverName', 'Name in its certificate', { placeholder: form.host === '' ? 'the host' : form.host })}
          </SimpleGrid>
          {isLoopback(form.host.trim()) && (
            <Checkbox
              label="Without TLS: it is on the gateway's own machine"
              checked={isPlain}
              onChange={(event) => {
                setPlain(event.currentTarget.checked);
                look.reset();
                ask.reset();
              }}
            />
          )}
          <Text size="sm" c="dimmed">
            The passwords of these roles are put on the gateway&apos;s machine by whoever runs it, into files{' '}
            <span className="mono">{form.name === '' ? 'NAME' : form.name}/gateway</span>,{' '}
            <span className="mono">/designer</span> and <span className="mono">/executor</span> of its folder
            connectionSecrets. They are never asked for here.
          </Text>
          <Button
            type="submit"
            variant={shown === undefined ? 'filled' : 'default'}
            loading={look.isPending}
            w="fit-content"
          >
            Show what it would be
          </Button>
        </Stack>
      </form>
      {error !== null && <Failure error={error} />}
      {shown !== undefined && (
        <>
          <RuleOutcome answer={shown.answer} />
          <Inherited inherits={shown.inherits} />
          <TextInput
            label="Why"
            description={`You (${nameOf(who)}) are its author: somebody else decides on it.`}
            value={message}
            maxLength={4_000}
            onChange={(event) => setMessage(event.currentTarget.value)}
          />
          <Group justify="flex-end">
            <ActionButton why={whyNot} loading={ask.isPending} onClick={() => ask.mutate()}>
              Ask for approval
            </ActionButton>
          </Group>
        </>
      )}
    </Section>
  );
}

function connectionFrom(form: Form, isPlain: boolean): AddedConnection {
  const host = form.host.trim();
  const name = form.name.trim();
  const serverName = form.serverName.trim();
  return {
    name,
    engine: 'postgres',
    host,
    port: Number(form.port),
    database: form.database.trim() === '' ? name : form.database.trim(),
    labels: parseLabels(form.labels) ?? {},
    tls: isPlain ? { mode: 'disable' } : { mode: 'verify-full', ...(serverName === '' ? {} : { serverName }) },
    users: { gateway: form.gateway.trim(), designer: form.designer.trim(), executor: form.executor.trim() },
  };
}
