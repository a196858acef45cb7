/** Type where to go: a page by its name, a request, run or session by its id. */
import { Kbd, Modal, Stack, Text, TextInput, UnstyledButton } from '@mantine/core';
import { useState, type KeyboardEvent } from 'react';
import { useNavigate } from 'react-router';
import { places } from '../lib/places.ts';

interface Goal {
  readonly path: string;
  readonly title: string;
  readonly keys: string | undefined;
}

const idPaths: readonly (readonly [prefix: string, path: string, noun: string])[] = [
  ['req_', '/requests/', 'request'],
  ['run_', '/runs/', 'run'],
  ['sess_', '/sessions/', 'session'],
];

function goalsFor(text: string): Goal[] {
  const wanted = text.trim();
  const byId = idPaths
    .filter(([prefix]) => wanted.startsWith(prefix))
    .map(([, path, noun]) => ({
      path: path + encodeURIComponent(wanted),
      title: `Open ${noun} ${wanted}`,
      keys: undefined,
    }));
  const byName = places
    .filter(({ title }) => title.toLowerCase().includes(wanted.toLowerCase()))
    .map(({ path, title, key }) => ({ path, title, keys: key }));
  return [...byId, ...byName];
}

export function Palette({ isOpen, close }: { readonly isOpen: boolean; readonly close: () => void }) {
  return (
    <Modal opened={isOpen} onClose={close} title="Go to" size="md" yOffset="12vh">
      <Goals close={close} />
    </Modal>
  );
}

function Goals({ close }: { readonly close: () => void }) {
  const navigate = useNavigate();
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const goals = goalsFor(text);
  const chosen = Math.min(at, Math.max(0, goals.length - 1));
  const go = (goal: Goal | undefined) => {
    if (goal === undefined) return;
    close();
    void navigate(goal.path);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      setAt((chosen + step + goals.length) % Math.max(1, goals.length));
    } else if (event.key === 'Enter') {
      event.preventDefault();
      go(goals[chosen]);
    }
  };
  return (
    <Stack gap="sm">
      <TextInput
        data-autofocus
        aria-label="Page, or the id of a request, run or session"
        placeholder="A page, or the id of a request, run or session"
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <Stack gap={2} role="list">
        {goals.map((goal, index) => (
          <div role="listitem" key={goal.path}>
            <UnstyledButton className="goal" data-chosen={index === chosen} onClick={() => go(goal)}>
              <Text size="sm" span className="break">
                {goal.title}
              </Text>
              {goal.keys !== undefined && (
                <span>
                  <Kbd size="xs">g</Kbd> <Kbd size="xs">{goal.keys}</Kbd>
                </span>
              )}
            </UnstyledButton>
          </div>
        ))}
        {goals.length === 0 && <Text size="sm">Nothing is called that.</Text>}
      </Stack>
    </Stack>
  );
}
