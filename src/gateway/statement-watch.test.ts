import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StatementWatch } from './statement-watch.ts';

/** A watch whose looks the test makes itself, at the times that it says. */
function watched(limitMs = 1_000) {
  const world = { nowMs: 0, work: undefined as number | undefined, said: [] as string[] };
  const watch = new StatementWatch(limitMs, { now: () => world.nowMs });
  const session = {
    working: () => world.work,
    cancel: () => void world.said.push(`cancel at ${world.nowMs}`),
    end: () => {
      world.said.push(`end at ${world.nowMs}`);
      watch.left(session);
    },
  };
  watch.add(session);
  const looks = (...times: number[]) => {
    for (const nowMs of times) {
      world.nowMs = nowMs;
      watch.look();
    }
  };
  return { world, watch, session, looks };
}

describe('the time of a statement', () => {
  it('begins with the first look that finds it, and ends in a cancellation', () => {
    const { world, watch, looks } = watched();
    looks(0, 500);
    world.work = 1;
    looks(600, 1_500, 1_599);
    assert.deepEqual(world.said, []);
    looks(1_600, 1_700);
    assert.deepEqual(world.said, ['cancel at 1600']);
    watch.close();
  });

  it('begins anew with each completion, also where something follows at once', () => {
    const { world, watch, looks } = watched();
    for (let at = 0; at < 10; at++) {
      world.work = at;
      looks(at * 900, at * 900 + 899);
    }
    assert.deepEqual(world.said, []);
    watch.close();
  });

  it('is over when the session does nothing', () => {
    const { world, watch, looks } = watched();
    for (let at = 0; at < 10; at++) {
      world.work = 1;
      looks(at * 1_000, at * 1_000 + 900);
      world.work = undefined;
      looks(at * 1_000 + 950);
    }
    assert.deepEqual(world.said, []);
    watch.close();
  });

  it('ends the session where a cancellation does not help, and only there', () => {
    const { world, watch, looks } = watched();
    world.work = 1;
    looks(0, 1_000, 1_999);
    assert.deepEqual(world.said, ['cancel at 1000']);
    looks(2_000, 3_000, 4_000);
    assert.deepEqual(world.said, ['cancel at 1000', 'end at 2000', 'cancel at 3000']);
    watch.close();
  });

  it('goes on when its client has left', () => {
    const { world, watch, session, looks } = watched();
    world.work = 1;
    looks(0, 500);
    watch.left(session);
    looks(999);
    assert.deepEqual(world.said, []);
    looks(1_000, 2_000, 3_000);
    assert.deepEqual(world.said, ['cancel at 1000']);
  });

  it('does not go on for a session that had nothing to do', () => {
    const { world, watch, session, looks } = watched();
    watch.left(session);
    world.work = 1;
    looks(0, 1_000, 2_000);
    assert.deepEqual(world.said, []);
  });

  it('is not limited by 0', () => {
    const { world, looks } = watched(0);
    world.work = 1;
    looks(0, 1_000_000);
    assert.deepEqual(world.said, []);
  });
});
