/** The rules, changed on the page: what narrows is applied, what widens is somebody else's decision. Promise P3. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { replaceText } from './editor.ts';
import { startWorld, type World } from './world.ts';

let world: World;

before(async () => {
  world = await startWorld();
});

after(() => world?.close());

interface Rules {
  readonly bindings: readonly { readonly group: string; readonly duties: readonly string[] }[];
  readonly masking: readonly { readonly columns: readonly object[] }[];
}

/** What the editor is given instead of the rules in force. */
async function edited(change: (rules: Rules) => Rules): Promise<string> {
  const { body } = await world.harness.api<{ rules: Rules & { policies: { defaults: boolean } } }>(
    'auditor',
    'GET',
    '/policies',
  );
  const { policies, ...rules } = body.rules;
  return stringify({ ...change(rules), policies: { defaults: policies.defaults } });
}

const maskNotes = (rules: Rules): Rules => ({
  ...rules,
  masking: rules.masking.map((template) => ({
    ...template,
    columns: [...template.columns, { match: 'nickname', mask: 'redact' }],
  })),
});
const readersLookOn = (rules: Rules): Rules => ({
  ...rules,
  bindings: [...rules.bindings, { group: 'readers', duties: ['auditor'] }],
});

test('whoever may not change them reads why', async () => {
  const visit = await world.visit('dana', '/policies');
  const button = visit.page.getByRole('button', { name: 'Change the rules' });
  assert.equal(await button.getAttribute('aria-disabled'), 'true');
  assert.match((await button.getAttribute('aria-description')) ?? '', /admin or approver/);
  await visit.end();
});

test('a mistake is shown at its line, and what narrows is applied at once', async () => {
  const visit = await world.visit('eli', '/policies');
  const { page } = visit;
  await page.getByRole('button', { name: 'Change the rules' }).click();
  const editor = page.getByRole('textbox', { name: 'Rules: rules.yaml' });
  assert.match(await editor.innerText(), /chunk-designers/);
  await replaceText(editor, 'bindings:\n  - group: readers\n    duty: auditor');
  visit.expect((problem) => problem.includes('422'));
  await page.getByRole('button', { name: 'Show the difference' }).click();
  await page.getByText('The rules are not valid').waitFor();
  await page
    .getByText(/Line [23]:/)
    .first()
    .waitFor();
  await visit.picture('rules-mistake');

  await replaceText(editor, await edited(maskNotes));
  await page.getByRole('button', { name: 'Show the difference' }).click();
  await page.getByText('Nothing gets wider', { exact: true }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Apply now' }).getAttribute('aria-disabled'), 'true');
  await page.getByRole('textbox', { name: 'Why' }).fill('Nicknames are personal, too');
  await visit.accessible();
  await visit.picture('rules-narrower');
  await page.getByRole('button', { name: 'Apply now' }).click();
  await page.getByText('Nicknames are personal, too').waitFor();
  await visit.end();
  const { body } = await world.harness.api<{ rules: Rules }>('auditor', 'GET', '/policies');
  assert.match(JSON.stringify(body.rules.masking), /nickname/);
});

test('what widens waits for somebody else, and what was decided on meanwhile is not overwritten', async () => {
  const late = await world.visit('erin', '/policies?tab=edit');
  await replaceText(
    late.page.getByRole('textbox', { name: 'Rules: rules.yaml' }),
    await edited((rules) => ({ ...rules, masking: [] })),
  );

  const author = await world.visit('eli', '/policies?tab=edit');
  await replaceText(author.page.getByRole('textbox', { name: 'Rules: rules.yaml' }), await edited(readersLookOn));
  await author.page.getByRole('button', { name: 'Show the difference' }).click();
  await author.page.getByText('Something gets wider').waitFor();
  await author.page.getByRole('textbox', { name: 'Why' }).fill('Readers look on');
  await author.page.getByRole('button', { name: 'Ask for approval' }).click();
  await author.page.getByRole('heading', { name: 'What changes in the rules' }).waitFor();
  await author.page.getByText('You cannot approve this').waitFor();
  const address = new URL(author.page.url()).pathname;
  await author.end();

  const other = await world.visit('erin', address);
  await other.page.getByRole('button', { name: 'Approve', exact: true }).click();
  await other.page.getByText('approved', { exact: true }).first().waitFor();
  await other.end();
  const { body } = await world.harness.api<{ rules: Rules }>('auditor', 'GET', '/policies');
  assert.ok(body.rules.bindings.some(({ group, duties }) => group === 'readers' && duties.includes('auditor')));

  late.expect((problem) => problem.includes('409'));
  await late.page.getByRole('button', { name: 'Show the difference' }).click();
  await late.page.getByText(/other rules are in force/).waitFor();
  await late.end();
});
