/**
 * Looks for every seeded secret in everything that left the gateway: the bytes that clients received, the files of the
 * run (decoded, since Parquet compresses), the log, the recordings as an auditor sees them, and what commands printed.
 */
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import type { CommandLine } from './command.ts';
import type { Environment } from './environment.ts';
import { searchSecrets, type Finding, type SecretSet } from './secrets.ts';

export interface SearchResult {
  readonly findings: readonly Finding[];
  readonly bytes: number;
}

export async function searchEverything(options: {
  readonly environment: Environment;
  readonly run: CommandLine;
  readonly secrets: SecretSet;
  readonly outputDirectory: string;
  readonly printed: readonly string[];
}): Promise<SearchResult> {
  const { environment, run, secrets, outputDirectory, printed } = options;
  let bytes = 0;
  const search = async (pieces: Iterable<Buffer> | AsyncIterable<Buffer>) => {
    async function* counted() {
      for await (const piece of pieces) {
        bytes += piece.length;
        yield piece;
      }
    }
    return searchSecrets(counted(), secrets);
  };
  const files = async (directory: string) =>
    (await readdir(directory, { recursive: true, withFileTypes: true }))
      .filter((one) => one.isFile())
      .map((one) => path.join(one.parentPath, one.name));
  const findings: Finding[] = [];
  for (const file of [
    path.join(environment.home, 'client-bytes'),
    ...(await files(outputDirectory)),
    ...(await files(environment.dataDirectory)),
  ]) {
    findings.push(...(await search([await readFile(file)])));
  }
  for (const file of await files(outputDirectory)) {
    if (!file.endsWith('.parquet')) continue;
    const rows = await parquetReadObjects({
      file: await asyncBufferFromFile(file),
      compressors: { ZSTD: (bytes) => zstdDecompressSync(bytes) },
    });
    findings.push(...(await search(rows.map((row) => Buffer.from(`${Object.values(row).map(String).join('\n')}\n`)))));
  }
  const { sessions } = JSON.parse((await run('auditor', ['--json', 'sessions', 'list'], { quiet: true })).stdout) as {
    sessions: { id: string }[];
  };
  for (const { id } of sessions) {
    const replayed = await run('auditor', ['--json', 'replay', id], { quiet: true });
    findings.push(...(await search([Buffer.from(replayed.stdout)])));
  }
  findings.push(...(await search(printed.map((text) => Buffer.from(`${text}\n`)))));
  return { findings, bytes };
}
