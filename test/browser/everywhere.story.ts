/**
 * Every address that the page draws, in both colours, on a desk and on a phone: no serious finding of axe, nothing that
 * has to be scrolled sideways, nothing cut off. The list is read from the router: one that is added is looked at too.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { holdStatement, jobDefinition, pushJob } from './fixtures.ts';
import { ask, exportDefinition, finishRun, type Started } from './runs.ts';
import { desktop, phone, startWorld, type Person, type Scheme, type World } from './world.ts';

let world: World;
/** Of each address with a parameter: what is there to look at, and as whom. */
let examples: Readonly<Record<string, readonly Look[]>>;

type Look = readonly [person: Person, address: string];

/** What is behind a tab or a button, and looks different to others. */
const further: readonly Look[] = [
  ['eli', '/'],
  ['dana', '/'],
  ['nora', '/'],
  ['ana', '/?view=all'],
  ['nora', '/audit'],
  ['ana', '/access?tab=conflicts'],
  ['ana', '/access?tab=accounts'],
  ['ana', '/access?tab=break-glass'],
  ['ana', '/access?tab=reviews'],
  ['ana', '/policies?tab=history'],
  ['eli', '/policies?tab=edit'],
  ['dana', '/jobs/new?edit=1'],
  ['ana', '/sessions?human=nobody-of-this-name'],
];

/** The addresses in the order of the router; `*` is every other one. */
function drawnRoutes(): string[] {
  const text = readFileSync(fileURLToPath(new URL('../../web/src/routes.tsx', import.meta.url)), 'utf8');
  const drawn = [...text.matchAll(/(?:\bpage\(|\bpath: )'([^']*)'/g)].map(([, route = '']) => route);
  const declared = text.match(/\bpage\((?!path)|\bpath: '/g) ?? [];
  assert.equal(drawn.length, declared.length, 'each address stands in the router as a text of its own');
  return drawn;
}

before(async () => {
  world = await startWorld({
    configure: (raw) => {
      raw['bindings'] = [...(raw['bindings'] as object[]), { group: 'auditors', duties: ['admin'] }];
      raw['workflows'] = [{ name: 'by two', match: { kinds: ['job'] }, approvals: { count: 2 }, breakGlass: {} }];
    },
  });
  const { harness } = world;
  const approve = (who: 'executor' | 'executor2', id: string) =>
    ask(harness, who, 'POST', `/requests/${id}/approve`, { comment: 'read and compared' });

  const ran = await pushJob(harness, exportDefinition({ name: 'quarter-export' }));
  await approve('executor', ran);
  await approve('executor2', ran);
  const run = await ask<Started>(harness, 'executor', 'POST', '/runs', { job: 'quarter-export' });
  assert.equal((await finishRun(harness, run)).state, 'completed');
  const changed = await pushJob(harness, exportDefinition({ name: 'quarter-export', rows: 100 }));
  await approve('executor', changed);

  const glass = await pushJob(harness, jobDefinition({ name: 'payroll-now' }));
  await ask(harness, 'designer', 'POST', `/requests/${glass}/break-glass`, { reason: 'Payroll is due at noon' });
  await approve('executor2', glass);

  const reader = await harness.connect('reader', { application_name: 'psql' });
  await reader.query('select id, name, email from customers order by id limit 3');
  await reader.query("select id from customers where ssn like '1%'").catch(() => undefined);
  await reader.end();
  const { sessions } = await ask<{ sessions: { id: string }[] }>(harness, 'auditor', 'GET', '/sessions?human=rita');
  const held = await holdStatement(
    await harness.connect('designer'),
    'select id, name, ssn from customers where id > 100 order by id',
  );

  const { rules } = await ask<{ rules: { bindings: object[] } }>(harness, 'auditor', 'GET', '/policies');
  const wider = [...rules.bindings, { group: 'readers', duties: ['auditor'] }];
  const change = await ask<{ request: string }>(harness, 'executor', 'POST', '/policies', {
    files: [{ name: 'rules.yaml', text: JSON.stringify({ bindings: wider }) }],
    message: 'Readers look at recordings',
  });
  await ask(harness, 'nobody', 'GET', '/whoami');
  const review = await ask<{ id: string }>(harness, 'auditor', 'POST', '/access/reviews', {});

  examples = {
    '/requests/:id': [
      ['eli', `/requests/${held.requestId}`],
      ['dana', `/requests/${held.requestId}`],
      ['erin', `/requests/${changed}`],
      ['dana', `/requests/${changed}`],
      ['ana', `/requests/${glass}`],
      ['eli', `/requests/${glass}`],
      ['erin', `/requests/${change.request}`],
    ],
    '/jobs/:job': [
      ['dana', '/jobs/quarter-export'],
      ['dana', '/jobs/quarter-export?edit=1'],
      ['dana', '/jobs/quarter-export?tab=changes'],
      ['dana', '/jobs/quarter-export?tab=versions'],
    ],
    '/runs/:id': [
      ['ana', `/runs/${run.runId}`],
      ['ana', `/audit?run=${run.runId}`],
    ],
    '/sessions/:id': [['ana', `/sessions/${sessions[0]?.id ?? ''}`]],
    '/connections/:name': [['ana', '/connections/crm']],
    '/access': [
      ['ana', '/access'],
      ['ana', `/access?tab=reviews&review=${review.id}`],
    ],
    '*': [['ana', '/nowhere/at-all']],
  };
});

after(() => world?.close());

/** @param name of the pictures */
async function look(person: Person, address: string, name: string): Promise<void> {
  const visit = await world.visit(person, address);
  // What is not there is said by a status, and whoever holds no duty hears of no changes.
  visit.expect((problem) => /nowhere|api\/v1\/events/.test(problem));
  await visit.settled();
  for (const [size, viewport] of [
    ['desk', desktop],
    ['phone', phone],
  ] as const) {
    await visit.page.setViewportSize(viewport);
    for (const scheme of ['light', 'dark'] satisfies Scheme[]) {
      await visit.paint(scheme);
      await visit.notWider();
      await visit.notCut();
      // Only the colours depend on the scheme.
      await visit.accessible(scheme === 'light' ? undefined : ['color-contrast']);
      await visit.picture(`all-${name}-${person}-${size}-${scheme}`);
    }
  }
  await visit.end();
}

const nameOf = (address: string) =>
  address
    .replace(/^\//, '')
    .replaceAll(/[^\w]+/g, '-')
    .replaceAll(/\b(req|run|ses|review)_\w+/g, '$1') || 'inbox';

describe('every address of the page, in both colours, on a desk and on a phone', () => {
  for (const route of drawnRoutes()) {
    it(route, async () => {
      const looks = examples[route] ?? (/[:*]/.test(route) ? [] : [['ana', route] as const]);
      assert.notEqual(looks.length, 0, `there is no example of ${route} to look at: add one`);
      for (const [at, [person, address]] of looks.entries()) await look(person, address, `${nameOf(address)}-${at}`);
    });
  }

  for (const [person, address] of further) {
    it(`${address}, as ${person} sees it`, () => look(person, address, nameOf(address)));
  }
});
