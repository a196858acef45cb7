import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { barText, durationText, progressView, sizeText } from './progress.ts';
import type { RunProgress } from './runner.ts';
import { Throttle } from './throttle.ts';

const progress: RunProgress = {
  kind: 'rows',
  job: 'export',
  runId: 'run_1',
  state: 'running',
  chunk: 3,
  chunksSealed: 2,
  chunkCount: 4,
  rows: 12_345,
  bytes: 1_500_000,
  estimatedRows: 20_000,
  fraction: 0.5,
  rowsPerSecond: 1_000,
  etaMs: 61_000,
  message: undefined,
};

void describe('progress', () => {
  void test('the bar says how far and how long, within the width', () => {
    const text = barText(progress, 100);
    assert.ok(text.endsWith('] 2/4 chunks  12,345 rows  1.5 MB  1,000 rows/s  ETA 1:01'), text);
    assert.match(text, /\[(#+)(-+)\]/);
    for (const width of [20, 60, 80, 200]) assert.ok(barText(progress, width).length < width);
  });

  void test('half is half of the bar', () => {
    const [, filled = '', empty = ''] = /\[(#+)(-+)\]/.exec(barText(progress, 200)) ?? [];
    assert.equal(filled.length, empty.length);
  });

  void test('a terminal gets one line that is drawn again, and a line break at the end', () => {
    let written = '';
    let now = 0;
    const view = progressView({ isTTY: true, columns: 100, write: (text) => (written += text) }, () => now);
    view.update(progress);
    view.update(progress);
    assert.equal(written.split('\r').length, 2, 'two updates at one time are drawn once');
    now = 100;
    view.update(progress);
    assert.equal(written.split('\r').length, 3);
    view.end();
    assert.ok(written.endsWith('\n') && !written.slice(0, -1).includes('\n'));
  });

  void test('anything else gets JSON lines: each seal, and rows once a second', () => {
    const lines: string[] = [];
    let now = 0;
    const view = progressView({ write: (text) => lines.push(text) }, () => now);
    view.update(progress);
    now = 999;
    view.update(progress);
    view.update({ ...progress, kind: 'sealed' });
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { kind: string }).kind),
      ['rows', 'sealed'],
    );
    assert.ok(lines.every((line) => line.endsWith('\n')));
  });

  void test('sizes and durations are short', () => {
    assert.deepEqual([sizeText(999), sizeText(1_500), sizeText(2e9)], ['999 B', '1.5 kB', '2.0 GB']);
    assert.deepEqual([durationText(0), durationText(61_000), durationText(3_723_000)], ['0:00', '1:01', '1:02:03']);
  });
});

void describe('throttle', () => {
  void test('spreads rows of all takers over time', async () => {
    let now = 0;
    const slept: number[] = [];
    const throttle = new Throttle(
      1_000,
      () => now,
      async (ms) => {
        slept.push(ms);
        now += ms;
      },
    );
    for (let index = 0; index < 4; index++) await throttle.take(500);
    assert.deepEqual(slept, [500, 500, 500]);
    now += 10_000;
    await throttle.take(500);
    assert.equal(slept.length, 3, 'unused time is no debt');
  });
});
