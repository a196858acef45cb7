/**
 * Newline-delimited JSON, one object per row. Numbers keep their digits exactly as the database wrote them; a reader that
 * cannot hold them is the reader's limit. What JSON has no number for (NaN, Infinity) is a string.
 */
import type { Sink, SinkColumn, SinkOptions, TextRow } from './sink.ts';
import { openTextSink } from './text-sink.ts';

const numbers: ReadonlySet<number> = new Set([20, 21, 23, 26, 700, 701, 1700]);
const documents: ReadonlySet<number> = new Set([114, 3802]);
const booleanOid = 16;
const jsonNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

export function openNdjson({ path, columns }: SinkOptions): Promise<Sink> {
  const heads = columns.map(({ name }, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`);
  const line = (row: TextRow) => {
    let text = '';
    for (const [index, column] of columns.entries()) text += (heads[index] ?? '') + json(row[index] ?? null, column);
    return `${text}}\n`;
  };
  return openTextSink(path, '', line);
}

function json(value: string | null, { typeOid }: SinkColumn): string {
  if (value === null) return 'null';
  if (numbers.has(typeOid) && jsonNumber.test(value)) return value;
  if (typeOid === booleanOid && (value === 't' || value === 'f')) return value === 't' ? 'true' : 'false';
  // A line break in a JSON document is white space: inside its strings it would be written as \n.
  if (documents.has(typeOid) && isJson(value)) return value.replace(/[\r\n]+/g, ' ');
  return JSON.stringify(value);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
