import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fakePlan } from '../../test/run-fixtures.ts';
import { CountersignError } from '../errors.ts';
import { buildManifest, parseManifest, verifyManifest } from './manifest.ts';

const run = {
  runId: 'run_1',
  grantId: 'grant_1',
  job: 'export',
  jobVersion: 1,
  connection: 'crm',
  executor: 'etl',
  snapshot: 'shared' as const,
};
const facts = { commit: 'c', contentDigest: '1'.repeat(64), maskDigest: '2'.repeat(64), boundsKey: Buffer.from('key') };

function manifestOf(contents: readonly string[], boundsKey = facts.boundsKey) {
  const chunks = contents.map((content, no) => ({
    no,
    attempt: 1,
    rows: 2,
    bytes: 20,
    maskedCells: 1,
    rowDigest: 'd',
    file: {
      path: `chunk-000${no}.csv`,
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    },
  }));
  return buildManifest({
    run,
    plan: fakePlan({ chunks: contents.length }),
    chunks: chunks.reverse(),
    facts: { ...facts, boundsKey },
  });
}

void describe('manifest', () => {
  let directory: string;
  const contents = ['first', 'second', 'third'];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'countersign-manifest-'));
    for (const [no, content] of contents.entries()) await writeFile(join(directory, `chunk-000${no}.csv`), content);
    await writeFile(join(directory, 'manifest.json'), manifestOf(contents).text);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  void test('has the chunks in order, with totals and no bound in clear', () => {
    const { manifest, text } = manifestOf(contents);
    assert.deepEqual(
      manifest.chunks.map((chunk) => chunk.no),
      [0, 1, 2],
    );
    assert.deepEqual(manifest.totals, { chunks: 3, rows: 6, bytes: 60, maskedCells: 3, fileBytes: 16 });
    assert.deepEqual(parseManifest(text), manifest);
    assert.equal(new Set(manifest.chunks.map((chunk) => chunk.bounds)).size, 3);
    assert.notEqual(manifest.chunks[0]?.bounds, manifestOf(contents, Buffer.from('other')).manifest.chunks[0]?.bounds);
  });

  void test('verifies an untouched directory', async () => {
    const { ok, problems, digest } = await verifyManifest(directory);
    assert.deepEqual([ok, problems, digest], [true, [], manifestOf(contents).digest]);
  });

  void test('names the chunk of a flipped byte', async () => {
    const path = join(directory, 'chunk-0001.csv');
    const bytes = await readFile(path);
    bytes[2] = (bytes[2] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const { ok, problems } = await verifyManifest(directory);
    assert.equal(ok, false);
    assert.deepEqual(
      problems.map((problem) => problem.chunk),
      [1],
    );
    assert.match(problems[0]?.problem ?? '', /SHA-256/);
  });

  void test('finds what is missing, cut or added', async () => {
    await rm(join(directory, 'chunk-0000.csv'));
    await writeFile(join(directory, 'chunk-0002.csv'), 'thir');
    await writeFile(join(directory, 'chunk-0003.csv'), 'extra');
    const { problems } = await verifyManifest(directory);
    assert.deepEqual(
      problems.map(({ chunk, path }) => [chunk, path]),
      [
        [0, 'chunk-0000.csv'],
        [2, 'chunk-0002.csv'],
        [undefined, 'chunk-0003.csv'],
      ],
    );
  });

  void test('an edited manifest is refused, or has another digest', async () => {
    const { text, digest } = manifestOf(contents);
    assert.throws(() => parseManifest(`${text}\n`), CountersignError);
    assert.throws(() => parseManifest(text.replace('"run":', '"extra":1,"run":')), CountersignError);
    await writeFile(join(directory, 'manifest.json'), text.replace('"executor":"etl"', '"executor":"eva"'));
    assert.notEqual((await verifyManifest(directory)).digest, digest);
  });

  void test('a path that leaves the directory is not followed', async () => {
    const { text } = manifestOf(contents);
    await writeFile(join(directory, 'manifest.json'), text.replace('chunk-0000.csv', '../chunk-0.csv'));
    const { problems } = await verifyManifest(directory);
    assert.ok(problems.some((problem) => problem.chunk === 0 && problem.problem === 'is not a plain file name'));
  });
});
