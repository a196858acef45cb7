/**
 * A connection on which nothing is masked, though rules are there: what nobody understands may run, and a session in
 * which it did is worth nothing any more when the first masked column appears.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { leaked } from './bypass/schema.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;
let first: pg.Client;
let second: pg.Client;

before(async () => {
  harness = await startHarness({
    schema: "create table plain (id integer, label text); insert into plain values (1, 'one')",
    configure: (raw) => {
      const [personal] = raw['masking'] as { detectors: unknown[] }[];
      if (personal !== undefined) personal.detectors = [];
    },
  });
  [first, second] = [await harness.connect('reader'), await harness.connect('reader')];
  first.on('error', (error) => (ended ??= error));
});

after(async () => {
  await harness?.close();
});

async function refusal(client: pg.Client, text: string): Promise<pg.DatabaseError> {
  const error: unknown = await client.query(text).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  assert.ok(error instanceof pg.DatabaseError, `this had to be refused: ${String(error)}`);
  return error;
}

/** What the first session was told at its end. */
let ended: Error | undefined;

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await condition()) return;
    await sleep(50);
  }
  assert.fail('this never came true');
}

describe('before something is masked', () => {
  it('the name of a table that is still to come is taken in one session', async () => {
    await first.query('do $$ begin create temp table people (id integer, label text); end $$');
    await first.query('set search_path to pg_temp, public');
    await first.query(
      "do $$ begin create function pg_temp.show(t text) returns text language sql as 'select $1'; end $$",
    );
    const { rows } = await first.query<{ search_path: string }>('show search_path');
    assert.deepEqual(rows, [{ search_path: 'pg_temp, public' }]);
    await first.query('select upper(label) from people');
    await second.query('select label from plain');
  });

  it('what would be held is refused: an approver could not know what its names mean', async () => {
    const error = await refusal(first, 'create table other (id integer)');
    assert.equal(error.code, '42501');
    assert.match(error.message, /what names mean in it is not certain/);
    assert.doesNotMatch(await harness.targetLog(), /create table other/);
  });

  it('a column of what the catalogue does not have is not shown: a rule may be waiting for it', async () => {
    const third = await harness.connect('reader');
    await third.query("do $$ begin create temp table copied as select '123-45-6789'::text as ssn; end $$");
    assert.equal((await refusal(third, 'select ssn from copied')).severity, 'FATAL');
  });

  it('a masked column that has just appeared is masked at once, also where only a name is new', async () => {
    const third = await harness.connect('reader');
    await third.query('call_me_unknown').catch(() => undefined);
    await harness.target("create table young (ssn text); insert into young values ('123-45-6789')");
    await harness.target('grant all on young to cs_executor');
    for (const text of ["select ssn || '' as s from young", 'do $$ begin perform ssn from young; end $$']) {
      await assert.rejects(third.query(text));
    }
    const { rows } = await (await harness.connect('reader')).query("select ssn || '' as s from young");
    assert.equal(leaked(JSON.stringify(rows)), undefined);
    await harness.target('drop table young');
    await sleep(700);
    // The table above has ended whatever was uncertain: once more.
    ended = undefined;
    first = await harness.connect('reader');
    first.on('error', (error) => (ended ??= error));
    await first.query('do $$ begin create temp table people (id integer, label text); end $$');
    await first.query('set search_path to pg_temp, public');
  });

  it('where a user without that permission is, it is refused as before', async () => {
    const other = await harness.connect('executor');
    const error = await refusal(other, "do $$ begin raise notice 'x'; end $$");
    assert.match(`${error.message} ${error.hint}`, /no rule permits .*names Action::"unknown"/);
    assert.match((await refusal(other, 'set search_path to pg_temp, public')).message, /which objects names mean/);
  });
});

describe('after that', () => {
  const seen: string[] = [];
  let slow: Promise<pg.DatabaseError>;

  before(async () => {
    const waiting = await harness.connect('reader');
    waiting.on('notice', (notice) => seen.push(notice.message ?? ''));
    slow = refusal(
      waiting,
      "do $$ begin perform pg_sleep(4); raise notice 'late: %', (select ssn from people); end $$",
    );
    await eventually(async () => {
      const sleeping = "select pid from pg_stat_activity where wait_event = 'PgSleep'";
      return (await harness.target(sleeping)).length > 0;
    });
    await harness.target("create table people (id integer, ssn text); insert into people values (1, '123-45-6789')");
    await harness.target('grant all on people to cs_executor');
    await eventually(async () => ended !== undefined);
  });

  it('the session that may have prepared something is over, though it was idle', async () => {
    await assert.rejects(first.query('select label from plain'));
    assert.match(String(ended), /since then something is masked/);
  });

  it('so is one in which something still runs, before it has come to its end', async () => {
    const error = await slow;
    assert.deepEqual([error.severity, error.code], ['FATAL', '42501']);
    assert.match(`${error.detail} ${error.hint}`, /uncertain-session.* connect again/);
    await sleep(1_000);
    assert.deepEqual(seen, []);
  });

  it('others go on, masked, and what is not understood is refused', async () => {
    for (const client of [second, await harness.connect('reader')]) {
      const { rows } = await client.query<{ ssn: string }>('select id, ssn from people');
      assert.equal(rows.length, 1);
      assert.equal(leaked(JSON.stringify(rows)), undefined);
      for (const text of [
        "do $$ begin raise notice '%', (select ssn from people); end $$",
        'set search_path to pg_temp',
      ])
        assert.match((await refusal(client, text)).message, /something is masked|which objects names mean/);
    }
  });
});
