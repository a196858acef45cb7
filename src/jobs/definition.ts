/**
 * A job definition: the YAML file that a designer writes and an approver signs.
 *
 * Reading is strict. Unknown fields, aliases, duplicate keys and wrong types are refused, every problem at once, each
 * with its line and field, because what is not understood here would be approved without being understood. This file is
 * also used by the command line, so it knows nothing of the server.
 */
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit, type Document, type Node } from 'yaml';
import { z } from 'zod';
import { CountersignError } from '../errors.ts';
import {
  canonicalValue,
  compareValues,
  findParameters,
  parameterTypes,
  valueProblem,
  type JobParameter,
} from './parameters.ts';

export type OutputFormat = 'csv' | 'ndjson' | 'parquet';

export type ChunkKey =
  | { readonly kind: 'columns'; readonly columns: readonly string[] }
  | { readonly kind: 'auto' }
  | { readonly kind: 'none' };

/** How large a chunk should be. */
export type ChunkSize =
  | { readonly unit: 'rows'; readonly value: number }
  | { readonly unit: 'bytes'; readonly value: number }
  | { readonly unit: 'count'; readonly value: number };

export interface JobOutput {
  readonly format: OutputFormat;
  /** `file://relative/path` (from where the runner stands) or `file:///absolute/path`. */
  readonly to: string;
  /** CSV: put ' before text cells that a spreadsheet would run as a formula. */
  readonly escapeFormulas: boolean;
}

export interface JobLimits {
  readonly rows: number | undefined;
  readonly bytes: number | undefined;
  readonly concurrency: number;
  readonly rowsPerSecond: number | undefined;
  readonly statementTimeoutMs: number;
}

export interface JobDefinition {
  readonly job: string;
  readonly connection: string;
  readonly source: string;
  readonly parameters: Readonly<Record<string, JobParameter>>;
  readonly chunk: {
    readonly by: ChunkKey;
    readonly size: ChunkSize;
    readonly strategy: 'quantile' | 'keyset' | undefined;
  };
  readonly output: JobOutput;
  readonly limits: JobLimits;
}

export const maxDefinitionBytes = 256 * 1024;
export const jobNamePattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const defaultChunkRows = 50_000;

const units: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};
const durations: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

// Integers arrive as bigint (so that none loses digits); what is written as 1e3 or 2.0 is no whole number here.
const wholeNumber = z.bigint({ error: 'expected a whole number' });
const positive = wholeNumber
  .refine((value) => value >= 1n, 'expected at least 1')
  .refine((value) => value <= 2n ** 50n, 'expected at most 2^50')
  .transform(Number);
const text = z.string({ error: 'expected text' });
const name = text.regex(
  jobNamePattern,
  'expected 1 to 63 lower-case letters, digits, - and _, not beginning with - or _',
);

const bytes = z.union(
  [positive, text.transform((value, context) => parseUnit(value, units, true, context, 'a size such as 500MB or 2GB'))],
  {
    error: 'expected a size such as 500MB or 2GB',
  },
);
const duration = text.transform((value, context) =>
  parseUnit(value, durations, false, context, 'a duration such as 60s or 5m'),
);

function parseUnit(
  value: string,
  table: Record<string, number>,
  upperCase: boolean,
  context: z.RefinementCtx,
  expected: string,
): number {
  const parts = /^(\d{1,12}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})$/.exec(value);
  const unit = parts?.[2] ?? '';
  const factor = table[upperCase ? unit.toUpperCase() : unit];
  const result = Math.round(Number(parts?.[1]) * (factor ?? Number.NaN));
  if (Number.isSafeInteger(result) && result >= 1) return result;
  context.addIssue({ code: 'custom', message: `expected ${expected}` });
  return z.NEVER;
}

const scalar = z
  .union([z.string(), z.bigint(), z.boolean(), z.number()], { error: 'expected one value' })
  .transform(String);

const parameter = z.strictObject({
  type: z.enum(parameterTypes, { error: `expected one of ${parameterTypes.join(', ')}` }),
  allowed: z.array(scalar, { error: 'expected a list of values' }).min(1, 'expected at least one value').optional(),
  min: scalar.optional(),
  max: scalar.optional(),
  default: scalar.optional(),
});

const columnName = text.min(1, 'expected a column name');
const by = z.union(
  [
    columnName,
    z.array(columnName).min(1, 'expected at least one column').max(8, 'expected at most 8 columns'),
    z.strictObject({ column: columnName }),
  ],
  {
    error: 'expected a column name, a list of column names, auto or none',
  },
);

const target = text.refine(isFileTarget, 'expected file://relative/path or file:///absolute/path without .. in it');

const schema = z.strictObject(
  {
    job: name,
    connection: name,
    source: text.refine((value) => value.trim() !== '', 'expected a SELECT statement'),
    parameters: z.record(z.string(), parameter, { error: 'expected parameters by name' }).optional(),
    chunk: z.strictObject(
      {
        by,
        rows: positive.optional(),
        bytes: bytes.optional(),
        count: positive.optional(),
        strategy: z.enum(['quantile', 'keyset'], { error: 'expected quantile or keyset' }).optional(),
      },
      { error: 'expected by and one of rows, bytes, count' },
    ),
    output: z.strictObject(
      {
        format: z.enum(['csv', 'ndjson', 'parquet'], { error: 'expected csv, ndjson or parquet' }),
        to: target,
        escapeFormulas: z.boolean({ error: 'expected true or false' }).optional(),
      },
      { error: 'expected format and to' },
    ),
    limits: z
      .strictObject(
        {
          rows: positive.optional(),
          bytes: bytes.optional(),
          concurrency: positive.refine((value) => value <= 64, 'expected at most 64').optional(),
          rowsPerSecond: positive.optional(),
          statementTimeout: duration.optional(),
        },
        { error: 'expected limits by name' },
      )
      .optional(),
  },
  { error: 'expected the fields job, connection, source, chunk, output' },
);

type RawDefinition = z.infer<typeof schema>;

function isFileTarget(value: string): boolean {
  const path = /^file:\/\/(.+)$/.exec(value)?.[1];
  if (path === undefined || /[\0\\%?#]/.test(path)) return false;
  return path.split('/').every((part) => part !== '..') && /[^/.]/.test(path);
}

/** The directory that `output.to` names. `from` is where a relative one begins. */
export function outputPath(output: Pick<JobOutput, 'to'>, from: string): string {
  const path = output.to.slice('file://'.length);
  return path.startsWith('/') ? path : `${from.replace(/\/+$/, '')}/${path}`;
}

interface Problem {
  readonly line: number;
  readonly field: string;
  readonly message: string;
}

/**
 * Reads a definition.
 * @param path names the file in errors and, in the form `jobs/<name>.yaml`, must agree with its `job` field
 * @throws CountersignError `job_invalid` whose message has one line per problem: `jobs/x.yaml:7: chunk.rows: expected …`
 */
export function parseJobDefinition(content: string, path: string): JobDefinition {
  if (Buffer.byteLength(content) > maxDefinitionBytes) {
    throw invalid(path, [{ line: 1, field: '', message: `expected at most ${maxDefinitionBytes} bytes` }]);
  }
  const lines = new LineCounter();
  const document = parseDocument(content, {
    lineCounter: lines,
    intAsBigInt: true,
    uniqueKeys: true,
    stringKeys: true,
  });
  const lineAt = (offset: number) => Math.max(1, lines.linePos(offset).line);
  const syntax = [...document.errors, ...document.warnings].map(
    (error): Problem => ({ line: lineAt(error.pos[0]), field: '', message: error.message.split('\n')[0] ?? '' }),
  );
  visit(document, {
    Alias: (_key, node) => {
      syntax.push({
        line: lineAt(node.range?.[0] ?? 0),
        field: '',
        message: 'aliases (*name) are not used in job files',
      });
    },
  });
  if (syntax.length > 0) throw invalid(path, syntax);

  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }));
  const position = (at: readonly PropertyKey[]) => {
    const { offset, found } = locate(document, at);
    return { line: lineAt(offset), found };
  };
  if (!parsed.success) {
    throw invalid(
      path,
      parsed.error.issues.flatMap((issue) => problemsOf(issue, position)),
    );
  }
  const problems = rules(parsed.data, path).map(
    ({ at, message }): Problem => ({
      line: position(at).line,
      field: at.join('.'),
      message,
    }),
  );
  if (problems.length > 0) throw invalid(path, problems);
  return definitionOf(parsed.data);
}

type Position = (at: readonly PropertyKey[]) => { readonly line: number; readonly found: boolean };

function problemsOf(issue: z.core.$ZodIssue, position: Position): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const at = [...issue.path, key];
      return { line: position(at).line, field: at.join('.'), message: 'unknown field' };
    });
  }
  const { line, found } = position(issue.path);
  return [{ line, field: issue.path.join('.'), message: found ? issue.message : 'is missing' }];
}

/** Where the field stands; for a missing one, the nearest thing that would hold it. */
function locate(document: Document.Parsed, at: readonly PropertyKey[]): { offset: number; found: boolean } {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const step of at) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
      if (pair === undefined) return { offset, found: false };
      offset = (pair.key as Node).range?.[0] ?? offset;
      next = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      next = node.items[step];
      if (isNode(next)) offset = next.range?.[0] ?? offset;
    }
    node = next;
  }
  return { offset, found: true };
}

function invalid(path: string, problems: readonly Problem[]): CountersignError {
  const texts = [...problems]
    .sort((a, b) => a.line - b.line)
    .map(({ line, field, message }) => `${path}:${line}: ${field === '' ? '' : `${field}: `}${message}`);
  return new CountersignError('job_invalid', texts.join('\n'), { hint: 'docs/jobs.md describes every field' });
}

/** What no shape can say: fields that exclude or need each other. */
function rules(raw: RawDefinition, path: string): { at: (string | number)[]; message: string }[] {
  const problems: { at: (string | number)[]; message: string }[] = [];
  const fileName = /^jobs\/(.+)\.yaml$/.exec(path)?.[1];
  if (fileName !== undefined && fileName !== raw.job) {
    problems.push({ at: ['job'], message: `expected ${fileName}, the name of the file` });
  }
  const sizes = (['rows', 'bytes', 'count'] as const).filter((size) => raw.chunk[size] !== undefined);
  if (sizes.length > 1) {
    problems.push({ at: ['chunk', sizes[1] ?? ''], message: `expected only one of rows, bytes, count` });
  }
  if (raw.chunk.by === 'none' && (sizes.length > 0 || raw.chunk.strategy !== undefined)) {
    problems.push({ at: ['chunk', 'by'], message: 'one chunk (by: none) has neither a size nor a strategy' });
  }
  if (Array.isArray(raw.chunk.by) && new Set(raw.chunk.by).size < raw.chunk.by.length) {
    problems.push({ at: ['chunk', 'by'], message: 'expected each column once' });
  }
  if (raw.output.escapeFormulas !== undefined && raw.output.format !== 'csv') {
    problems.push({ at: ['output', 'escapeFormulas'], message: 'is for csv only' });
  }
  return [...problems, ...parameterRules(raw)];
}

function parameterRules(raw: RawDefinition): { at: (string | number)[]; message: string }[] {
  const problems: { at: (string | number)[]; message: string }[] = [];
  const declared = raw.parameters ?? {};
  const used = new Set(findParameters(raw.source).map((use) => use.name));
  for (const use of used) {
    if (!Object.hasOwn(declared, use))
      problems.push({ at: ['source'], message: `:${use} is not declared under parameters` });
  }
  for (const [name, one] of Object.entries(declared)) {
    const at = ['parameters', name];
    if (!/^[a-z_][a-z0-9_]{0,62}$/i.test(name))
      problems.push({ at, message: 'expected a name of letters, digits and _' });
    else if (!used.has(name)) problems.push({ at, message: `the source does not use :${name}` });
    for (const [index, value] of (one.allowed ?? []).entries()) {
      if (canonicalValue(one.type, value) === undefined) {
        problems.push({ at: [...at, 'allowed', index], message: `expected a value of type ${one.type}` });
      }
    }
    const ranged = one.type !== 'text' && one.type !== 'boolean';
    for (const edge of ['min', 'max'] as const) {
      const value = one[edge];
      if (value === undefined) continue;
      if (!ranged) problems.push({ at: [...at, edge], message: `a parameter of type ${one.type} has no range` });
      else if (canonicalValue(one.type, value) === undefined) {
        problems.push({ at: [...at, edge], message: `expected a value of type ${one.type}` });
      }
    }
    if (problems.length > 0) continue;
    const canonical = parameterOf(one);
    if (
      canonical.min !== undefined &&
      canonical.max !== undefined &&
      compareValues(one.type, canonical.min, canonical.max) > 0
    ) {
      problems.push({ at: [...at, 'min'], message: 'expected at most max' });
    }
    const problem = one.default === undefined ? undefined : valueProblem(canonical, one.default);
    if (problem !== undefined) problems.push({ at: [...at, 'default'], message: problem });
  }
  return problems;
}

function parameterOf(raw: z.infer<typeof parameter>): JobParameter {
  const canonical = (value: string | undefined) => (value === undefined ? undefined : canonicalValue(raw.type, value));
  return {
    type: raw.type,
    allowed: raw.allowed?.map((value) => canonicalValue(raw.type, value) ?? value),
    min: canonical(raw.min),
    max: canonical(raw.max),
    default: canonical(raw.default),
  };
}

function definitionOf(raw: RawDefinition): JobDefinition {
  const { rows, bytes: chunkBytes, count, strategy } = raw.chunk;
  let size: ChunkSize = { unit: 'rows', value: rows ?? defaultChunkRows };
  if (chunkBytes !== undefined) size = { unit: 'bytes', value: chunkBytes };
  if (count !== undefined) size = { unit: 'count', value: count };
  return {
    job: raw.job,
    connection: raw.connection,
    source: raw.source.trim(),
    parameters: Object.fromEntries(Object.entries(raw.parameters ?? {}).map(([key, one]) => [key, parameterOf(one)])),
    chunk: { by: chunkKeyOf(raw.chunk.by), size, strategy },
    output: { format: raw.output.format, to: raw.output.to, escapeFormulas: raw.output.escapeFormulas ?? false },
    limits: {
      rows: raw.limits?.rows,
      bytes: raw.limits?.bytes,
      concurrency: raw.limits?.concurrency ?? 4,
      rowsPerSecond: raw.limits?.rowsPerSecond,
      statementTimeoutMs: raw.limits?.statementTimeout ?? 60_000,
    },
  };
}

/** A column that is really called `auto` or `none` is written as `{ column: auto }`. */
function chunkKeyOf(raw: RawDefinition['chunk']['by']): ChunkKey {
  if (raw === 'auto' || raw === 'none') return { kind: raw };
  if (typeof raw === 'string') return { kind: 'columns', columns: [raw] };
  return { kind: 'columns', columns: 'column' in raw ? [raw.column] : raw };
}
