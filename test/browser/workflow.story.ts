/** Requests that are more than one approval: several humans, a whole loop, a change of the rules. Promises P3, P4. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { holdStatement, jobDefinition, pushJob } from './fixtures.ts';
import { startWorld, type World } from './world.ts';

let world: World;

before(async () => {
  world = await startWorld({
    configure: (raw) => {
      raw['workflows'] = [{ match: { kinds: ['job'] }, approvals: { count: 2 } }];
    },
  });
});

after(() => world?.close());

test('two approvals are those of two humans', async () => {
  const request = await pushJob(world.harness, jobDefinition({ name: 'by-two' }));
  const first = await world.visit('eli', `/requests/${request}`);
  await first.page.getByText('0 of 2 approvals, by different people').waitFor();
  await first.page.getByRole('button', { name: 'Approve', exact: true }).click();
  await first.page.getByText('Recorded; more approvals are needed').waitFor();
  await first.page.getByText('1 of 2 approvals, by different people').waitFor();
  await first.page.getByText(/already decided on by-two version 1/).waitFor();
  assert.equal(await first.page.getByRole('button', { name: 'Approve', exact: true }).isDisabled(), true);
  await first.accessible();
  await first.picture('approved-by-one-of-two');
  const second = await world.visit('erin', `/requests/${request}`);
  await second.page.getByRole('button', { name: 'Approve', exact: true }).click();
  await second.page.getByText('It may be used once').waitFor();
  await second.end();
  // The other page hears of it by itself.
  await first.page.getByText('It may be used once').waitFor();
  await first.end();
});

test('a loop is approved once, within bounds, and goes on by itself', async () => {
  const client = await world.harness.connect('designer');
  const step = (low: number, high: number) => `select id, ssn from customers where id > ${low} and id <= ${high}`;
  const held = await holdStatement(client, step(1_000, 2_000));
  const visit = await world.visit('eli', `/requests/${held.requestId}`);
  await visit.page.getByRole('button', { name: 'Approve the loop that it begins' }).click();
  await visit.page.getByRole('region', { name: 'The template' }).getByText(':lo').waitFor();
  await visit.page.getByLabel('Up to public.customers.id').fill('5000');
  await visit.page.getByLabel('Rows in all, at most').fill('2000');
  await visit.accessible();
  await visit.picture('loop-offered');
  await visit.page.getByRole('button', { name: 'Approve the loop', exact: true }).click();
  await visit.page.getByText('Approved by eli').waitFor();
  assert.notEqual(
    new URL(visit.page.url()).pathname,
    `/requests/${held.requestId}`,
    'the template is a request of its own',
  );
  await visit.page
    .getByText('statement.template')
    .first()
    .waitFor({ state: 'attached', timeout: 1_000 })
    .catch(() => undefined);
  await visit.picture('loop-approved');
  const first = await held.answer;
  assert.equal(first.refused, undefined);
  assert.ok(first.rows.length > 0);
  await client.query(step(2_000, 3_000));
  await visit.end();
});

test('a change of the rules says what gets wider', async () => {
  const { harness } = world;
  const { body: inForce } = await harness.api<{ rules: { bindings: object[] } }>('auditor', 'GET', '/policies');
  const bindings = [...inForce.rules.bindings, { group: 'readers', duties: ['auditor'] }];
  const { body } = await harness.api<{ request?: string }>('executor', 'POST', '/policies', {
    files: [{ name: 'rules.yaml', text: JSON.stringify({ bindings }) }],
    message: 'Readers look at recordings',
  });
  assert.ok(body.request, JSON.stringify(body));
  for (const scheme of ['light', 'dark'] as const) {
    const visit = await world.visit('erin', `/requests/${body.request}`, { scheme });
    await visit.page.getByRole('heading', { name: 'What changes in the rules' }).waitFor();
    await visit.page.getByText('Readers look at recordings').waitFor();
    await visit.page.getByText('wider', { exact: true }).first().waitFor();
    await visit.page.getByText('Computed in this browser: the digest is that of the request').waitFor();
    await visit.accessible();
    await visit.picture(`rules-${scheme}`);
    await visit.end();
  }
  const author = await world.visit('eli', `/requests/${body.request}`);
  await author.page.getByText('You cannot approve this').waitFor();
  await author.end();
});
