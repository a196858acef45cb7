/**
 * A hostile user with valid credentials against the whole gateway on a real PostgreSQL. Promises P1, P2, P4, P7: every
 * byte that a client received, the log and the recordings are searched for raw values. The attacks are the lists in
 * `bypass/`; `npm run test:bypass` runs the same and counts.
 */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import type { World } from './bypass/attack.ts';
import { allAttacks, observe, startWorld } from './bypass/runner.ts';

let world: World;

before(async () => {
  world = await startWorld();
});

after(async () => {
  await world?.harness.close();
});

for (const attack of allAttacks()) {
  const options = attack.known === undefined ? {} : { skip: `known: ${attack.known}` };
  it(`${attack.expected}: ${attack.family}: ${attack.title}`, options, async () => {
    const { verdict, detail } = await observe(attack, world);
    assert.equal(verdict, attack.expected, detail);
  });
}
