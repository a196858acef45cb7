/**
 * The manifest of a completed run: what it read, in which pieces, and which file holds each piece. A file that it does
 * not name does not exist as far as the run is concerned. Its text is canonical JSON, so its digest can be in the log.
 * Bounds are raw key values and appear as keyed digests only.
 */
import { createHash, createHmac } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CountersignError } from '../errors.ts';
import { canonicalJson, sha256Hex, type Json } from '../lib/canonical-json.ts';
import type { JobPlan, PlannedChunk } from './job-plan.ts';
import type { ChunkFile } from './runner-api.ts';

export const manifestFileName = 'manifest.json';

/** What the control plane adds to what the ledger knows. */
export interface ManifestFacts {
  readonly commit: string;
  readonly contentDigest: string;
  /** Digest of the masking policy under which the rows were delivered. */
  readonly maskDigest: string;
  /** Key for the digests of bounds; the deployment's secret. */
  readonly boundsKey: Buffer;
}

export interface ManifestInput {
  readonly run: {
    readonly runId: string;
    readonly grantId: string;
    readonly job: string;
    readonly jobVersion: number;
    readonly connection: string;
    readonly executor: string;
    readonly snapshot: 'shared' | 'mixed';
  };
  readonly plan: JobPlan;
  readonly chunks: readonly {
    readonly no: number;
    readonly attempt: number;
    readonly rows: number;
    readonly bytes: number;
    readonly maskedCells: number;
    readonly rowDigest: string;
    readonly file: ChunkFile | null;
  }[];
  readonly facts: ManifestFacts;
}

const hex = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);

const manifestSchema = z.strictObject({
  format: z.literal('countersign-manifest/1'),
  run: z.string(),
  grant: z.string(),
  job: z.string(),
  jobVersion: count,
  commit: z.string(),
  contentDigest: hex,
  connection: z.string(),
  executor: z.string(),
  snapshot: z.enum(['shared', 'mixed']),
  outputFormat: z.string(),
  columns: z.array(z.strictObject({ name: z.string(), type: z.string(), mask: z.string().nullable() })),
  maskDigest: hex,
  chunks: z.array(
    z.strictObject({
      no: count,
      /** HMAC-SHA-256 over the canonical JSON of {lower, nulls, upper}. */
      bounds: hex,
      attempt: count,
      rows: count,
      bytes: count,
      maskedCells: count,
      rowDigest: z.string(),
      file: z.strictObject({ path: z.string(), bytes: count, sha256: hex }).nullable(),
    }),
  ),
  totals: z.strictObject({ chunks: count, rows: count, bytes: count, maskedCells: count, fileBytes: count }),
});

export type Manifest = z.infer<typeof manifestSchema>;

export function buildManifest(input: ManifestInput): { manifest: Manifest; text: string; digest: string } {
  const { run, plan, facts } = input;
  const chunks = [...input.chunks].sort((a, b) => a.no - b.no);
  const sum = (value: (chunk: (typeof chunks)[number]) => number) =>
    chunks.reduce((total, chunk) => total + value(chunk), 0);
  const manifest: Manifest = {
    format: 'countersign-manifest/1',
    run: run.runId,
    grant: run.grantId,
    job: run.job,
    jobVersion: run.jobVersion,
    commit: facts.commit,
    contentDigest: facts.contentDigest,
    connection: run.connection,
    executor: run.executor,
    snapshot: run.snapshot,
    outputFormat: plan.output.format,
    columns: plan.outputs.map(({ name, typeName, mask }) => ({ name, type: typeName, mask: mask ?? null })),
    maskDigest: facts.maskDigest,
    chunks: chunks.map((chunk) => {
      const planned = plan.chunks[chunk.no];
      if (planned?.no !== chunk.no) throw new Error(`the plan has no chunk ${chunk.no}`);
      const { no, attempt, rows, bytes, maskedCells, rowDigest, file } = chunk;
      const bounds = boundsDigest(planned, facts.boundsKey);
      return { no, bounds, attempt, rows, bytes, maskedCells, rowDigest, file: file === null ? null : { ...file } };
    }),
    totals: {
      chunks: chunks.length,
      rows: sum((chunk) => chunk.rows),
      bytes: sum((chunk) => chunk.bytes),
      maskedCells: sum((chunk) => chunk.maskedCells),
      fileBytes: sum((chunk) => chunk.file?.bytes ?? 0),
    },
  };
  const text = canonicalJson(manifest satisfies Json);
  return { manifest, text, digest: sha256Hex(text) };
}

export function boundsDigest(chunk: PlannedChunk, key: Buffer): string {
  const bounds = { lower: chunk.lower ?? null, upper: chunk.upper ?? null, nulls: chunk.nulls };
  return createHmac('sha256', key).update(canonicalJson(bounds)).digest('hex');
}

/** @throws CountersignError `input_invalid` for text that is no manifest in canonical form */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CountersignError('input_invalid', 'the manifest is not JSON', { cause });
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CountersignError(
      'input_invalid',
      `the manifest is not valid: ${issue?.path.join('.')}: ${issue?.message}`,
    );
  }
  if (canonicalJson(parsed.data satisfies Json) !== text) {
    throw new CountersignError('input_invalid', 'the manifest is not in canonical form: it was edited');
  }
  return parsed.data;
}

export interface ManifestProblem {
  /** undefined for a problem of the manifest as a whole or of a file that it does not name. */
  readonly chunk: number | undefined;
  readonly path: string;
  readonly problem: string;
}

export interface ManifestVerification {
  readonly ok: boolean;
  /** SHA-256 of the manifest's text: compare it with the log's. */
  readonly digest: string;
  readonly manifest: Manifest;
  readonly problems: readonly ManifestProblem[];
}

/**
 * Compares a run's output directory with its manifest: every named file is there, byte for byte, and no other.
 * @throws CountersignError `not_found` without a manifest, `input_invalid` for a broken one
 */
export async function verifyManifest(directory: string): Promise<ManifestVerification> {
  const text = await readFile(join(directory, manifestFileName), 'utf8').catch((cause: unknown) => {
    throw new CountersignError('not_found', `no ${manifestFileName} in ${directory}`, { cause });
  });
  const manifest = parseManifest(text);
  const problems: ManifestProblem[] = [];
  const named = new Set([manifestFileName]);
  for (const { no, file } of manifest.chunks) {
    if (file === null) continue;
    const twice = named.has(file.path);
    named.add(file.path);
    const problem = twice ? 'is named twice' : await fileProblem(directory, file);
    if (problem !== undefined) problems.push({ chunk: no, path: file.path, problem });
  }
  for (const name of (await readdir(directory)).sort()) {
    if (!named.has(name)) problems.push({ chunk: undefined, path: name, problem: 'is not in the manifest' });
  }
  const rows = manifest.chunks.reduce((total, chunk) => total + chunk.rows, 0);
  if (rows !== manifest.totals.rows || manifest.chunks.length !== manifest.totals.chunks) {
    problems.push({ chunk: undefined, path: manifestFileName, problem: 'has totals that differ from its chunks' });
  }
  return { ok: problems.length === 0, digest: sha256Hex(text), manifest, problems };
}

async function fileProblem(directory: string, file: ChunkFile): Promise<string | undefined> {
  if (/[/\\\0]/.test(file.path) || file.path === '..' || file.path === '.') return 'is not a plain file name';
  const path = join(directory, file.path);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || !found.isFile()) return 'is missing';
  if (found.size !== file.bytes) return `has ${found.size} bytes, the manifest says ${file.bytes}`;
  const digest = await sha256OfFile(path);
  return digest === file.sha256 ? undefined : `has SHA-256 ${digest}, the manifest says ${file.sha256}`;
}

/** Lower-case hex. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest('hex');
}
