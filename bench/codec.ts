/**
 * What the pure parts cost on one core, without sockets:
 * - rows of 8 columns and about 200 bytes rewritten in flight, against the plain way (decode every cell to a string, change
 *   it, encode the row again) and against copying the same bytes, and what the rewriter allocates;
 * - statements that are new and statements that are known (analysis.ts).
 *
 *   npm run bench:codec               prints tables and writes bench/results/codec.json
 *   npm run bench:codec -- --check    and exits with 1 naming each value that misses its mark
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { PerformanceObserver } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { assertRuntime } from '../src/lib/runtime.ts';
import { ByteSink } from '../src/lib/byte-sink.ts';
import { compileMasking } from '../src/masking/policy.ts';
import type { ColumnAction } from '../src/masking/plan.ts';
import { compileRowMasker } from '../src/masking/rows.ts';
import { typeOid } from '../src/masking/type-oids.ts';
import { measureAnalysis } from './analysis.ts';
import { checkMarks, figure, marked, marks, ratioRows, table, told, type Ratio } from './marks.ts';

const rowsPerBatch = 1_200;
const columns = 8;
const maskedColumns = [2, 5];
/** Nothing in these is worth a second look of any detector; column 1 has numbers, so two have to look and find nothing. */
const unsuspiciousColumns = [4, 7];
const plainTextColumns = [1, 4, 7];
const textColumns = [1, 2, 4, 7];

function cellsOf(row: number): string[] {
  return [
    String(100_000 + row),
    `customer number ${row} of the northern region`,
    `person.${row}@mail.example`,
    '2024-03-17 09:41:00+00',
    'a short remark about nothing in particular',
    `4${String(row).padStart(3, '0')}-22-7431`,
    '199.90',
    'Market Street, Springfield',
  ];
}

function encodeRow(cells: readonly (string | null)[]): Buffer {
  const pieces: Buffer[] = [];
  let size = 6;
  for (const cell of cells) {
    const bytes = cell === null ? undefined : Buffer.from(cell);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes?.length ?? -1);
    pieces.push(length);
    if (bytes !== undefined) pieces.push(bytes);
    size += 4 + (bytes?.length ?? 0);
  }
  const header = Buffer.alloc(7);
  header.write('D');
  header.writeInt32BE(size, 1);
  header.writeInt16BE(cells.length, 5);
  return Buffer.concat([header, ...pieces]);
}

/** The plain way. */
function decodeAndEncode(src: Buffer, sink: ByteSink): void {
  let at = 0;
  while (at < src.length) {
    const end = at + 1 + src.readInt32BE(at + 1);
    const cells: (string | null)[] = [];
    let cell = at + 7;
    while (cell < end) {
      const size = src.readInt32BE(cell);
      cells.push(size < 0 ? null : src.toString('utf8', cell + 4, cell + 4 + size));
      cell += 4 + Math.max(0, size);
    }
    for (const column of maskedColumns) if (cells[column] !== null) cells[column] = '[masked]';
    sink.append(encodeRow(cells));
    at = end;
  }
}

const masking = compileMasking(
  [
    {
      name: 'bench',
      appliesTo: {},
      columns: [],
      detectors: (['card', 'ssn', 'iban', 'email', 'phone', 'ip', 'jwt', 'cloud-key'] as const).map((detect) => ({
        detect,
        mask: 'redact',
      })),
    },
  ],
  {},
  { hashKey: Buffer.alloc(32, 7) },
);

function actionsFor(masked: readonly number[], detected: readonly number[]): ColumnAction[] {
  return Array.from({ length: columns }, (_, column): ColumnAction => {
    const form = { typeOid: typeOid.text, format: 0 } as const;
    if (masked.includes(column))
      return { kind: 'mask', mask: 'redact', ruleId: 'bench', hash: masking.hash, hidesNull: false, ...form };
    if (detected.includes(column)) return { kind: 'detect', detectors: masking.detectors, ...form };
    return { kind: 'pass', ...form };
  });
}

interface Measured {
  readonly name: string;
  readonly rowsPerSecond: number;
  readonly megabytesPerSecond: number;
}

/**
 * Median of several timed rounds, after a warm-up. Time is what the processor spent on this process, not the clock on the
 * wall: the number is per core, and others may be using the cores too.
 */
function measure(name: string, batch: Buffer, work: (sink: ByteSink) => void): Measured {
  const sink = new ByteSink(1024 * 1024);
  const batchesPer = (durationMs: number): number => {
    const begin = process.cpuUsage();
    let batches = 0;
    for (;;) {
      for (let repeat = 0; repeat < 4; repeat++) {
        sink.reset();
        work(sink);
      }
      batches += 4;
      const { user, system } = process.cpuUsage(begin);
      if (user + system >= durationMs * 1000) return (batches * 1e6) / (user + system);
    }
  };
  batchesPer(400);
  const rounds = Array.from({ length: 7 }, () => batchesPer(150)).toSorted((a, b) => a - b);
  const batchesPerSecond = rounds[3] ?? 0;
  return {
    name,
    rowsPerSecond: Math.round(batchesPerSecond * rowsPerBatch),
    megabytesPerSecond: Math.round((batchesPerSecond * batch.length) / 1e6),
  };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Enough that one byte for each row would show. */
const allocationBatches = 8_000;

/** What the heap grew by over many rows, and how often it was collected meanwhile. */
async function measureAllocation(name: string, work: (sink: ByteSink) => void): Promise<Ratio[]> {
  const sink = new ByteSink(1024 * 1024);
  const observer = new PerformanceObserver(() => undefined);
  observer.observe({ entryTypes: ['gc'] });
  const run = (batches: number) => {
    for (let batch = 0; batch < batches; batch++) {
      sink.reset();
      work(sink);
    }
  };
  run(allocationBatches / 4);
  collectGarbage();
  await turn();
  observer.takeRecords();
  const before = process.memoryUsage().heapUsed;
  run(allocationBatches);
  const grown = process.memoryUsage().heapUsed - before;
  await turn();
  const collections = observer.takeRecords().length;
  observer.disconnect();
  const rows = allocationBatches * rowsPerBatch;
  return [
    marked(`heap growth, ${name}`, marks.heapPerRow, Math.max(0, grown) / rows),
    marked(`collections, ${name}`, marks.collectionsPerMillionRows, collections / (rows / 1e6)),
  ];
}

/** A cell that is looked at twice is turned into text: that allocates, and is no part of the promise. */
function unmarked({ name, unit, value }: Ratio): Ratio {
  return told(name, unit, value);
}

async function main(): Promise<number> {
  assertRuntime();
  const say = (text: string) => void process.stdout.write(`${text}\n`);
  const batch = Buffer.concat(Array.from({ length: rowsPerBatch }, (_, row) => encodeRow(cellsOf(row))));
  // A read buffer is longer than what one read put there.
  const readBuffer = Buffer.concat([batch, Buffer.alloc(4096)]);
  const rewriter = (masked: readonly number[], detected: readonly number[]): ((sink: ByteSink) => void) => {
    const masker = compileRowMasker(actionsFor(masked, detected));
    return (sink) => void masker.maskRun(readBuffer, 0, batch.length, sink);
  };
  const copy = measure('copy the bytes', batch, (sink) => sink.copy(readBuffer, 0, batch.length));
  const plain = measure('decode to strings and encode again', batch, (sink) => decodeAndEncode(batch, sink));
  const masked = measure('rewriter, 2 masked', batch, rewriter(maskedColumns, []));
  const others = [
    measure('rewriter, nothing to mask', batch, rewriter([], [])),
    measure('rewriter, 2 masked + detectors on 3 text columns', batch, rewriter(maskedColumns, plainTextColumns)),
    measure('rewriter, detectors on 4 text columns', batch, rewriter([], textColumns)),
  ];
  const results = [copy, plain, masked, ...others];
  const ratios: Ratio[] = [
    marked('rewriter, 2 of 8 columns masked', marks.rewriterRows, masked.rowsPerSecond),
    marked('rewriter / decode and encode', marks.rewriterOverPlain, masked.rowsPerSecond / plain.rowsPerSecond),
    marked('rewriter / copying the bytes', marks.rewriterOverCopy, masked.rowsPerSecond / copy.rowsPerSecond),
    ...(await measureAllocation('2 masked', rewriter(maskedColumns, []))),
    ...(await measureAllocation('2 masked + detectors on 2', rewriter(maskedColumns, unsuspiciousColumns))),
    ...(await measureAllocation('a suspicious cell in each row', rewriter(maskedColumns, plainTextColumns))).map(
      unmarked,
    ),
    ...(await measureAllocation('a finding in each row', rewriter([], textColumns))).map(unmarked),
    ...(await measureAnalysis()),
  ];

  say(
    `${rowsPerBatch} rows of ${columns} columns, ${Math.round(batch.length / rowsPerBatch)} bytes each; Node ${process.version}, one core\n`,
  );
  const rows = results.map((one) => [
    one.name,
    figure(one.rowsPerSecond),
    figure(one.megabytesPerSecond),
    figure(one.rowsPerSecond / plain.rowsPerSecond, 1),
  ]);
  say(table(['what', 'rows/s', 'MB/s', 'x plain'], rows));
  say(`\n${table(['value', 'found', 'mark', ''], ratioRows(ratios))}\n`);

  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const kept = {
    node: process.version,
    processor: cpus()[0]?.model ?? 'unknown',
    bytesPerRow: batch.length / rowsPerBatch,
    results,
    ratios,
  };
  writeFileSync(new URL('codec.json', folder), `${JSON.stringify(kept, undefined, 2)}\n`);
  return process.argv.includes('--check') ? checkMarks(ratios, say) : 0;
}

process.exitCode = await main();
