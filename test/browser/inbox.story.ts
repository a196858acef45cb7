/** The inbox in a browser: what waits for whom, live, and what hostile words in it do (nothing). */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { holdStatement, jobDefinition, pushJob } from './fixtures.ts';
import { phone, startWorld, type World } from './world.ts';

let world: World;

before(async () => {
  world = await startWorld();
});

after(() => world?.close());

void describe('the inbox', () => {
  test('is empty at first, and says what that means', async () => {
    const visit = await world.visit('eli', '/');
    await visit.page.getByText('Nothing waits for you').waitFor();
    await visit.accessible();
    await visit.picture('inbox-empty');
    await visit.end();
  });

  test('shows by itself what comes, and what is decided elsewhere goes', async () => {
    const visit = await world.visit('eli', '/');
    await visit.page.getByText('Nothing waits for you').waitFor();
    const request = await pushJob(world.harness, jobDefinition({ name: 'comes-by-itself' }));
    await visit.page.getByText('comes-by-itself version 1').waitFor();
    await world.harness.api('executor2', 'POST', `/requests/${request}/reject`, { comment: 'no' });
    await visit.page.getByText('Nothing waits for you').waitFor();
    await visit.end();
  });

  test('is in order of age, and holds nothing that one wrote oneself', async () => {
    const { harness } = world;
    for (const name of ['first-asked', 'second-asked', 'third-asked']) await pushJob(harness, jobDefinition({ name }));
    const client = await harness.connect('executor');
    const held = await holdStatement(client, 'select id from customers where id > 500 order by id');
    const titles = async (view: string, person: 'eli' | 'erin') => {
      const visit = await world.visit(person, `/?view=${view}`);
      await visit.page.getByText('third-asked version 1').waitFor();
      const all = await visit.page.locator('.row').allTextContents();
      await visit.end();
      return all.map((text) => /(\S+) (version 1|on customers)/.exec(text)?.[0] ?? text);
    };
    const jobs = ['first-asked version 1', 'second-asked version 1', 'third-asked version 1'];
    assert.deepEqual(
      (await titles('waiting', 'erin')).map((title) => title.replace(/^.*:/, '')),
      [...jobs, 'SELECT on customers'].map((title) => title.replace(/^.*:/, '')),
    );
    assert.equal((await titles('waiting', 'eli')).length, 3, 'what eli asked for does not wait for eli');
    await world.harness.api('executor', 'POST', `/requests/${held.requestId}/withdraw`);
    await held.answer;
  });

  test('can be used at the width of a phone, in the dark', async () => {
    const visit = await world.visit('eli', '/', { viewport: phone, scheme: 'dark' });
    await visit.page.getByText('first-asked version 1').waitFor();
    const width = Number(await visit.page.evaluate('document.documentElement.scrollWidth'));
    assert.ok(width <= phone.width, `the page is ${width} wide`);
    await visit.accessible();
    await visit.picture('inbox-phone-dark');
    await visit.page.getByRole('button', { name: 'Menu' }).click();
    await visit.page.getByRole('link', { name: 'Connections' }).waitFor();
    await visit.end();
  });

  test('whoever holds no duty is told so, not to push a job', async () => {
    const visit = await world.visit('nora', '/');
    visit.expect((problem) => problem.includes('/api/v1/events'));
    await visit.page.getByText('You hold no duty').waitFor();
    assert.equal(await visit.page.getByText('jobs push').count(), 0);
    await visit.end();
  });

  test('whoever looks on sees everything at first', async () => {
    const visit = await world.visit('ana', '/');
    await visit.page.getByText('third-asked version 1').waitFor();
    assert.equal(await visit.page.getByRole('tab', { name: 'All' }).getAttribute('aria-selected'), 'true');
    await visit.end();
  });

  test('what a designer has asked for is under Mine', async () => {
    const visit = await world.visit('dana', '/');
    await visit.page.getByText('third-asked version 1').waitFor();
    assert.equal(await visit.page.getByRole('tab', { name: 'Mine' }).getAttribute('aria-selected'), 'true');
    await visit.page.getByRole('tab', { name: 'Waiting for me' }).click();
    await visit.page.getByText('Deciding is not your duty').waitFor();
    await visit.end();
  });
});

const hostile = [
  '<img src=x onerror=alert(1)>',
  '"><script>alert(1)</script>',
  '</code></pre><svg onload=alert(1)>',
  'javascript:alert(1)',
  '\u202e;eteled\u2066 \u200bzero\u00a0width',
];

void describe('hostile words', () => {
  test('in statements, comments and names are words, and every hidden character is seen', async () => {
    const { harness } = world;
    const client = await harness.connect('designer');
    const sql = `select id /* ${hostile.join(' ')} */, name as "${hostile[0]}" from customers where id > 900 order by id`;
    const held = await holdStatement(client, sql);
    const visit = await world.visit('eli', `/requests/${held.requestId}`);
    visit.page.on('dialog', (dialog) => assert.fail(`a script ran: ${dialog.message()}`));
    const code = visit.page.getByRole('region', { name: 'SQL' });
    const shown = (await code.textContent()) ?? '';
    for (const words of hostile.slice(0, 4)) assert.ok(shown.includes(words), `${words} is not shown as it is`);
    for (const point of ['U+202E', 'U+2066', 'U+200B', 'U+00A0']) assert.ok(shown.includes(point), point);
    await visit.page.getByText('Look closely at this text').waitFor();
    await visit.page.getByLabel('Comment').fill(hostile.join('\n'));
    await visit.page.getByRole('button', { name: 'Reject' }).click();
    await visit.page.getByText('Rejected by eli').waitFor();
    const quote = (await visit.page.locator('blockquote').textContent()) ?? '';
    assert.ok(quote.includes('<img src=x onerror=alert(1)>') && quote.includes('U+202E'), quote);
    assert.equal(await visit.page.locator('img, main script, iframe, object, embed').count(), 0);
    await visit.picture('hostile-words');
    await held.answer;
    await visit.end();
  });

  test('in an address lead nowhere', async () => {
    const visit = await world.visit('eli', '/requests/%3Cscript%3Ealert(1)%3C%2Fscript%3E');
    visit.expect((problem) => problem.includes('404'));
    await visit.page.getByRole('alert').waitFor();
    assert.equal(await visit.page.locator('main script').count(), 0);
    await visit.end();
  });
});

void describe('who is not logged in', () => {
  test('sees a log-in on every address, in both colours', async () => {
    for (const scheme of ['light', 'dark'] as const) {
      const visit = await world.stranger('/requests/req_0000000000000000', { scheme });
      await visit.page.getByRole('link', { name: /^Log in with/ }).waitFor();
      await visit.accessible();
      await visit.picture(`log-in-${scheme}`);
      await visit.end();
    }
  });

  test('is told why a log-in failed', async () => {
    const visit = await world.stranger('/auth/login?provider=nowhere');
    await visit.page.getByText('there is no identity provider').waitFor();
    await visit.picture('log-in-failed');
    await visit.end();
  });

  test('is what one is after logging out, and nothing stays on the page', async () => {
    const visit = await world.stranger('/');
    await visit.logIn('ana');
    await visit.page.getByRole('button', { name: /^Account of/ }).click();
    await visit.page.getByRole('menuitem', { name: 'Log out' }).click();
    visit.expect((problem) => problem.includes('401'));
    await visit.page.getByRole('link', { name: /^Log in with/ }).waitFor();
    await visit.end();
  });
});
