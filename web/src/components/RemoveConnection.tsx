/** Takes back a connection that was added. It opens nothing, so it needs nobody else. */
import { Text, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { api } from '../lib/api.ts';
import { changeRules, whyNotChangeRules, type Policies } from '../lib/policy.ts';
import { useWho } from '../lib/who.ts';
import { ActionButton } from './ActionButton.tsx';
import { Confirm } from './Confirm.tsx';
import { Failure } from './Failure.tsx';

export interface RemoveConnectionProps {
  readonly name: string;
  readonly origin: 'file' | 'rules';
}

export function RemoveConnection({ name, origin }: RemoveConnectionProps) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const who = useWho();
  const [isAsked, setAsked] = useState(false);
  const [message, setMessage] = useState('');
  const remove = useMutation({
    mutationFn: async () => {
      const { digest: base, rules } = await api<Policies>('/policies');
      const connections = rules.connections.filter((one) => one.name !== name);
      const files = [{ name: 'connections.json', text: JSON.stringify({ connections }) }];
      return changeRules({ files, message, base, dryRun: false });
    },
    onSuccess: async () => {
      // Not the one that is shown here: it is gone.
      await client.invalidateQueries({ queryKey: ['connections'], exact: true });
      void navigate('/connections');
    },
  });
  const whyNot =
    origin === 'file' ? 'It stands in the configuration file, and is taken out there.' : whyNotChangeRules(who);
  return (
    <>
      <ActionButton
        variant="default"
        color="red"
        why={whyNot}
        loading={remove.isPending}
        onClick={() => setAsked(true)}
      >
        Remove
      </ActionButton>
      {remove.error !== null && <Failure error={remove.error} />}
      <Confirm
        isOpen={isAsked}
        title={`Remove ${name}?`}
        action="Remove it"
        onConfirm={() => remove.mutate()}
        close={() => setAsked(false)}
      >
        <Text size="sm">
          Its sessions end, and nobody can connect to it any more. To have it again, somebody else has to approve it.
          What was logged and recorded stays.
        </Text>
        <TextInput
          mt="sm"
          label="Why"
          value={message}
          maxLength={4_000}
          onChange={(event) => setMessage(event.currentTarget.value)}
        />
      </Confirm>
    </>
  );
}
