import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { parquetMetadata, parquetReadObjects, type ParquetParsers } from 'hyparquet';
import type { OutputFormat } from '../definition.ts';
import { openSink, type SinkColumn, type TextRow } from './sink.ts';

const oid = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  json: 114,
  float4: 700,
  float8: 701,
  date: 1082,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
};

void describe('sinks', () => {
  let directory: string;
  let fileNo = 0;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'countersign-sinks-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function write(
    format: OutputFormat,
    columns: SinkColumn[],
    rows: TextRow[],
    escapeFormulas = false,
  ): Promise<Buffer> {
    const path = join(directory, `file-${fileNo++}`);
    const sink = await openSink({ path, format, columns, escapeFormulas });
    for (const row of rows) await sink.write(row);
    const written = await sink.close();
    const bytes = await readFile(path);
    assert.equal(written.bytes, bytes.length);
    assert.equal(written.sha256, createHash('sha256').update(bytes).digest('hex'));
    return bytes;
  }

  const columns = (types: Record<string, number>): SinkColumn[] =>
    Object.entries(types).map(([name, typeOid]) => ({ name, typeOid }));

  void test('CSV quotes as RFC 4180 says, and NULL is not the empty text', async () => {
    const bytes = await write('csv', columns({ id: oid.int4, 'a,"b"': oid.text }), [
      ['1', 'plain'],
      ['2', 'comma, "quote"\nline'],
      ['3', null],
      ['4', ''],
      ['5', 'é\r'],
    ]);
    assert.equal(
      bytes.toString('utf8'),
      'id,"a,""b"""\r\n1,plain\r\n2,"comma, ""quote""\nline"\r\n3,\r\n4,""\r\n5,"é\r"\r\n',
    );
  });

  void test('CSV escapes formulas in text and leaves numbers alone, if asked', async () => {
    const types = columns({ n: oid.int4, t: oid.text });
    const rows: TextRow[] = [
      ['-5', '=1+1'],
      ['-6', '@x'],
      ['-7', 'a=1'],
    ];
    assert.equal((await write('csv', types, rows, true)).toString(), "n,t\r\n-5,'=1+1\r\n-6,'@x\r\n-7,a=1\r\n");
    assert.equal((await write('csv', types, rows)).toString(), 'n,t\r\n-5,=1+1\r\n-6,@x\r\n-7,a=1\r\n');
  });

  void test('NDJSON keeps digits, documents and names', async () => {
    const types = columns({
      b: oid.int8,
      n: oid.numeric,
      f: oid.float8,
      t: oid.bool,
      j: oid.json,
      s: oid.text,
      '"': oid.text,
    });
    const bytes = await write('ndjson', types, [
      ['9223372036854775807', '1.50', 'NaN', 't', '{"a":\n [1]}', 'x"\n', null],
      ['-1', '0.1', '1e+30', 'f', 'not json', '\u2028', ''],
    ]);
    const lines = bytes.toString('utf8').split('\n');
    assert.equal(
      lines[0],
      '{"b":9223372036854775807,"n":1.50,"f":"NaN","t":true,"j":{"a":  [1]},"s":"x\\"\\n","\\"":null}',
    );
    assert.equal(lines.length, 3);
    assert.deepEqual(JSON.parse(lines[1] ?? ''), {
      b: -1,
      n: 0.1,
      f: 1e30,
      t: false,
      j: 'not json',
      s: '\u2028',
      '"': '',
    });
  });

  // Raw values, so that nothing of what is compared passes through a Date.
  const parsers = {
    timestampFromMicroseconds: (micros: bigint) => `us ${micros}`,
    dateFromDays: (days: number) => `days ${days}`,
    stringFromBytes: (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('utf8'),
  } as unknown as ParquetParsers;

  function bufferOf(bytes: Buffer): ArrayBuffer {
    const copy = new ArrayBuffer(bytes.length);
    new Uint8Array(copy).set(bytes);
    return copy;
  }

  async function readParquet(bytes: Buffer): Promise<Record<string, unknown>[]> {
    const compressors = { ZSTD: (input: Uint8Array) => new Uint8Array(zstdDecompressSync(input)) };
    return parquetReadObjects({ file: bufferOf(bytes), compressors, parsers, utf8: false });
  }

  void test('Parquet keeps types and values', async () => {
    const types = columns({
      bool: oid.bool,
      small: oid.int2,
      int: oid.int4,
      big: oid.int8,
      real: oid.float4,
      double: oid.float8,
      numeric: oid.numeric,
      text: oid.text,
      date: oid.date,
      ts: oid.timestamp,
      tz: oid.timestamptz,
      uuid: oid.uuid,
      jsonb: oid.jsonb,
      bytea: oid.bytea,
    });
    const nulls = types.map(() => null);
    const bytes = await write('parquet', types, [
      [
        't',
        '-32768',
        '2147483647',
        '-9223372036854775808',
        '1.5',
        '-0.1',
        '12345678901234567890.5',
        'é',
        '2024-02-29',
        '2024-01-02 03:04:05.000006',
        '2024-01-02 03:04:05.5+05:30',
        '00000000-0000-0000-0000-00000000000a',
        '{"a": 1}',
        '\\x00ff',
      ],
      nulls,
      [
        'f',
        '0',
        '-1',
        '0',
        'NaN',
        '-Infinity',
        '0',
        '',
        '1969-12-31',
        '1969-12-31 23:59:59.999999',
        '0001-01-01 00:00:00+00',
        'x',
        '[]',
        '\\x',
      ],
    ]);
    const rows = await readParquet(bytes);
    const second = (text: string) => BigInt(Date.parse(text)) * 1_000n;
    assert.deepEqual(rows[0], {
      bool: true,
      small: -32768,
      int: 2147483647,
      big: -9223372036854775808n,
      real: 1.5,
      double: -0.1,
      numeric: '12345678901234567890.5',
      text: 'é',
      date: `days ${Date.UTC(2024, 1, 29) / 86_400_000}`,
      ts: `us ${second('2024-01-02T03:04:05Z') + 6n}`,
      tz: `us ${second('2024-01-01T21:34:05Z') + 500_000n}`,
      uuid: '00000000-0000-0000-0000-00000000000a',
      jsonb: '{"a": 1}',
      bytea: new Uint8Array([0, 255]),
    });
    assert.ok(Object.values(rows[1] ?? {}).every((value) => value === null || value === undefined));
    const last = rows[2] ?? {};
    assert.deepEqual(
      [last['date'], last['ts'], last['tz']],
      ['days -1', 'us -1', `us ${second('0001-01-01T00:00:00Z')}`],
    );
    assert.ok(Number.isNaN(last['real']));
    assert.equal(last['double'], -Infinity);
  });

  void test('Parquet has its types in the schema, also without rows', async () => {
    const bytes = await write(
      'parquet',
      columns({ id: oid.int8, at: oid.timestamp, tz: oid.timestamptz, j: oid.json }),
      [],
    );
    const { schema, num_rows } = parquetMetadata(bufferOf(bytes));
    assert.equal(num_rows, 0n);
    assert.deepEqual(
      schema.slice(1).map(({ name, type, logical_type }) => [name, type, logical_type?.type]),
      [
        ['id', 'INT64', undefined],
        ['at', 'INT64', 'TIMESTAMP'],
        ['tz', 'INT64', 'TIMESTAMP'],
        ['j', 'BYTE_ARRAY', 'STRING'],
      ],
    );
  });

  void test('Parquet writes many rows in groups', async () => {
    const rows = Array.from({ length: 45_000 }, (_, index): TextRow => [String(index), `r${index}`]);
    const bytes = await write('parquet', columns({ id: oid.int8, t: oid.text }), rows);
    assert.equal(parquetMetadata(bufferOf(bytes)).row_groups.length, 3);
    const read = await readParquet(bytes);
    assert.equal(read.length, rows.length);
    assert.deepEqual(read[44_999], { id: 44_999n, t: 'r44999' });
  });

  void test('Parquet refuses a value that its type cannot hold, without repeating it', async () => {
    for (const [typeOid, value] of [
      [oid.date, 'infinity'],
      [oid.timestamptz, '2024-01-02 03:04:05'],
      [oid.int4, 'XXXX-1234'],
      [oid.bool, 'yes'],
    ] as const) {
      const sink = await openSink({
        path: join(directory, 'bad'),
        format: 'parquet',
        columns: [{ name: 'c', typeOid }],
        escapeFormulas: false,
      });
      assert.throws(
        () => sink.write([value]),
        (error) => error instanceof Error && error.message.includes('column c') && !error.message.includes(value),
      );
      await sink.discard();
    }
  });

  void test('a discarded file is gone', async () => {
    const path = join(directory, 'discarded');
    const sink = await openSink({ path, format: 'csv', columns: columns({ a: oid.text }), escapeFormulas: false });
    await sink.write(['x']);
    await sink.discard();
    await assert.rejects(stat(path));
  });
});
