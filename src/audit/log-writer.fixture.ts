/** For a test: appends until it is killed; prints each acknowledged index after it is durable. */
import { writeSync } from 'node:fs';
import { systemClock } from '../lib/clock.ts';
import { origin } from './fixtures.ts';
import { TransparencyLog } from './log.ts';

const log = await TransparencyLog.open({
  directory: process.argv[2] ?? '',
  origin,
  privateKeyPem: process.env['LOG_KEY'] ?? '',
  clock: systemClock,
  checkpointIntervalMs: 20,
  segmentBytes: 32 * 1024,
});
for (;;) {
  let last = 0;
  for (let index = 0; index < 20; index++) last = log.append(`{"number":${log.size},"type":"test"}`);
  await log.durable(last);
  writeSync(1, `${last}\n`);
}
