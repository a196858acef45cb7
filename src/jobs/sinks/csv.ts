/**
 * CSV after RFC 4180: a header, CRLF, quotes doubled. NULL is an empty field and the empty text is `""`, as PostgreSQL's
 * own COPY writes and reads it.
 */
import type { Sink, SinkOptions, TextRow } from './sink.ts';
import { openTextSink } from './text-sink.ts';

/** Types whose text a spreadsheet reads as a value: `-5` is a number and no formula. */
const valueTypes: ReadonlySet<number> = new Set([
  16, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1266, 1700, 2950,
]);

export function openCsv({ path, columns, escapeFormulas }: SinkOptions): Promise<Sink> {
  const escaped = columns.map(({ typeOid }) => escapeFormulas && !valueTypes.has(typeOid));
  const line = (row: TextRow) => `${row.map((value, index) => field(value, escaped[index] === true)).join(',')}\r\n`;
  return openTextSink(path, `${columns.map(({ name }) => field(name, escapeFormulas)).join(',')}\r\n`, line);
}

function field(value: string | null, escapeFormula: boolean): string {
  if (value === null) return '';
  const text = escapeFormula && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
