/** Jobs and runs in the browser: a designer edits and pushes, an executor watches a run, stops it, keeps its manifest. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { replaceText } from './editor.ts';
import { pushJob } from './fixtures.ts';
import { ask, exportDefinition, finishRun, startRun } from './runs.ts';
import { phone, startWorld, type World } from './world.ts';

let world: World;

before(async () => {
  world = await startWorld();
});

after(async () => {
  await world?.close();
});

describe('jobs', () => {
  it('a designer reads, edits and pushes a definition; its errors stand at their lines', async () => {
    await pushJob(world.harness, exportDefinition({ name: 'edited' }));
    const visit = await world.visit('dana', '/jobs');
    const { page } = visit;
    await visit.accessible();
    await visit.picture('jobs-light');
    await page.getByRole('link', { name: 'edited' }).click();
    await page.getByRole('region', { name: 'Definition, version 1' }).waitFor();
    await visit.accessible();
    await visit.picture('job-light');
    await page.getByRole('button', { name: 'Edit' }).click();
    const editor = page.getByRole('textbox', { name: 'Definition of the job' });
    await replaceText(
      editor,
      'job: edited\nconnection: crm\nsource: select id from customers\nchunk: { by: id, row: 3 }\noutput: { format: parquet, to: "file://out/x" }\n',
    );
    await page.keyboard.type('# typed');
    visit.expect((problem) => problem.includes('422'));
    await page.getByRole('button', { name: 'Push and ask for approval' }).click();
    await page.getByRole('alert').getByText('Line 4:').waitFor();
    assert.equal(await page.locator('.editor-wrong').count(), 1);
    await visit.accessible();
    await visit.picture('job-edit-error');
    await replaceText(editor, exportDefinition({ name: 'edited', rows: 100 }));
    await page.getByLabel('Message of the commit').fill('Smaller chunks');
    await page.getByRole('button', { name: 'Push and ask for approval' }).click();
    await page.waitForURL(/\/requests\/req_/);
    const { versions } = await ask<{ versions: { version: number; authors: { human: string }[] }[] }>(
      world.harness,
      'designer',
      'GET',
      '/jobs/edited',
    );
    assert.equal(versions[0]?.version, 2);
    assert.ok(versions[0]?.authors.every(({ human }) => human === 'dana'));
    await page.goto('/jobs/edited?tab=changes');
    await page.getByRole('region', { name: /Changes from version 1/ }).waitFor();
    await visit.accessible();
    await visit.picture('job-changes');
    await visit.end();
  });

  it('on a phone and in the dark', async () => {
    const visit = await world.visit('dana', '/jobs/edited', { scheme: 'dark', viewport: phone });
    await visit.page.getByRole('region', { name: 'Definition, version 2' }).waitFor();
    await visit.accessible();
    await visit.picture('job-phone-dark');
    await visit.end();
  });
});

describe('runs', () => {
  it('an executor watches one, pauses it, and reads its manifest', async () => {
    const started = await startRun(world.harness, 'watched');
    const visit = await world.visit('eli', '/runs');
    const { page } = visit;
    await page.getByRole('link', { name: started.runId }).waitFor();
    await visit.accessible();
    await visit.picture('runs-light');
    await page.getByRole('link', { name: started.runId }).click();
    await page.getByRole('slider', { name: 'Chunk' }).waitFor();
    await visit.accessible();
    await visit.picture('run-begin');
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    const retry = page.getByRole('button', { name: 'Retry failed' });
    assert.equal(await retry.getAttribute('aria-description'), 'No chunk has failed.');
    await finishRun(world.harness, started);
    await page.getByRole('heading', { name: 'Manifest' }).waitFor();
    await page.getByRole('slider', { name: 'Chunk' }).focus();
    await page.keyboard.press('ArrowRight');
    await page.getByText(/^Chunk 1: sealed/).waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download' }).click(),
    ]);
    const saved = await readFile(await download.path(), 'utf8');
    const ended = (await world.harness.entries()).find(
      (entry) => entry['type'] === 'run.completed' && entry['run'] === started.runId,
    );
    const digest = (ended?.['detail'] as { manifestDigest?: string } | undefined)?.manifestDigest;
    assert.ok(digest !== undefined && saved.includes(started.runId));
    await page.getByRole('button', { name: `Copy ${digest}` }).waitFor();
    await visit.accessible();
    await visit.picture('run-completed-light');
    await visit.end();
    for (const [name, options] of [
      ['run-completed-dark', { scheme: 'dark' }],
      ['run-completed-phone', { viewport: phone }],
    ] as const) {
      const other = await world.visit('erin', `/runs/${started.runId}`, options);
      await other.page.getByRole('heading', { name: 'Manifest' }).waitFor();
      await other.accessible();
      await other.picture(name);
      await other.end();
    }
  });

  it('ten thousand chunks are one picture', async () => {
    const { runId } = await startRun(world.harness, 'large');
    const visit = await world.visit('erin', '/runs');
    const { page } = visit;
    await page.route('**/api/v1/runs/*/progress', async (route) => {
      const response = await route.fetch();
      const answer = (await response.json()) as Record<string, unknown>;
      const states = 'E'.repeat(6_000) + 'F'.repeat(20) + 'S'.repeat(8) + 'P'.repeat(3_972);
      const chunks = { planned: 3_972, leased: 0, streaming: 8, sealed: 6_000, failed: 20, blocked: 0 };
      const chunkRows = Array.from({ length: 10_000 }, (_, chunk) => (chunk < 6_000 ? 50_000 : 0));
      const slices = Array.from({ length: 100 }, (_, slice) => ({
        atMs: Date.parse(String(answer['createdAt'])) + slice * 5_000,
        rows: 2_000_000 + slice * 20_000,
        bytes: 1,
      }));
      const more = {
        states,
        chunks,
        chunkRows,
        chunkCount: 10_000,
        rows: 300_000_000,
        timeline: slices,
        sliceMs: 5_000,
      };
      await route.fulfill({ response, json: { ...answer, ...more } });
    });
    await page.goto(`/runs/${runId}`);
    const slider = page.getByRole('slider', { name: 'Chunk' });
    await slider.focus();
    await slider.press('End');
    await page.getByText('Chunk 9999: planned, 0 rows').waitFor();
    await page.getByText('6,000 sealed').waitFor();
    await visit.accessible();
    await visit.picture('run-10000');
    await visit.end();
  });

  it('who may not stop a run reads why; who may is asked once more', async () => {
    const { runId } = await startRun(world.harness, 'killed');
    const designer = await world.visit('dana', `/runs/${runId}`);
    const button = designer.page.getByRole('button', { name: 'Kill' });
    assert.equal(await button.getAttribute('aria-description'), 'This needs the duty executor or approver on crm.');
    await button.click({ force: true });
    await designer.end();
    assert.equal((await ask<{ state: string }>(world.harness, 'auditor', 'GET', `/runs/${runId}`)).state, 'running');
    const visit = await world.visit('erin', `/runs/${runId}`);
    await visit.page.getByRole('button', { name: 'Kill' }).click();
    await visit.accessible();
    await visit.picture('run-kill');
    await visit.page.getByRole('button', { name: 'End it' }).click();
    await visit.page.getByText('killed', { exact: true }).first().waitFor();
    await visit.accessible();
    await visit.end();
  });
});
