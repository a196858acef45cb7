import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { Door } from './door.ts';

/** A log whose durability the test decides, and the two wires. */
function harness() {
  const entries: string[] = [];
  const waiting: { index: number; callback: (error?: CountersignError) => void }[] = [];
  const trace: string[] = [];
  const failures: string[] = [];
  const state = { logFails: false, recordingFails: false };
  const door = new Door({
    log: {
      append: (entry) => {
        if (state.logFails) throw new CountersignError('log_unavailable', 'no');
        trace.push(`append ${entry}`);
        return entries.push(entry) - 1;
      },
      whenDurable: (index, callback) => {
        waiting.push({ index, callback });
      },
    },
    recording: {
      response: (bytes, start, end) => {
        if (state.recordingFails) throw new CountersignError('log_unavailable', 'no recording');
        trace.push(`record ${bytes.toString('utf8', start, end)}`);
      },
    },
    forward: (bytes) => trace.push(`forward ${bytes.toString()}`),
    deliver: (bytes) => trace.push(`deliver ${bytes.toString()}`),
    onFailure: (error) => failures.push(error.code),
  });
  const send = (text: string) => door.forward(Buffer.from(text), 0, text.length, true);
  const durable = (error?: CountersignError) => {
    for (const { callback } of waiting.splice(0)) callback(error);
  };
  return { door, trace, failures, state, send, durable, waiting };
}

describe('towards the target', () => {
  it('nothing leaves before the intent is durable', () => {
    const { door, trace, send, durable } = harness();
    door.record('intent');
    send('statement');
    door.flush();
    assert.deepEqual(trace, ['append intent']);
    durable();
    assert.deepEqual(trace, ['append intent', 'forward statement']);
  });

  it('what comes later waits behind what waits already, in order', () => {
    const { door, trace, send, durable, waiting } = harness();
    door.record('one');
    send('1');
    door.flush();
    send('2');
    door.flush();
    assert.deepEqual(
      waiting.map((one) => one.index),
      [0, 0],
    );
    durable();
    assert.deepEqual(trace, ['append one', 'forward 1', 'forward 2']);
  });

  it('a log that cannot be written forwards nothing', () => {
    const { door, trace, failures, state, send, durable } = harness();
    door.record('intent');
    send('statement');
    door.flush();
    durable(new CountersignError('log_unavailable', 'disk full'));
    assert.deepEqual([trace, failures], [['append intent'], ['log_unavailable']]);
    state.logFails = true;
    assert.throws(() => door.record('another'), { code: 'log_unavailable' });
  });

  it('a closed door lets nothing out, also not what waited for the log', () => {
    const { door, trace, send, durable } = harness();
    door.record('intent');
    send('statement');
    door.flush();
    door.close();
    durable();
    assert.deepEqual(trace, ['append intent']);
  });

  it('bytes of a buffer that is used again are copied', () => {
    const { door, trace } = harness();
    const shared = Buffer.from('first');
    door.forward(shared, 0, 5, false);
    shared.write('other');
    door.flush();
    assert.deepEqual(trace, ['forward first']);
  });
});

describe('towards the client', () => {
  it('records, then delivers', () => {
    const { door, trace } = harness();
    const sink = new ByteSink(64);
    sink.utf8('rows');
    door.deliver(sink);
    assert.deepEqual(trace, ['record rows', 'deliver rows']);
    assert.equal(sink.length, 0);
  });

  it('delivers nothing that cannot be recorded', () => {
    const { door, trace, state } = harness();
    state.recordingFails = true;
    const sink = new ByteSink(64);
    sink.utf8('rows');
    assert.throws(() => door.deliver(sink), { code: 'log_unavailable' });
    assert.deepEqual(trace, []);
  });
});
