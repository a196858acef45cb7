/** Attacks through code that stands in the target's schema. */
import { assertClean, scriptList } from './attack.ts';

const knownLeak = {
  known: "what triggers and defaults read is not looked into (SECURITY.md, 'Code in the target's schema')",
};
const { scripts, add } = scriptList('what the schema does by itself', 'masked');
export const schemaCodeScripts = scripts;

add(
  'a column default that reads a masked column is masked or refused',
  async (world) => {
    await world.harness.target(`
    create function peek() returns text security definer language sql as 'select token from vault limit 1';
    create table stamped (id integer, label text default peek());
    grant all on stamped to cs_executor;`);
    const { client, taken } = await world.tapped();
    await client.query('insert into stamped (id) values (1) returning label').catch(() => undefined);
    await client.query('select * from stamped').catch(() => undefined);
    assertClean(taken());
  },
  knownLeak,
);

add(
  'a trigger that reads a masked column is masked or refused',
  async (world) => {
    await world.harness.target(`
    create function fill() returns trigger security definer language plpgsql as
      'begin new.label := (select token from vault limit 1); raise notice ''%'', new.label; return new; end';
    create table triggered (id integer, label text);
    create trigger fill before insert on triggered for each row execute function fill();
    grant all on triggered to cs_executor;`);
    const { client, taken } = await world.tapped();
    await client.query('insert into triggered (id) values (1) returning label').catch(() => undefined);
    assertClean(taken());
  },
  knownLeak,
);
