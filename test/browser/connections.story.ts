/** A database is put behind the gateway from the page: by two people, with passwords that neither of them sees. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { phone, startWorld, type Visit, type World } from './world.ts';

let world: World;

before(async () => {
  world = await startWorld();
});

after(() => world?.close());

async function fill(visit: Visit, labels: string): Promise<void> {
  const { page } = visit;
  const { host, port } = world.harness.postgres;
  const form = page.getByRole('form', { name: 'New connection' });
  for (const [label, value] of [
    ['Name', 'billing'],
    ['Host', host],
    ['Port', String(port)],
    ['Database', 'crm'],
    ['Labels', labels],
  ] as const) {
    await form.getByRole('textbox', { name: label, exact: true }).fill(value);
  }
  await form.getByRole('button', { name: 'Show what it would be' }).click();
}

test('a designer sees what it would be, and why somebody else has to ask', async () => {
  const visit = await world.visit('dana', '/connections', { viewport: phone });
  await fill(visit, 'data=personal');
  await visit.page.getByText('somebody else has to approve it').waitFor();
  const button = visit.page.getByRole('button', { name: 'Ask for approval' });
  assert.match((await button.getAttribute('aria-description')) ?? '', /needs the duty admin or approver/);
  await visit.accessible();
  await visit.picture('connection-new-phone');
  await visit.end();
});

test('a mistake is named, an approver asks, another approves, the gateway gets the passwords, and it works', async () => {
  const author = await world.visit('eli', '/connections');
  const { page } = author;
  author.expect((problem) => problem.includes('422'));
  await page.getByRole('textbox', { name: 'Host', exact: true }).fill('db.example.com/x');
  await page.getByRole('button', { name: 'Show what it would be' }).click();
  await page.getByText(/a host is a name or an address/).waitFor();
  await fill(author, 'data=personal, team=billing');
  await page.getByText('somebody else has to approve it').waitFor();
  await page.getByRole('checkbox', { name: /Without TLS/ }).check();
  await page.getByRole('button', { name: 'Show what it would be' }).click();
  await page.getByText('somebody else has to approve it').waitFor();
  await author.accessible();
  await author.picture('connection-new');
  assert.equal(await page.getByRole('button', { name: 'Ask for approval' }).getAttribute('aria-disabled'), 'true');
  await page.getByRole('textbox', { name: 'Why' }).fill('Bills come here, too');
  await page.getByRole('button', { name: 'Ask for approval' }).click();
  await page.getByText('You cannot approve this').waitFor();
  const address = new URL(page.url()).pathname;
  await author.end();

  const other = await world.visit('erin', address);
  await other.page
    .getByText(/new connection billing/)
    .first()
    .waitFor();
  await other.picture('connection-new-request');
  await other.page.getByRole('button', { name: 'Approve', exact: true }).click();
  await other.page.getByText('approved', { exact: true }).first().waitFor();
  await other.page.goto(new URL('/connections/billing', other.page.url()).href);
  await other.page.getByText(/this gateway has no password/).waitFor();
  await other.accessible();
  await other.picture('connection-without-password');

  const folder = path.join(world.harness.dataDirectory, 'connections', 'billing');
  await mkdir(folder, { recursive: true });
  for (const duty of ['gateway', 'designer', 'executor']) await writeFile(path.join(folder, duty), 'test-role\n');
  await other.page.getByRole('button', { name: 'Test the connection' }).click();
  await other.page.getByText('The target answers').waitFor();
  await other.page.reload();
  await other.page.getByText('public.customers.ssn').waitFor();

  await other.page.getByRole('button', { name: 'Remove' }).click();
  await other.page.getByRole('dialog').getByRole('textbox', { name: 'Why' }).fill('The trial is over');
  await other.page.getByRole('button', { name: 'Remove it' }).click();
  await other.page.getByRole('link', { name: 'crm', exact: true }).waitFor();
  assert.equal(await other.page.getByRole('link', { name: 'billing', exact: true }).count(), 0);
  await other.end();
});
