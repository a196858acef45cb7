/** The stories of a request in a browser: the link, the approval, the rejection, the conflict. Promises P2, P3, P8. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { holdStatement, jobDefinition, pushJob } from './fixtures.ts';
import { phone, startWorld, type World } from './world.ts';

const proved = 'Computed in this browser: the digest is that of the request';

let world: World;

before(async () => {
  world = await startWorld();
});

after(() => world?.close());

async function stateOf(requestId: string) {
  const { body } = await world.harness.api<{
    state: string;
    decisions: { human: string; comment: string }[];
    grant?: { state: string };
  }>('auditor', 'GET', `/requests/${requestId}`);
  return body;
}

void describe('a statement that waits', () => {
  test('its NOTICE leads whoever sent it to the request, through the log-in, which says why they cannot approve it', async () => {
    const client = await world.harness.connect('designer');
    const held = await holdStatement(client, 'select id, name, ssn from customers where id > 100 order by id');
    const visit = await world.visit('dana', held.address, { viewport: phone });
    await visit.page.getByRole('heading', { name: 'SELECT on customers' }).waitFor();
    await visit.page.getByText(proved).waitFor();
    const approve = visit.page.getByRole('button', { name: 'Approve' });
    assert.equal(await approve.isDisabled(), true);
    assert.equal(await visit.page.getByRole('button', { name: 'Reject' }).isDisabled(), true);
    const reasonId = await approve.getAttribute('aria-describedby');
    const reason = await visit.page.locator(`[id="${reasonId}"]`).textContent();
    assert.match(reason ?? '', /an author may not approve it/);
    // Why it waits, whom for, and what would be let through, stand before the buttons.
    const text = (await visit.page.locator('main').innerText()).replaceAll(/\s+/g, ' ');
    const order = [
      'reading rows on crm in the duty of designer needs an approval',
      'select id, name, ssn from customers where id > 100',
      'It waits for one approval more, by somebody else with the duty approver on crm.',
      'Approve',
    ].map((words) => text.indexOf(words));
    assert.ok(!order.includes(-1), text);
    assert.deepEqual(
      order.toSorted((one, two) => one - two),
      order,
    );
    await visit.accessible();
    await visit.picture('statement-waits-phone');
    await visit.page.getByRole('button', { name: 'Withdraw my request' }).click();
    assert.match((await held.answer).refused ?? '', /was withdrawn/);
    await visit.end();
  });

  test('somebody else rejects it with a comment, which the client reads', async () => {
    const client = await world.harness.connect('designer');
    const held = await holdStatement(client, 'select id, email from customers where id > 200 order by id');
    const visit = await world.visit('eli', `/requests/${held.requestId}`);
    await visit.page.getByRole('button', { name: 'Reject' }).click();
    await visit.page.getByText('Say why: a rejection needs a reason').waitFor();
    assert.equal((await stateOf(held.requestId)).state, 'pending');
    await visit.page.getByLabel('Comment').fill('use the job customers-export');
    await visit.page.getByRole('button', { name: 'Reject' }).click();
    await visit.page.getByText('Rejected by eli').waitFor();
    await visit.picture('statement-rejected');
    assert.match((await held.answer).refused ?? '', /rejected by eli: use the job customers-export/);
    await visit.end();
  });

  test('is approved, and its rows come, masked', async () => {
    const client = await world.harness.connect('designer');
    const held = await holdStatement(client, 'select id, ssn from customers where id > 300 order by id');
    const visit = await world.visit('erin', `/requests/${held.requestId}`);
    await visit.page.getByRole('button', { name: 'Approve' }).click();
    await visit.page.getByText('Approved by erin').waitFor();
    const answer = await held.answer;
    assert.equal(answer.refused, undefined);
    assert.equal(answer.rows.length, 2_000);
    assert.match((answer.rows[0] as { ssn: string }).ssn, /^\W+\d{4}$/);
    // The page hears of the use by itself.
    await visit.page.getByText('Used by designer', { exact: true }).waitFor();
    await visit.end();
  });
});

void describe('a chunk job', () => {
  test('shows what is signed, and what changed since it was approved last', async () => {
    const { harness } = world;
    const first = await pushJob(harness, jobDefinition({ name: 'customers-export' }));
    await harness.api('executor', 'POST', `/requests/${first}/approve`, { comment: 'for the quarter' });
    const second = await pushJob(
      harness,
      jobDefinition({ name: 'customers-export', rows: 90, columns: 'id, name, ssn, region, created_at' }),
    );
    for (const scheme of ['light', 'dark'] as const) {
      const visit = await world.visit('eli', `/requests/${second}`, { scheme });
      await visit.page.getByText(proved).waitFor();
      const body = visit.page.locator('main');
      const changed = visit.page.getByRole('region', { name: 'Changes of the definition file' });
      await changed.getByText('chunk: { by: id, rows: 90 }').waitFor();
      await changed.getByText('chunk: { by: id, rows: 250 }').waitFor();
      const text = (await body.innerText()).replaceAll(/\s+/g, ' ');
      for (const expected of [
        'designer (dana) asked',
        'Read 5 columns in',
        '2 of them masked',
        'file://out/customers-export',
        'last4',
        'public.customers.ssn',
      ]) {
        assert.ok(text.includes(expected), `${expected} is not on the page`);
      }
      assert.match(
        (await visit.page.getByRole('img', { name: /chunks by id/ }).getAttribute('aria-label')) ?? '',
        /^\d+ chunks/,
      );
      await visit.accessible();
      await visit.picture(`request-${scheme}`);
      await visit.view(`request-at-once-${scheme}`);
      await visit.end();
    }
  });

  test('every field of the digest is there, and the hash is that of the bytes', async () => {
    const request = await pushJob(world.harness, jobDefinition({ name: 'digest-fields' }));
    const { body } = await world.harness.api<{ digest: string; digestInputJson: string }>(
      'auditor',
      'GET',
      `/requests/${request}`,
    );
    const visit = await world.visit('ana', `/requests/${request}`);
    await visit.page.getByText(proved).waitFor();
    const shown = (await visit.page.locator('.digest-fields').textContent()) ?? '';
    for (const leaf of leavesOf(JSON.parse(body.digestInputJson)))
      assert.ok(shown.includes(leaf), `${leaf} is not shown`);
    await visit.page.getByRole('button', { name: 'Show the canonical JSON' }).click();
    const json = (await visit.page.getByRole('region', { name: 'Canonical JSON' }).textContent()) ?? '';
    assert.equal(createHash('sha256').update(json).digest('hex'), body.digest);
    await visit.end();
  });

  test('cannot be approved here when what is shown is not what the digest says', async () => {
    const request = await pushJob(world.harness, jobDefinition({ name: 'swapped' }));
    const visit = await world.visit('eli', '/');
    await visit.page.route(`**/api/v1/requests/${request}`, async (route) => {
      const answer = await route.fetch();
      const text = (await answer.text()).replace('/out/swapped', '/out/elsewhere');
      await route.fulfill({ response: answer, body: text });
    });
    await visit.page.goto(`/requests/${request}`);
    await visit.page.getByText('Do not approve: what is shown does not have the digest of this request').waitFor();
    assert.equal(await visit.page.getByRole('button', { name: 'Approve' }).isDisabled(), true);
    await visit.end();
  });

  test('nor when the definition file is another one', async () => {
    const request = await pushJob(world.harness, jobDefinition({ name: 'another-file' }));
    const visit = await world.visit('eli', '/');
    await visit.page.route(`**/api/v1/requests/${request}`, async (route) => {
      const answer = await route.fetch();
      const body = (await answer.json()) as { evidence: { source: string } };
      body.evidence.source = body.evidence.source.replace('rows: 250', 'rows: 25');
      await route.fulfill({ response: answer, json: body });
    });
    await visit.page.goto(`/requests/${request}`);
    await visit.page.getByText('Do not approve: the definition file that is shown').waitFor();
    assert.equal(await visit.page.getByRole('button', { name: 'Approve' }).isDisabled(), true);
    await visit.end();
  });

  test('is approved with the keyboard alone', async () => {
    const request = await pushJob(world.harness, jobDefinition({ name: 'by-keyboard' }));
    const visit = await world.visit('eli', '/audit');
    const { keyboard } = visit.page;
    await visit.page.getByRole('heading', { level: 1 }).waitFor();
    await keyboard.press('g');
    await keyboard.press('i');
    await visit.page.getByRole('heading', { name: 'Inbox' }).waitFor();
    await visit.page.getByText('by-keyboard version 1').waitFor();
    // j goes down the rows until ours has the focus.
    const focused = async () => visit.page.locator(':focus').textContent({ timeout: 5_000 });
    for (let press = 0; press < 20; press++) {
      await keyboard.press('j');
      if (((await focused()) ?? '').includes('by-keyboard')) break;
    }
    await keyboard.press('Enter');
    await visit.page.getByRole('heading', { name: 'by-keyboard version 1' }).waitFor();
    await visit.page.getByText(proved).waitFor();
    await keyboard.press('c');
    await keyboard.type('read and signed without a mouse');
    await keyboard.press('Tab');
    assert.equal(await focused(), 'Approve');
    await keyboard.press('Enter');
    await visit.page.getByText('Approved by eli').waitFor();
    const { state, decisions } = await stateOf(request);
    assert.deepEqual([state, decisions[0]?.comment], ['approved', 'read and signed without a mouse']);
    await visit.end();
  });

  test('that needs two approvals says so, and does not take two of one person', async () => {
    const request = await pushJob(world.harness, jobDefinition({ name: 'already-decided' }));
    await world.harness.api('executor', 'POST', `/requests/${request}/approve`, {});
    const visit = await world.visit('eli', `/requests/${request}`);
    await visit.page.getByText('It may be used once').waitFor();
    assert.equal(await visit.page.getByRole('button', { name: 'Approve' }).count(), 0);
    await visit.end();
  });
});

/** Texts of every leaf of a JSON value, as a person would look for them. */
function leavesOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(leavesOf);
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(leavesOf);
  return value === null ? ['none'] : [typeof value === 'string' ? value : JSON.stringify(value)];
}
