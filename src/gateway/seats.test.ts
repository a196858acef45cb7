import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Seats } from './seats.ts';

const tooMany = (limit: string) => (error: Error & { code?: string; hint?: string }) =>
  error.code === 'too_many_sessions' && (error.hint ?? '').includes(limit);

void test('a principal has so many seats, and everybody together so many', () => {
  const seats = new Seats({ maxSessions: 3, maxSessionsPerPrincipal: 2 });
  const leave = seats.take('dana');
  seats.take('dana');
  assert.throws(() => seats.take('dana'), tooMany('maxSessionsPerPrincipal'));
  seats.take('eli');
  assert.throws(() => seats.check(), tooMany('maxSessions'));
  assert.throws(() => seats.take('eli'), tooMany('maxSessions'));
  leave();
  leave();
  assert.equal(seats.total, 2);
  seats.take('dana');
  assert.throws(() => seats.take('erin'), tooMany('maxSessions'));
});
