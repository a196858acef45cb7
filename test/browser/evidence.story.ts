/** Evidence and rules in the browser: sessions and their replay, connections, masks. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { phone, startWorld, type Person, type World } from './world.ts';

let world: World;
let sessionId: string;

before(async () => {
  world = await startWorld({
    configure: (raw) => {
      raw['bindings'] = [...(raw['bindings'] as object[]), { group: 'auditors', duties: ['admin'], labels: {} }];
    },
  });
  const client = await world.harness.connect('reader', { application_name: '<img src=x onerror=alert(1)>' });
  await client.query('select id, name, email, ssn, card_number, region from customers order by id limit 40');
  await client.query("select id from customers where ssn like '1%'").catch(() => undefined);
  await client.query("select '<script>alert(1)</script>' as markup, null as nothing, region from customers limit 3");
  await client.query('select count(*) from customers');
  await client.end();
  const { body } = await world.harness.api<{ sessions: { id: string }[] }>('auditor', 'GET', '/sessions?human=rita');
  sessionId = body.sessions[0]?.id ?? '';
});

after(async () => {
  await world?.close();
});

async function look(person: Person, address: string, ready: string, name: string): Promise<void> {
  for (const [suffix, options] of [
    ['light', {}],
    ['dark', { scheme: 'dark' }],
    ['phone', { viewport: phone }],
  ] as const) {
    const visit = await world.visit(person, address, options);
    await visit.page.getByText(ready).first().waitFor();
    await visit.accessible();
    await visit.picture(`${name}-${suffix}`);
    await visit.end();
  }
}

describe('sessions', () => {
  it('an auditor finds one, and nobody else sees any', async () => {
    const visit = await world.visit('ana', '/sessions');
    await visit.page.getByLabel('Person').fill('rita');
    await visit.page.getByLabel('Person').press('Enter');
    await visit.page.getByRole('link', { name: sessionId }).waitFor();
    assert.match(visit.page.url(), /human=rita/);
    assert.equal(await visit.page.locator('img').count(), 0);
    await visit.accessible();
    await visit.picture('sessions-light');
    await visit.end();
    for (const person of ['dana', 'eli', 'nora'] as const) {
      const other = await world.visit(person, `/sessions/${sessionId}`);
      // Whoever holds no duty hears of no changes either.
      other.expect((problem) => person === 'nora' && problem.includes('/api/v1/events'));
      await other.page.getByText('are for the duty auditor').waitFor();
      await other.end();
    }
  });

  it('its replay shows what was delivered, masked, as text; the look is in the log', async () => {
    const looks = async () =>
      (await world.harness.entries()).filter((entry) => entry['type'] === 'recording.read').length;
    const before = await looks();
    const visit = await world.visit('ana', `/sessions/${sessionId}`);
    const { page } = visit;
    await page.getByRole('region', { name: 'Statements' }).first().waitFor();
    assert.equal(await looks(), before, 'nothing is read before it is asked for');
    await page.getByRole('button', { name: 'Open the recording' }).click();
    const slider = page.getByRole('slider', { name: 'Moment of the session' });
    await slider.waitFor();
    await page.getByText('Statement 1 of 4').waitFor();
    await page
      .getByRole('region', { name: 'Rows as they were delivered' })
      .first()
      .getByText('[masked]')
      .first()
      .waitFor();
    await visit.accessible();
    await visit.picture('session-replay');
    await page.getByRole('button', { name: 'The next statement' }).click();
    await page.getByText('Statement 2 of 4').waitFor();
    await visit.picture('session-denied');
    await slider.focus();
    await slider.press('End');
    await page.getByText('Statement 4 of 4').waitFor();
    await page.getByRole('button', { name: 'The statement before' }).click();
    await page.getByText('<script>alert(1)</script>', { exact: true }).first().waitFor();
    await page.getByText('NULL', { exact: true }).first().waitFor();
    await page.getByRole('button', { name: 'Play', exact: true }).click();
    await page.getByText('Statement 4 of 4').waitFor();
    assert.equal(await looks(), before + 1);
    await visit.end();
  });

  it('in the dark and on a phone', () => look('ana', `/sessions/${sessionId}`, 'Open the recording', 'session'));
});

describe('connections', () => {
  it('show what they inherit; whoever decides there tests the target', async () => {
    const visit = await world.visit('ana', '/connections/crm');
    const { page } = visit;
    await page.getByRole('button', { name: 'Test the connection' }).click();
    await page.getByText('The target answers').waitFor();
    await visit.accessible();
    await visit.picture('connection-light');
    assert.match(
      (await page.getByRole('button', { name: 'Remove' }).getAttribute('aria-description')) ?? '',
      /stands in the configuration file/,
    );
    await visit.end();
    const designer = await world.visit('dana', '/connections/crm');
    const button = designer.page.getByRole('button', { name: 'Test the connection' });
    assert.match((await button.getAttribute('aria-description')) ?? '', /needs the duty admin or approver on crm/);
    await designer.end();
  });

  it('in the dark and on a phone', () => look('dana', '/connections/crm', 'Masked columns', 'connection'));
});

describe('masking', () => {
  it("a value of one's own is masked by the real rules", async () => {
    const visit = await world.visit('dana', '/masking');
    const { page } = visit;
    await page.getByRole('textbox', { name: 'Value' }).fill('made.up@tried.example');
    await page.getByRole('textbox', { name: 'In column' }).fill('customers.email');
    await page.getByRole('combobox', { name: 'On connection' }).click();
    await page.getByRole('option', { name: 'crm' }).click();
    await page.getByRole('button', { name: 'Mask it' }).click();
    await page.getByText('***@tried.example').waitFor();
    await visit.accessible();
    await visit.picture('masking-result');
    await visit.end();
  });

  it('in the dark and on a phone', () => look('dana', '/masking', 'personal', 'masking'));
});
