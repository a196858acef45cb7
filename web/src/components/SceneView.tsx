/** One statement of a replay and the rows that were delivered for it. Every cell is text, whatever it looks like. */
import { Alert, Button, Group, Stack, Table, Text } from '@mantine/core';
import { useState } from 'react';
import { count, moment, plural } from '../lib/format.ts';
import type { Scene } from '../lib/recording.ts';
import { Code } from './Code.tsx';
import { Plain } from './Plain.tsx';
import { Sheet } from './Sheet.tsx';

export interface SceneViewProps {
  readonly scene: Scene;
  readonly number: number;
  readonly of: number;
  readonly startedAt: string;
}

const firstRows = 25;

export function SceneView({ scene, number, of, startedAt }: SceneViewProps) {
  const { request, error, notes, tag } = scene;
  const at = new Date(Date.parse(startedAt) + scene.startMs);
  return (
    <Stack gap="sm">
      <Group justify="space-between" gap="xs">
        <Text fw={600} aria-live="polite">
          Statement {number} of {of}
        </Text>
        <Text size="sm" c="dimmed">
          {moment(at)} · {request.kind}
          {tag !== undefined && ` · ${tag}`}
        </Text>
      </Group>
      {request.text === undefined ? (
        <Text size="sm">
          {request.kind === 'chunk'
            ? `Chunk ${request.chunk} of its run: the gateway sent its own frozen statement.`
            : request.kind}
        </Text>
      ) : (
        <Code text={request.text} language="sql" label="What was asked" lines={12} />
      )}
      {notes.map((note, index) => (
        <Text key={index} size="sm" c="dimmed">
          Notice: <Plain text={note} />
        </Text>
      ))}
      {error !== undefined && (
        <Alert color="red" variant="light" title={<Plain text={error['message'] ?? 'an error'} />}>
          {error['detail'] !== undefined && (
            <Text size="sm">
              <Plain text={error['detail']} />
            </Text>
          )}
          {error['hint'] !== undefined && (
            <Text size="sm">
              <Plain text={error['hint']} />
            </Text>
          )}
          <Text size="xs" className="mono">
            {error['code']}
          </Text>
        </Alert>
      )}
      {scene.columns.length > 0 && <Rows key={scene.no} scene={scene} />}
    </Stack>
  );
}

function Rows({ scene: { columns, rows, rowCount } }: { readonly scene: Scene }) {
  const [shown, setShown] = useState(firstRows);
  return (
    <Stack gap="xs">
      <Sheet
        label="Rows as they were delivered"
        head={columns.map((column, index) => <Plain key={index} text={column} />)}
        minWidth={Math.min(1_600, columns.length * 130)}
      >
        {rows.slice(0, shown).map((row, index) => (
          <Table.Tr key={index}>
            {row.map((cell, column) => (
              <Table.Td key={column} className="mono break">
                {cell === null ? <span className="cell-null">NULL</span> : <Plain text={cell} />}
              </Table.Td>
            ))}
          </Table.Tr>
        ))}
      </Sheet>
      <Group>
        <Text size="sm" c="dimmed">
          {plural(Math.min(shown, rows.length), 'row')} of {count(rowCount)}
          {rowCount > rows.length && ', as many as this page keeps; countersign replay prints all'}
        </Text>
        {shown < rows.length && (
          <Button size="compact-sm" variant="default" onClick={() => setShown(shown + firstRows * 2)}>
            Show more
          </Button>
        )}
      </Group>
    </Stack>
  );
}
