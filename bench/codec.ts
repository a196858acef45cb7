/**
 * How fast rows are rewritten in flight, on one core and without sockets: rows of 8 columns and about 200 bytes, against
 * the plain way in the same run (decode every cell to a string, change it, encode the row again).
 *
 *   node bench/codec.ts            prints a table and writes bench/results/codec.json
 *   node bench/codec.ts --check    exits 1 and names each mark that is missed
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import Table from 'cli-table3';
import { ByteSink } from '../src/lib/byte-sink.ts';
import { compileMasking } from '../src/masking/policy.ts';
import type { ColumnAction } from '../src/masking/plan.ts';
import { compileRowMasker } from '../src/masking/rows.ts';
import { typeOid } from '../src/masking/type-oids.ts';

const marks = { rowsPerSecond: 5_000_000, ratio: 5 };

const rowsPerBatch = 1_200;
const columns = 8;
const maskedColumns = [2, 5];
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

function main(): void {
  const batch = Buffer.concat(Array.from({ length: rowsPerBatch }, (_, row) => encodeRow(cellsOf(row))));
  // A read buffer is longer than what one read put there.
  const readBuffer = Buffer.concat([batch, Buffer.alloc(4096)]);
  const rewriter = (masked: readonly number[], detected: readonly number[]): ((sink: ByteSink) => void) => {
    const masker = compileRowMasker(actionsFor(masked, detected));
    return (sink) => void masker.maskRun(readBuffer, 0, batch.length, sink);
  };
  const plain = measure('decode to strings and encode again', batch, (sink) => decodeAndEncode(batch, sink));
  const masked = measure('rewriter, 2 masked', batch, rewriter(maskedColumns, []));
  const others = [
    measure('rewriter, nothing to mask', batch, rewriter([], [])),
    measure('rewriter, 2 masked + detectors on 3 text columns', batch, rewriter(maskedColumns, textColumns)),
    measure('rewriter, detectors on 4 text columns', batch, rewriter([], textColumns)),
  ];
  const ratio = masked.rowsPerSecond / plain.rowsPerSecond;

  const table = new Table({
    head: ['what', 'rows/s', 'MB/s', 'x plain'],
    colAligns: ['left', 'right', 'right', 'right'],
  });
  for (const one of [plain, masked, ...others]) {
    table.push([
      one.name,
      one.rowsPerSecond.toLocaleString('en'),
      one.megabytesPerSecond,
      (one.rowsPerSecond / plain.rowsPerSecond).toFixed(1),
    ]);
  }
  console.log(
    `${rowsPerBatch} rows of ${columns} columns, ${Math.round(batch.length / rowsPerBatch)} bytes each; Node ${process.version}, one core`,
  );
  console.log(table.toString());

  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const results = {
    node: process.version,
    processor: cpus()[0]?.model ?? 'unknown',
    bytesPerRow: batch.length / rowsPerBatch,
    ratio,
    marks,
    results: [plain, masked, ...others],
  };
  writeFileSync(new URL('codec.json', folder), `${JSON.stringify(results, undefined, 2)}\n`);

  if (!process.argv.includes('--check')) return;
  const missed: string[] = [];
  if (masked.rowsPerSecond < marks.rowsPerSecond)
    missed.push(`2 masked: ${masked.rowsPerSecond} rows/s, mark ${marks.rowsPerSecond}`);
  if (ratio < marks.ratio) missed.push(`2 masked against decode and encode: ${ratio.toFixed(2)}, mark ${marks.ratio}`);
  for (const line of missed) console.error(`missed: ${line}`);
  if (missed.length > 0) process.exitCode = 1;
}

main();
