/** Change the rules: edit, see the difference, and apply it or ask for it. What gets wider is decided by somebody else. */
import { Button, Group, Select, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useNavigate } from 'react-router';
import { changeRules, type Policies } from '../lib/policy.ts';
import { changedFiles, problemsIn, rulesFile, ruleTexts } from '../lib/rule-files.ts';
import { nameOf, useWho } from '../lib/who.ts';
import { ActionButton } from './ActionButton.tsx';
import { Editor } from './Editor.tsx';
import { Failure } from './Failure.tsx';
import { Problems } from './Problems.tsx';
import { RuleOutcome } from './RuleOutcome.tsx';

export interface RulesEditorProps {
  readonly policies: Policies;
  /** They are in force, or it was left. */
  readonly onDone: () => void;
}

export function RulesEditor({ policies, onDone }: RulesEditorProps) {
  const who = useWho();
  const client = useQueryClient();
  const navigate = useNavigate();
  // What it began with; rules that somebody else applies meanwhile are noticed by the digest.
  const [base] = useState(policies.digest);
  const [before] = useState(() => ruleTexts(policies.rules));
  const [texts, setTexts] = useState(before);
  const [file, setFile] = useState(rulesFile);
  const [message, setMessage] = useState('');
  const files = changedFiles(before, texts);
  const send = (dryRun: boolean) => changeRules({ files, message, dryRun, base });
  const look = useMutation({ mutationFn: () => send(true) });
  const apply = useMutation({
    mutationFn: () => send(false),
    onSuccess: ({ request }) => {
      void client.invalidateQueries({ queryKey: ['requests'] });
      if (request === undefined) onDone();
      else void navigate(`/requests/${request}`);
    },
  });
  const error = apply.error ?? look.error;
  const problems = useMemo(() => (error === null ? [] : problemsIn(file, error.message)), [error, file]);
  const wrongLines = useMemo(() => problems.map(({ line }) => line), [problems]);
  const edit = (text: string) => {
    setTexts((old) => old.map((one) => (one.name === file ? { ...one, text } : one)));
    look.reset();
    apply.reset();
  };
  const shown = look.data;
  return (
    <Stack>
      {texts.length > 1 && (
        <Select
          label="File"
          data={texts.map(({ name }) => name)}
          value={file}
          onChange={(value) => setFile(value ?? rulesFile)}
          allowDeselect={false}
          maw={320}
        />
      )}
      <Editor
        key={file}
        initial={texts.find(({ name }) => name === file)?.text ?? ''}
        label={`Rules: ${file}`}
        wrongLines={wrongLines}
        onChange={edit}
      />
      <Text size="xs" c="dimmed">
        Tab indents; Escape and then Tab leaves the text.
      </Text>
      {error !== null && problems.length === 0 && <Failure error={error} />}
      {problems.length > 0 && <Problems title="The rules are not valid" problems={problems} />}
      {shown !== undefined && <RuleOutcome answer={shown} />}
      {shown !== undefined && shown.changes.length > 0 && (
        <TextInput
          label="Why"
          description={
            shown.effect === 'wider'
              ? `You (${nameOf(who)}) are its author: somebody else decides on it.`
              : 'It is kept with the version, and in the log.'
          }
          value={message}
          maxLength={4_000}
          onChange={(event) => setMessage(event.currentTarget.value)}
        />
      )}
      <Group justify="flex-end">
        <Button variant="default" onClick={onDone}>
          Leave them as they are
        </Button>
        <ActionButton
          variant={shown === undefined ? 'filled' : 'default'}
          why={files.length === 0 ? 'Nothing is changed yet.' : undefined}
          loading={look.isPending}
          onClick={() => look.mutate()}
        >
          Show the difference
        </ActionButton>
        {shown !== undefined && shown.changes.length > 0 && (
          <ActionButton
            why={message.trim() === '' ? 'Say why: whoever reads the log wants to know.' : undefined}
            loading={apply.isPending}
            onClick={() => apply.mutate()}
          >
            {shown.effect === 'wider' ? 'Ask for approval' : 'Apply now'}
          </ActionButton>
        )}
      </Group>
    </Stack>
  );
}
