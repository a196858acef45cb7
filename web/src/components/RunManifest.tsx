/** The manifest of a completed run: what it says, its digest computed here, and the exact text to keep. */
import { Button, Code, Collapse, Group, Paper, ScrollArea, Stack, Table, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconDownload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { send } from '../lib/api.ts';
import { toHex } from '../lib/checkpoint.ts';
import { bytes, count } from '../lib/format.ts';
import type { RunProgress } from '../lib/run.ts';
import { save } from '../lib/save.ts';
import { sha256 } from '../lib/tlog.ts';
import { Copyable } from './Copyable.tsx';
import { Facts } from './Facts.tsx';
import { Loaded } from './Loaded.tsx';
import { Sheet } from './Sheet.tsx';

interface Manifest {
  readonly commit: string;
  readonly contentDigest: string;
  readonly maskDigest: string;
  readonly snapshot: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly mask: string | null }[];
  readonly totals: {
    readonly chunks: number;
    readonly rows: number;
    readonly maskedCells: number;
    readonly fileBytes: number;
  };
}

export function RunManifest({ run: { runId } }: { readonly run: Pick<RunProgress, 'runId'> }) {
  const query = useQuery({
    queryKey: ['manifest', runId],
    queryFn: async ({ signal }) => {
      const text = await (await send(`/runs/${encodeURIComponent(runId)}/manifest`, { signal })).text();
      const digest = toHex(await sha256(new TextEncoder().encode(text)));
      return { text, digest, manifest: JSON.parse(text) as Manifest };
    },
    staleTime: Infinity,
  });
  return (
    <Paper className="card" p="md">
      <Title order={2} size="h4" mb="sm">
        Manifest
      </Title>
      <Loaded query={query}>{(shown) => <Shown {...shown} runId={runId} />}</Loaded>
    </Paper>
  );
}

/** What is saved are the exact bytes, so that their digest is the log's. */
function Shown({ text, digest, manifest, runId }: { text: string; digest: string; manifest: Manifest; runId: string }) {
  const [isOpen, { toggle }] = useDisclosure(false);
  const { totals } = manifest;
  return (
    <Stack gap="md">
      <Text size="sm" c="dimmed">
        Files that it does not name do not exist for this run. Its digest, computed in this browser, is in the log with
        the end of the run; bounds of chunks stand in it as keyed digests only.
      </Text>
      <Facts
        facts={[
          ['SHA-256 of the manifest', <Copyable key="d" text={digest} />],
          ['Commit', <Copyable key="c" text={manifest.commit} />],
          ['Digest of the definition', <Copyable key="e" text={manifest.contentDigest} />],
          ['Digest of the masking rules', <Copyable key="m" text={manifest.maskDigest} />],
          [
            'Totals',
            `${count(totals.rows)} rows, ${count(totals.maskedCells)} cells masked, ${bytes(totals.fileBytes)} of files`,
          ],
          ['Snapshot', manifest.snapshot],
        ]}
      />
      <Sheet label="Columns" head={['Column', 'Type', 'Mask']} minWidth={360}>
        {manifest.columns.map((column) => (
          <Table.Tr key={column.name}>
            <Table.Td className="mono">{column.name}</Table.Td>
            <Table.Td>{column.type}</Table.Td>
            <Table.Td>{column.mask ?? 'as it is'}</Table.Td>
          </Table.Tr>
        ))}
      </Sheet>
      <Group>
        <Button
          size="sm"
          leftSection={<IconDownload size={16} aria-hidden />}
          onClick={() => save(text, `${runId}.manifest.json`, 'application/json')}
        >
          Download
        </Button>
        <Button size="sm" variant="default" onClick={toggle} aria-expanded={isOpen}>
          {isOpen ? 'Hide the text' : 'Show the text'}
        </Button>
      </Group>
      <Collapse expanded={isOpen}>
        <ScrollArea.Autosize mah={400} tabIndex={0}>
          <Code block>{JSON.stringify(JSON.parse(text), undefined, 2)}</Code>
        </ScrollArea.Autosize>
      </Collapse>
    </Stack>
  );
}
