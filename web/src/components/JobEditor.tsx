/** Edit a definition and push it: a commit whose author is the editor, a plan, a request for somebody else. */
import { Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { api } from '../lib/api.ts';
import { problemsOf } from '../lib/job.ts';
import { nameOf, useWho } from '../lib/who.ts';
import { ActionButton } from './ActionButton.tsx';
import { Editor } from './Editor.tsx';
import { Failure } from './Failure.tsx';
import { Problems } from './Problems.tsx';

export interface JobEditorProps {
  readonly initial: string;
  /** undefined: from the job's name. */
  readonly path: string | undefined;
  readonly onCancel?: () => void;
}

export function JobEditor({ initial, path, onCancel }: JobEditorProps) {
  const who = useWho();
  const client = useQueryClient();
  const navigate = useNavigate();
  const text = useRef(initial);
  const [isChanged, setIsChanged] = useState(path === undefined);
  const [message, setMessage] = useState('');
  const push = useMutation<{ request: string }>({
    mutationFn: () =>
      api('/jobs', {
        method: 'POST',
        body: {
          content: text.current,
          ...(path === undefined ? {} : { path }),
          ...(message === '' ? {} : { message }),
        },
      }),
    onSuccess: ({ request }) => {
      void client.invalidateQueries({ queryKey: ['requests'] });
      void navigate(`/requests/${request}`);
    },
  });
  const problems = useMemo(() => (push.error === null ? [] : problemsOf(push.error.message)), [push.error]);
  const wrongLines = useMemo(() => problems.map(({ line }) => line), [problems]);
  return (
    <Stack>
      <Editor
        initial={initial}
        label="Definition of the job"
        wrongLines={wrongLines}
        onChange={(now) => {
          text.current = now;
          setIsChanged(now !== initial || path === undefined);
        }}
      />
      <Text size="xs" c="dimmed">
        Tab indents; Escape and then Tab leaves the text.
      </Text>
      {push.error !== null && problems.length === 0 && <Failure error={push.error} />}
      {problems.length > 0 && <Problems title="The definition is not valid" problems={problems} />}
      <TextInput
        label="Message of the commit"
        description={`You (${nameOf(who)}) are its author: you can neither approve nor run it.`}
        placeholder="What changes, and why"
        value={message}
        maxLength={10_000}
        onChange={(event) => setMessage(event.currentTarget.value)}
      />
      <Group justify="flex-end">
        {onCancel !== undefined && (
          <Button variant="default" onClick={onCancel}>
            Leave it as it is
          </Button>
        )}
        <ActionButton
          why={isChanged ? undefined : 'Nothing is changed yet.'}
          loading={push.isPending}
          onClick={() => push.mutate()}
        >
          Push and ask for approval
        </ActionButton>
      </Group>
    </Stack>
  );
}
