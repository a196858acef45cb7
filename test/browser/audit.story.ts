/** An auditor in the browser: every execution passed an approval, with proofs checked there; access and rules. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Route } from 'playwright-core';
import { runProgram } from '../../src/cli/program.ts';
import { finishRun, startRun } from './runs.ts';
import { phone, startWorld, type Visit, type World } from './world.ts';

let world: World;
let runId: string;

before(async () => {
  world = await startWorld();
  const started = await startRun(world.harness, 'proved');
  ({ runId } = started);
  assert.equal((await finishRun(world.harness, started)).state, 'completed');
});

after(async () => {
  await world?.close();
});

/** One byte of what the gateway sends is another one. */
async function change(route: Route, at: (body: Buffer) => number): Promise<void> {
  const response = await route.fetch();
  const body = await response.body();
  const place = at(body);
  body[place] = (body[place] ?? 0) ^ 1;
  await route.fulfill({ response, body });
}

describe('the audit page', () => {
  it('counts executions and proves in the browser that each passed an approval', async () => {
    const visit = await world.visit('ana', '/audit');
    const { page } = visit;
    await page.getByRole('heading', { name: 'Every execution passed an approval' }).waitFor();
    await page.getByText('8 of 8 executions passed an approval. Exceptions: none.').waitFor();
    await visit.accessible();
    await visit.picture('audit-light');
    await page.getByRole('button', { name: 'Verify 8 executions' }).click();
    await page.getByText('This browser sees this log for the first time').waitFor();
    await page.getByText('8 of 8 executions: somebody who is neither author nor requester').waitFor();
    await page.getByText('Not proved here').waitFor();
    await visit.accessible();
    await visit.picture('audit-verified');
    await page.getByRole('button', { name: 'Verify 8 executions' }).click();
    await page.getByText('The log continues, unchanged').waitFor();
    await visit.end();
  });

  it('finds a changed entry, a changed hash and a log that was cut', async () => {
    const visit = await world.visit('ana', '/audit');
    const { page } = visit;
    const verify = page.getByRole('button', { name: 'Verify 8 executions' });
    // "approve" becomes "`pprove" in the entries.
    await page.route('**/api/v1/log/tile/entries/**', (route) => change(route, (body) => body.indexOf('approve"')));
    await verify.click();
    await page.getByText('8 executions not proved').waitFor();
    await page
      .getByText(/is not the one that was signed/)
      .first()
      .waitFor();
    await visit.accessible();
    await visit.picture('audit-changed-entry');
    await page.unroute('**/api/v1/log/tile/entries/**');
    await page.route('**/api/v1/log/tile/0/**', (route) => change(route, () => 40));
    await verify.click();
    await page.getByText('8 executions not proved').waitFor();
    await page.unroute('**/api/v1/log/tile/0/**');
    const old = await world.harness.app.checkpoint();
    await world.harness.api('nobody', 'GET', '/sessions');
    await world.harness.app.checkpoint();
    await verify.click();
    await page.getByText('8 of 8 executions: somebody').waitFor();
    await page.route('**/api/v1/log/checkpoint', (route) => route.fulfill({ body: old }));
    await verify.click();
    await page.getByText(/it was cut/).waitFor();
    await visit.end();
  });

  it('shows in two clicks that a run was approved', async () => {
    const visit = await world.visit('ana', `/runs/${runId}`);
    const { page } = visit;
    await page.getByRole('link', { name: 'show that this run was approved' }).click();
    await page.getByRole('heading', { name: 'Yes: every execution of this run was approved before' }).waitFor();
    await page.getByText('it was decided').first().waitFor();
    await visit.accessible();
    await visit.picture('audit-run');
    await visit.end();
  });

  it('is for auditors', async () => {
    const visit = await world.visit('eli', '/audit');
    await visit.page.getByText('are for the duty auditor').waitFor();
    await visit.accessible();
    await visit.end();
  });

  it('in the dark and on a phone', async () => {
    for (const [name, options] of [
      ['audit-dark', { scheme: 'dark' }],
      ['audit-phone', { viewport: phone }],
    ] as const) {
      const visit = await world.visit('ana', '/audit', options);
      await visit.page.getByRole('heading', { name: 'Every execution passed an approval' }).waitFor();
      await visit.accessible();
      await visit.picture(name);
      await visit.end();
    }
  });
});

describe('access', () => {
  it('shows who holds what and the conflicts; a review is begun, decided and ended', async () => {
    const visit = await world.visit('ana', '/access');
    const { page } = visit;
    await page.getByRole('region', { name: 'Duties by person and connection' }).waitFor();
    await visit.accessible();
    await visit.picture('access-light');
    await page.getByRole('tab', { name: 'Conflicts' }).click();
    await page.getByRole('heading', { name: 'With one other' }).waitFor();
    await visit.accessible();
    await visit.picture('access-conflicts');
    await page.getByRole('tab', { name: 'Reviews' }).click();
    await page.getByRole('button', { name: 'Begin a review' }).click();
    await page.getByRole('region', { name: 'Lines of the review' }).waitFor();
    const own = page.getByRole('button', { name: 'Keep auditor of ana on crm' });
    assert.equal(await own.getAttribute('aria-description'), 'Nobody decides on their own duties.');
    await page.getByRole('button', { name: 'Keep designer of designer on crm' }).click();
    await page.getByText('kept', { exact: true }).first().waitFor();
    const revoke = page.getByRole('button', { name: 'Revoke approver of executor on crm' });
    assert.equal(await revoke.getAttribute('aria-description'), 'Say why in the comment.');
    await page.getByLabel('Comment on approver of executor on crm').fill('not needed');
    await revoke.click();
    await page.getByText('revoked', { exact: true }).first().waitFor();
    await visit.accessible();
    await visit.picture('access-review');
    const review = new URL(page.url()).searchParams.get('review') ?? '';
    for (const [name, more] of [
      ['Report as text', []],
      ['Report as JSON', ['--json']],
    ] as const) {
      const saved = await savedBy(visit, name);
      assert.equal(saved.text, await exported(review, more), `${name} is what the command line writes`);
      assert.equal(saved.name, `${review}.${more.length === 0 ? 'txt' : 'json'}`);
      assert.match(saved.text, /not needed/);
    }
    await page.getByRole('button', { name: 'End the review' }).click();
    await page.getByText(/lines are not decided, and the report says so/).waitFor();
    await page.getByRole('button', { name: 'End it incomplete' }).click();
    await page.getByText('The review has ended.').waitFor();
    await page.goto('/access');
    const now = await savedBy(visit, 'Download as JSON');
    const { holdings, facts } = JSON.parse(now.text) as { holdings: object[]; facts: { connections: string[] } };
    assert.ok(holdings.length > 3);
    assert.deepEqual(facts.connections, ['crm']);
    await page.getByRole('tab', { name: 'Database accounts' }).click();
    await page.getByRole('row', { name: /designer account cs_designer it may write/ }).waitFor();
    await visit.picture('access-accounts');
    await visit.end();
    const phoned = await world.visit('ana', '/access', { viewport: phone, scheme: 'dark' });
    await phoned.page.getByRole('region', { name: 'Duties by person and connection' }).waitFor();
    await phoned.accessible();
    await phoned.picture('access-phone-dark');
    await phoned.end();
  });
});

async function savedBy(visit: Visit, name: string) {
  const [download] = await Promise.all([
    visit.page.waitForEvent('download'),
    visit.page.getByRole('button', { name }).click(),
  ]);
  return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') };
}

/** What `countersign access review export` writes. */
async function exported(review: string, more: readonly string[]): Promise<string> {
  const { harness } = world;
  const file = path.join(harness.home, `review${more.length}`);
  const { COUNTERSIGN_TOKEN: before } = process.env;
  process.env['COUNTERSIGN_TOKEN'] = await harness.token('auditor');
  const none = () => Promise.reject(new Error('not here'));
  try {
    const words = ['access', 'review', 'export', review, '--out', file];
    const options = { version: '0', serve: none, doctor: none };
    assert.equal(await runProgram(['--server', harness.app.apiUrl, ...more, ...words], options), 0);
  } finally {
    if (before === undefined) delete process.env['COUNTERSIGN_TOKEN'];
    else process.env['COUNTERSIGN_TOKEN'] = before;
  }
  return readFile(file, 'utf8');
}

describe('policies', () => {
  it('show what is in force, and its history', async () => {
    for (const [name, options] of [
      ['policies-light', {}],
      ['policies-phone-dark', { viewport: phone, scheme: 'dark' }],
    ] as const) {
      const visit = await world.visit('dana', '/policies', options);
      await visit.page.getByRole('region', { name: 'Policy file reader.cedar' }).waitFor();
      await visit.accessible();
      await visit.picture(name);
      await visit.page.getByRole('tab', { name: 'History' }).click();
      await visit.page.getByText('Nothing was applied yet').waitFor();
      await visit.accessible();
      await visit.end();
    }
  });
});
