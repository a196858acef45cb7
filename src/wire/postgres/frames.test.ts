import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../../errors.ts';
import { FrameSplitter, scanDataRowRun } from './frames.ts';

interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

const limit = 1_000;

function bytesOf({ type, body }: Frame): Buffer {
  const header = Buffer.alloc(5);
  header[0] = type;
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

function header(type: string, length: number): Buffer {
  const bytes = Buffer.from(`${type}....`, 'latin1');
  bytes.writeInt32BE(length, 1);
  return bytes;
}

/** Pushes the pieces, one after the other, through one buffer that is overwritten each time, as a socket does. */
function split(pieces: readonly Buffer[], maxFrameBytes = limit): { type: number; bytes: string }[] {
  const splitter = new FrameSplitter({ maxFrameBytes });
  const readBuffer = Buffer.alloc(Math.max(1, ...pieces.map((piece) => piece.length)) + 3);
  const frames: { type: number; bytes: string }[] = [];
  for (const piece of pieces) {
    readBuffer.fill(0xee);
    piece.copy(readBuffer, 2);
    const taken = splitter.push(readBuffer, 2, 2 + piece.length, (type, buffer, start, end) => {
      frames.push({ type, bytes: buffer.toString('hex', start, end) });
    });
    assert.equal(taken, 2 + piece.length);
  }
  assert.equal(splitter.pendingBytes, 0);
  return frames;
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((place, index) => bytes.subarray(places[index], place));
}

function code(expected: string) {
  return (error: unknown): boolean => error instanceof CountersignError && error.code === expected;
}

const frame = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  body: fc
    .oneof(fc.uint8Array({ maxLength: 12 }), fc.uint8Array({ minLength: 250, maxLength: 600 }))
    .map((bytes) => Buffer.from(bytes)),
});

void describe('FrameSplitter', () => {
  void test('gives the same frames at every single boundary', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), (frames) => {
        const bytes = Buffer.concat(frames.map(bytesOf));
        const expected = frames.map((each) => ({ type: each.type, bytes: bytesOf(each).toString('hex') }));
        for (let at = 0; at <= bytes.length; at++) assert.deepEqual(split(cut(bytes, [at])), expected);
      }),
      { numRuns: 25 },
    );
  });

  void test('gives the same frames for any number of cuts', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(3_000), { maxLength: 30 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(bytesOf));
        const expected = frames.map((each) => ({ type: each.type, bytes: bytesOf(each).toString('hex') }));
        assert.deepEqual(
          split(
            cut(
              bytes,
              cuts.map((at) => Math.min(at, bytes.length)),
            ),
          ),
          expected,
        );
        assert.deepEqual(split([...bytes].map((byte) => Buffer.from([byte]))), expected);
      }),
      { numRuns: 60 },
    );
  });

  void test('resumes after a stop at the byte where it stopped, wherever the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 6 }), fc.array(fc.nat(2_000), { maxLength: 6 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(bytesOf));
        const splitter = new FrameSplitter({ maxFrameBytes: limit });
        const seen: string[] = [];
        for (const piece of cut(
          bytes,
          cuts.map((at) => Math.min(at, bytes.length)),
        )) {
          let position = 0;
          while (position < piece.length) {
            const before = seen.length;
            position = splitter.push(piece, position, piece.length, (_type, buffer, start, end) => {
              seen.push(buffer.toString('hex', start, end));
              return false;
            });
            assert.ok(seen.length - before <= 1);
            if (seen.length === before) assert.equal(position, piece.length);
            else assert.equal(splitter.pendingBytes, 0);
          }
        }
        assert.deepEqual(
          seen,
          frames.map((each) => bytesOf(each).toString('hex')),
        );
      }),
      { numRuns: 100 },
    );
  });

  void test('hands a frame that is wholly in the chunk over in place, allocating nothing', () => {
    const chunk = Buffer.concat([Buffer.alloc(3), bytesOf({ type: 81, body: Buffer.alloc(700) }), header('S', 4)]);
    const splitter = new FrameSplitter({ maxFrameBytes: limit });
    const calls = [
      mock.method(Buffer, 'allocUnsafe'),
      mock.method(Buffer, 'alloc'),
      mock.method(Buffer.prototype, 'subarray'),
    ];
    const frames: unknown[] = [];
    splitter.push(chunk, 3, chunk.length, (type, buffer, start, end) => {
      frames.push([type, buffer === chunk, start, end]);
    });
    const count = calls.map((call) => call.mock.callCount());
    mock.restoreAll();
    assert.deepEqual(count, [0, 0, 0]);
    assert.deepEqual(frames, [
      [81, true, 3, 708],
      [83, true, 708, 713],
    ]);
  });

  void test('gives the buffer of a collected frame away: views of it stay as they are', () => {
    const first = bytesOf({ type: 66, body: Buffer.alloc(40, 'a') });
    const second = bytesOf({ type: 66, body: Buffer.alloc(40, 'b') });
    const views: Buffer[] = [];
    const splitter = new FrameSplitter({ maxFrameBytes: limit });
    for (const piece of cut(Buffer.concat([first, second]), [10, 60])) {
      splitter.push(piece, 0, piece.length, (_type, buffer, start, end) => {
        views.push(buffer.subarray(start, end));
      });
    }
    assert.deepEqual(views, [first, second]);
  });

  void test('copies a frame in small pieces a bounded number of times, and keeps bounded room for it', () => {
    const bytes = bytesOf({ type: 68, body: Buffer.alloc(1_000_000) });
    const splitter = new FrameSplitter({ maxFrameBytes: bytes.length });
    let copied = 0;
    let room = 0;
    const copy = Buffer.prototype.copy;
    mock.method(Buffer.prototype, 'copy', function (this: Buffer, ...where: Parameters<typeof copy>) {
      const size = copy.apply(this, where);
      copied += size;
      return size;
    });
    for (let at = 0; at < bytes.length; at += 64) {
      splitter.push(bytes, at, Math.min(at + 64, bytes.length), (_type, buffer, start, end) => {
        assert.equal(end - start, bytes.length);
        room = buffer.length;
      });
    }
    mock.restoreAll();
    assert.ok(copied < 3 * bytes.length, `${copied} bytes copied`);
    assert.equal(room, bytes.length);
  });

  void test('refuses a frame over the limit from its header alone, before it keeps anything of it', () => {
    for (const pieces of [[header('Q', limit)], [header('Q', 0x7fffffff)], cut(header('Q', limit), [1, 3])]) {
      const splitter = new FrameSplitter({ maxFrameBytes: limit });
      const push = () => {
        for (const piece of pieces) splitter.push(piece, 0, piece.length, () => assert.fail('a frame'));
      };
      assert.throws(push, (error) => {
        assert.ok(error instanceof CountersignError);
        assert.equal(error.code, 'message_too_large');
        assert.match(error.message, /"Q" of \d+ bytes is larger than the limit of 1000/);
        return true;
      });
      assert.ok(splitter.pendingBytes <= 5);
    }
  });

  /** Frames and streams as they come; a stop after every message resumes where it stopped. */
  function withStreams(pieces: readonly Buffer[], stops: boolean): string[] {
    const seen: string[] = [];
    let body: Buffer[] = [];
    const splitter = new FrameSplitter({
      maxFrameBytes: limit,
      openStream: (type, bodyBytes) => {
        if (type !== 68) return undefined;
        return {
          write: (buffer, start, end) => {
            assert.ok(!splitter.isBetweenFrames);
            body.push(Buffer.from(buffer.subarray(start, end)));
          },
          end: () => {
            const whole = Buffer.concat(body);
            assert.equal(whole.length, bodyBytes);
            seen.push(`stream ${whole.toString('hex')}`);
            body = [];
            return !stops;
          },
        };
      },
    });
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) {
        const before = seen.length;
        at = splitter.push(piece, at, piece.length, (_type, buffer, start, end) => {
          seen.push(`frame ${buffer.toString('hex', start, end)}`);
          return !stops;
        });
        assert.ok(!stops || seen.length - before <= 1);
        assert.ok(splitter.pendingBytes < limit);
      }
    }
    assert.ok(splitter.isBetweenFrames);
    return seen;
  }

  void test('hands a frame over the limit to a stream, the same bytes at every boundary', () => {
    const frames = [
      { type: 68, body: Buffer.alloc(20, 'a') },
      { type: 68, body: Buffer.alloc(limit - 4, 'b') },
      { type: 68, body: Buffer.alloc(2 * limit, 'c') },
      { type: 67, body: Buffer.alloc(limit - 5, 'd') },
      { type: 68, body: Buffer.alloc(limit + 1, 'e') },
    ];
    const bytes = Buffer.concat(frames.map(bytesOf));
    const expected = frames.map((each) =>
      each.body.length + 5 > limit ? `stream ${each.body.toString('hex')}` : `frame ${bytesOf(each).toString('hex')}`,
    );
    for (const stops of [false, true]) {
      for (let at = 0; at <= bytes.length; at++)
        assert.equal(withStreams(cut(bytes, [at]), stops).join(), expected.join());
      assert.deepEqual(
        withStreams(cut(bytes, [1, 2, 3, 4, 1020, 1021, 1022, 1023, 1024, 1025, 1026]), stops),
        expected,
      );
    }
    assert.throws(
      () => withStreams([header('T', limit)], false),
      (error) => {
        assert.ok(error instanceof CountersignError);
        assert.equal(error.message, 'message "T" is larger than the limit of 1000', 'it does not say how large');
        return error.code === 'message_too_large';
      },
    );
  });

  void test('takes a frame of exactly the limit', () => {
    const bytes = bytesOf({ type: 81, body: Buffer.alloc(limit - 5) });
    assert.equal(split([bytes]).length, 1);
    assert.equal(split(cut(bytes, [7])).length, 1);
  });

  void test('refuses a length below 4, and every byte after it', () => {
    for (const length of [3, 0, -1, -0x80000000]) {
      const splitter = new FrameSplitter({ maxFrameBytes: limit });
      const bytes = header('X', length);
      const sync = header('S', 4);
      const onFrame = () => assert.fail('a frame');
      assert.throws(() => splitter.push(bytes, 0, 5, onFrame), code('protocol_violation'));
      assert.throws(() => splitter.push(sync, 0, 5, onFrame), code('protocol_violation'));
    }
  });

  void test('throws nothing but CountersignError on random bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (pieces) => {
        const splitter = new FrameSplitter({ maxFrameBytes: limit });
        try {
          for (const piece of pieces) splitter.push(Buffer.from(piece), 0, piece.length, () => undefined);
        } catch (error) {
          assert.ok(error instanceof CountersignError, String(error));
        }
        assert.ok(splitter.pendingBytes <= limit);
      }),
    );
  });
});

void describe('scanDataRowRun', () => {
  const row = bytesOf({ type: 68, body: Buffer.from('\0\x01\0\0\0\x01a', 'latin1') });
  const complete = bytesOf({ type: 67, body: Buffer.from('SELECT 2\0', 'latin1') });

  void test('reaches over complete rows only, whatever comes after them', () => {
    const bytes = Buffer.concat([Buffer.alloc(2), row, row, complete, row]);
    for (let to = 2; to <= bytes.length; to++) {
      const rows = Math.min(2, Math.floor((to - 2) / row.length));
      assert.deepEqual({ ...scanDataRowRun(bytes, 2, to) }, { end: 2 + rows * row.length, rows });
    }
  });

  void test('does not believe a length beyond the chunk', () => {
    const huge = Buffer.concat([row, header('D', 0x7fffffff), Buffer.alloc(20)]);
    assert.deepEqual({ ...scanDataRowRun(huge, 0, huge.length) }, { end: row.length, rows: 1 });
  });

  void test('refuses a row without room for its column count', () => {
    for (const length of [5, 4, 3, 0, -1]) {
      const bytes = Buffer.concat([row, header('D', length), Buffer.alloc(20)]);
      assert.throws(() => scanDataRowRun(bytes, 0, bytes.length), code('protocol_violation'));
    }
  });
});
