/** Names and values as SQL text. Everything that the planner puts into a statement goes through these two. */
import { CountersignError } from '../errors.ts';

export function quoteIdentifier(name: string): string {
  if (name.includes('\0')) throw new CountersignError('input_invalid', 'a NUL character cannot be part of an SQL name');
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * A string constant that reads the same whatever `standard_conforming_strings` says: a backslash makes it an E string.
 * @throws CountersignError `input_invalid` for text that no PostgreSQL value can hold (NUL, lone surrogate).
 */
export function quoteLiteral(value: string): string {
  if (value.includes('\0'))
    throw new CountersignError('input_invalid', 'a NUL character cannot be part of an SQL value');
  if (!value.isWellFormed()) {
    throw new CountersignError('input_invalid', 'a lone surrogate cannot be part of an SQL value');
  }
  const doubled = value.replaceAll("'", "''");
  return doubled.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

export function typedLiteral(value: string, type: string): string {
  return `${quoteLiteral(value)}::${type}`;
}
