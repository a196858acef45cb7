/** An emergency, on the page: asked for with a reason, approved by one instead of two, run, and reviewed by two others. Promise P3. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Locator } from 'playwright-core';
import { jobDefinition, pushJob } from './fixtures.ts';
import { ask, finishRun, type Started } from './runs.ts';
import { phone, startWorld, type Visit, type World } from './world.ts';

let world: World;

before(async () => {
  world = await startWorld({
    configure: (raw) => {
      raw['bindings'] = [
        ...(raw['bindings'] as object[]),
        { group: 'others', duties: ['admin'] },
        { group: 'readers', duties: ['approver'] },
      ];
      raw['workflows'] = [
        { name: 'by two', match: { kinds: ['job'] }, approvals: { count: 2 }, breakGlass: { reviewers: 2 } },
      ];
    },
  });
});

after(() => world?.close());

const button = (visit: Visit, name: string): Locator => visit.page.getByRole('button', { name, exact: true });

async function refused(visit: Visit, name: string, why: RegExp): Promise<void> {
  const one = button(visit, name);
  await one.waitFor();
  assert.equal(await one.getAttribute('aria-disabled'), 'true');
  assert.match((await one.getAttribute('aria-description')) ?? '', why);
}

test('break-glass is asked for, approved by one, run, and confirmed by two who had no part in it', async () => {
  const { harness } = world;
  const id = await pushJob(harness, jobDefinition({ name: 'payroll' }));

  // Only whoever asked for the run finds the way: nobody else is offered it.
  const other = await world.visit('eli', `/requests/${id}`);
  await other.page.getByText('0 of 2 approvals, by different people').waitFor();
  assert.equal(await button(other, 'An emergency?').count(), 0);
  await other.end();

  const asking = await world.visit('dana', `/requests/${id}`);
  await button(asking, 'An emergency?').click();
  await refused(asking, 'Ask for break-glass', /needs a reason/);
  await asking.accessible();
  await asking.picture('break-glass-form');
  await asking.page.getByRole('textbox', { name: 'Reason' }).fill('Payroll is due at noon');
  await button(asking, 'Ask for break-glass').click();
  await asking.page.getByText('0 of 1 approval', { exact: true }).waitFor();
  assert.equal(
    await button(asking, 'Approve').isDisabled(),
    true,
    'who asked does not approve, in an emergency either',
  );

  const approving = await world.visit('eli', `/requests/${id}`);
  await approving.page.getByText(/asked at .* that fewer approve before it runs/).waitFor();
  await approving.accessible();
  await approving.picture('break-glass-waits');
  await button(approving, 'Approve').click();
  await approving.page.getByText('It may be used once').waitFor();
  await refused(approving, 'It was right', /decided on it; reviewers had no part in it/);
  await approving.page.getByText('You cannot review this').waitFor();
  await approving.picture('break-glass-may-not-review');
  await approving.end();
  await refused(asking, 'It was right', /needs the duty approver, auditor or admin/);
  await asking.end();

  const run = await ask<Started>(harness, 'executor', 'POST', '/runs', { job: 'payroll' });
  assert.equal((await finishRun(harness, run)).state, 'completed');

  // The auditor finds what is not confirmed, and who could still review it.
  await ask(harness, 'reader', 'GET', '/whoami');
  const access = await world.visit('ana', '/access?tab=break-glass');
  const open = access.page.getByRole('region', { name: 'Break-glass that is not confirmed yet', exact: true });
  await open.getByText('0 of 2', { exact: true }).waitFor();
  // Erin, nora and ana were not here yet, or are; dana and eli had a part in it.
  const who = (await open.getByRole('row').nth(1).getByRole('cell').last().textContent()) ?? '';
  assert.match(who, /ana.*rita/);
  assert.doesNotMatch(who, /dana|eli/);
  await access.accessible();
  await access.picture('access-break-glass');
  await access.page.getByRole('link', { name: id }).click();

  await access.page.getByRole('textbox', { name: 'Comment' }).waitFor();
  await refused(access, 'Object', /what was wrong/);
  await access.page.getByRole('textbox', { name: 'Comment' }).fill('Seen with finance');
  await button(access, 'It was right').click();
  await access.page.getByText(/1 review is still to come/).waitFor();
  await refused(access, 'It was right', /reviewed it already/);
  await access.end();

  const last = await world.visit('nora', `/requests/${id}`, { viewport: phone });
  await last.accessible();
  await last.picture('break-glass-review-phone');
  await button(last, 'It was right').click();
  await last.page.getByText('Break-glass, confirmed').waitFor();
  assert.equal(await button(last, 'It was right').count(), 0);
  // What happened stands in the order in which it did.
  const story = (await last.page.getByRole('region', { name: 'What happened' }).textContent()) ?? '';
  const order = [
    'Asked by designer',
    'Break-glass, asked by',
    'Approved by eli',
    'Used by',
    'Reviewed by ana',
    'Reviewed by nora',
  ];
  const places = order.map((words) => story.indexOf(words));
  assert.deepEqual(
    places,
    places.toSorted((one, two) => one - two),
    story,
  );
  assert.ok(!places.includes(-1), story);
  await last.picture('break-glass-confirmed-phone');
  await last.end();

  const types = (await harness.entries()).filter((entry) => entry['request'] === id).map((entry) => entry['type']);
  assert.equal(types.filter((type) => type === 'request.reviewed').length, 2);
  const after = await world.visit('ana', '/access?tab=break-glass');
  await after.page.getByText('None: every use was confirmed').waitFor();
  await after.end();
});
