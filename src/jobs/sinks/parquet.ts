/**
 * Parquet, zstd-compressed, typed by the PostgreSQL type of each column. Rows gather into row groups of bounded size, so
 * memory does not grow with the chunk. What Parquet has no exact type for (numeric, uuid, json,
 * arrays …) is its PostgreSQL text.
 */
import { zstdCompressSync } from 'node:zlib';
import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import { CountersignError } from '../../errors.ts';
import { HashedFile } from './file.ts';
import type { Sink, SinkColumn, SinkOptions, TextRow } from './sink.ts';

const groupRows = 20_000;
const groupBytes = 8 * 1024 * 1024;

type Cell = string | number | bigint | boolean | Uint8Array | null;

interface ParquetColumn {
  readonly name: string;
  readonly element: SchemaElement;
  /** undefined = the text is no value of the type. */
  readonly parse: (text: string) => Exclude<Cell, null> | undefined;
}

export async function openParquet({ path, columns }: SinkOptions): Promise<Sink> {
  const file = await HashedFile.create(path);
  const typed = columns.map(parquetColumn);
  const writer = new ByteWriter(1024 * 1024);
  const parquet = new ParquetWriter({
    writer,
    codec: 'ZSTD',
    compressors: { ZSTD: (input: Uint8Array) => zstdCompressSync(input) },
    schema: [{ name: 'root', num_children: typed.length }, ...typed.map((column) => column.element)],
    createdBy: 'countersign',
  });
  let cells: Cell[][] = typed.map(() => []);
  let rows = 0;
  let size = 0;

  const drain = async () => {
    const bytes = writer.getBytes().slice();
    writer.index = 0;
    await file.append(bytes);
  };
  const endGroup = async () => {
    const columnData = typed.map(({ name }, index) => ({ name, data: cells[index] ?? [] }));
    cells = typed.map(() => []);
    rows = 0;
    size = 0;
    await parquet.write({ columnData, rowGroupSize: groupRows });
    await drain();
  };
  return {
    write(row: TextRow) {
      for (const [index, column] of typed.entries()) {
        const text = row[index] ?? null;
        cells[index]?.push(text === null ? null : parsed(column, text));
        size += text?.length ?? 1;
      }
      rows++;
      return rows >= groupRows || size >= groupBytes ? endGroup() : undefined;
    },
    async close() {
      if (rows > 0) await endGroup();
      await parquet.finish();
      await drain();
      return file.close();
    },
    discard: () => file.discard(),
  };
}

/** The message names the column and never the value, which may be one that should not be repeated. */
function parsed(column: ParquetColumn, text: string): Exclude<Cell, null> {
  const value = column.parse(text);
  if (value !== undefined) return value;
  throw new CountersignError('input_invalid', `column ${column.name}: a value has no form in Parquet's type for it`, {
    hint: `infinite dates and times before year 1 are such; cast the column to text in the source`,
  });
}

function parquetColumn({ name, typeOid }: SinkColumn): ParquetColumn {
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  switch (typeOid) {
    case 16:
      return { name, element: { ...optional, type: 'BOOLEAN' }, parse: booleanOf };
    case 21:
    case 23:
      return { name, element: { ...optional, type: 'INT32' }, parse: int32Of };
    case 20:
    case 26:
      return { name, element: { ...optional, type: 'INT64' }, parse: int64Of };
    case 700:
      return { name, element: { ...optional, type: 'FLOAT' }, parse: floatOf };
    case 701:
      return { name, element: { ...optional, type: 'DOUBLE' }, parse: floatOf };
    case 1082:
      return { name, element: { ...optional, type: 'INT32', converted_type: 'DATE' }, parse: daysOf };
    case 1114:
    case 1184: {
      const logical_type = { type: 'TIMESTAMP', isAdjustedToUTC: typeOid === 1184, unit: 'MICROS' } as const;
      // The older converted type means UTC, so a timestamp without time zone must not carry it.
      const converted = typeOid === 1184 ? ({ converted_type: 'TIMESTAMP_MICROS' } as const) : {};
      const parse = typeOid === 1184 ? microsWithZone : microsWithoutZone;
      return { name, element: { ...optional, type: 'INT64', ...converted, logical_type }, parse };
    }
    case 17:
      return { name, element: { ...optional, type: 'BYTE_ARRAY' }, parse: bytesOf };
    default:
      return {
        name,
        element: { ...optional, type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
        parse: (text) => text,
      };
  }
}

function booleanOf(text: string): boolean | undefined {
  if (text === 't') return true;
  return text === 'f' ? false : undefined;
}

function int32Of(text: string): number | undefined {
  const value = /^-?\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return value >= -(2 ** 31) && value < 2 ** 31 ? value : undefined;
}

function int64Of(text: string): bigint | undefined {
  const value = /^-?\d{1,19}$/.test(text) ? BigInt(text) : undefined;
  return value !== undefined && value >= -(2n ** 63n) && value < 2n ** 63n ? value : undefined;
}

function floatOf(text: string): number | undefined {
  if (text === 'NaN') return Number.NaN;
  const value = Number(text);
  return text === '' || Number.isNaN(value) ? undefined : value;
}

function bytesOf(text: string): Uint8Array | undefined {
  return /^\\x([0-9a-f]{2})*$/.test(text) ? Buffer.from(text.slice(2), 'hex') : undefined;
}

/** Days since 1970-01-01, from ISO text with a year of the common era. */
function daysOf(text: string): number | undefined {
  const parts = /^(\d{4,6})-(\d\d)-(\d\d)$/.exec(text);
  if (parts === null) return undefined;
  return utcMs(Number(parts[1]), Number(parts[2]), Number(parts[3])) / 86_400_000;
}

/** Date.UTC alone would take the years 0 to 99 for 1900 to 1999. */
function utcMs(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month - 1, day);
}

const timestampText =
  /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?$/;

function microsOf(text: string, zoned: boolean): bigint | undefined {
  const parts = timestampText.exec(text);
  if (parts === null || (parts[8] !== undefined) !== zoned) return undefined;
  const number = (index: number) => Number(parts[index] ?? 0);
  const seconds = utcMs(number(1), number(2), number(3)) / 1_000 + number(4) * 3_600 + number(5) * 60 + number(6);
  const offset = (number(9) * 3_600 + number(10) * 60 + number(11)) * (parts[8] === '-' ? -1 : 1);
  return BigInt(seconds - offset) * 1_000_000n + BigInt((parts[7] ?? '').padEnd(6, '0'));
}

const microsWithZone = (text: string) => microsOf(text, true);
const microsWithoutZone = (text: string) => microsOf(text, false);
