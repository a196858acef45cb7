/** Where the rows of one chunk go: one file per attempt, in the format that the approved job names. */
import type { OutputFormat } from '../definition.ts';
import { openCsv } from './csv.ts';
import type { WrittenFile } from './file.ts';
import { openNdjson } from './ndjson.ts';
import { openParquet } from './parquet.ts';

export interface SinkColumn {
  readonly name: string;
  /** PostgreSQL type OID. */
  readonly typeOid: number;
}

/** One row in PostgreSQL's text format. */
export type TextRow = readonly (string | null)[];

export interface Sink {
  /** @returns a promise when the caller must wait before the next row. @throws CountersignError `input_invalid` for a value that the format cannot hold */
  write(row: TextRow): Promise<void> | undefined;
  /** Writes the rest and forces it to disk. */
  close(): Promise<WrittenFile>;
  /** Forgets the file. */
  discard(): Promise<void>;
}

export interface SinkOptions {
  readonly path: string;
  readonly format: OutputFormat;
  readonly columns: readonly SinkColumn[];
  readonly escapeFormulas: boolean;
}

const openers: Record<OutputFormat, (options: SinkOptions) => Promise<Sink>> = {
  csv: openCsv,
  ndjson: openNdjson,
  parquet: openParquet,
};

export function openSink(options: SinkOptions): Promise<Sink> {
  return openers[options.format](options);
}
