/**
 * What a statement costs before it is known, and what it costs afterwards: every statement of the bypass suite and of the
 * corpus is analysed once against the catalogue of the bypass suite's schema, as a real server reports it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { Admissions } from '../src/gate/admission.ts';
import { GateConnection } from '../src/gate/connection.ts';
import { Target } from '../src/gateway/target.ts';
import { compileMasking } from '../src/masking/policy.ts';
import { compilePolicies } from '../src/policy/engine.ts';
import { analyse } from '../src/sql/analyse.ts';
import { loadParser } from '../src/sql/parse.ts';
import type { Catalogue } from '../src/sql/statement.ts';
import { newAttacks } from '../test/bypass/new-statements.ts';
import { bypassColumns, bypassSchema } from '../test/bypass/schema.ts';
import { attacks } from '../test/bypass/statements.ts';
import { marked, marks, told, type Ratio } from './marks.ts';

const maxStatementBytes = 256 * 1024;
const database = 'bench_bypass';
const corpus = new URL('../test/corpus/', import.meta.url);

export async function measureAnalysis(): Promise<Ratio[]> {
  await loadParser();
  const catalogue = await bypassCatalogue();
  const bypass = [...attacks, ...newAttacks].map(([, text]) => text);
  const ofBypass = timesOf(bypass, catalogue);
  const ofCorpus = timesOf(corpusStatements(), catalogue);
  const known = await knownStatements(bypass, catalogue);
  return [
    marked(`a new statement, median of ${bypass.length} of the bypass suite`, marks.newStatement, at(ofBypass, 0.5)),
    told('its p99', 'ms', at(ofBypass, 0.99)),
    told(`a new statement, median of ${ofCorpus.length} of the corpus`, 'ms', at(ofCorpus, 0.5)),
    told('its p99', 'ms', at(ofCorpus, 0.99)),
    marked('a known statement / a look-up of its text', marks.knownStatement, known.verdictNs / known.lookupNs),
    told('a known statement', 'ns', known.verdictNs),
    told('a look-up of its text in a map', 'ns', known.lookupNs),
  ];
}

async function bypassCatalogue(): Promise<Catalogue> {
  const server = await startEmbeddedPostgres({ databases: [database] });
  try {
    const client = new pg.Client({ connectionString: server.url(database) });
    await client.connect();
    await client.query(bypassSchema);
    await client.end();
    const target = targetOf(server);
    const catalogue = await target.load();
    await target.close();
    return catalogue;
  } finally {
    await server.stop();
  }
}

function targetOf({ host, port, user, password }: EmbeddedPostgres): Target {
  return new Target({
    address: { name: 'bench', host, port, database, tls: { mode: 'disable' } },
    user,
    password,
    searchPath: ['public'],
    connectTimeoutMs: 10_000,
    statementTimeoutMs: 60_000,
  });
}

/** Blocks between blank lines, without psql's own commands and the data of COPY. */
function corpusStatements(): string[] {
  return readdirSync(corpus)
    .flatMap((file) => readFileSync(new URL(file, corpus), 'utf8').trimEnd().split('\n\n'))
    .filter((text) => !/^\\/m.test(text));
}

/** Milliseconds of each, sorted. */
function timesOf(texts: readonly string[], catalogue: Catalogue): number[] {
  const times = texts.map((text) => {
    const startedMs = performance.now();
    analyse(text, catalogue, { maxBytes: maxStatementBytes });
    return performance.now() - startedMs;
  });
  return times.toSorted((a, b) => a - b);
}

function at(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

const rounds = 60;

/**
 * A session asks for the verdict on a text that it has just read; a look-up of the text in a map is what that must come
 * close to. Both start from bytes, so that neither is given a string whose hash is known.
 */
async function knownStatements(
  texts: readonly string[],
  catalogue: Catalogue,
): Promise<{ readonly verdictNs: number; readonly lookupNs: number }> {
  const columns = bypassColumns.map(({ match, mask }) => ({ match, mask: mask as 'redact' }));
  const masking = compileMasking(
    [{ name: 'bench', appliesTo: {}, columns, detectors: [] }],
    {},
    { hashKey: Buffer.alloc(32, 7) },
  );
  const connection = new GateConnection({
    name: 'bench',
    engine: 'postgres',
    labels: {},
    masking,
    source: { fingerprint: () => Promise.resolve('one'), load: () => Promise.resolve(catalogue) },
    clock: { now: () => 0 },
    catalogueTtlMs: 1_000,
  });
  const policies = compilePolicies({
    files: [{ name: 'bench.cedar', text: 'permit (principal, action == Action::"read", resource);' }],
  });
  const principal = { id: 'p', human: 'p', kind: 'person', displayName: 'P', email: undefined, groups: [] } as const;
  const admissions = new Admissions({
    connection,
    identity: { sessionId: 's', principal, duties: ['executor'], duty: 'executor', runId: undefined },
    policies: () => policies,
    maxStatementBytes,
    sampleRowsPerHour: 0,
  });
  const map = new Map<string, object>();
  for (const text of texts) {
    await admissions.admit(text);
    map.set(text, {});
  }
  const bytes = texts.filter((text) => admissions.cached(text) !== undefined).map((text) => Buffer.from(text));
  if (bytes.length === 0) throw new Error('no verdict was kept');
  const nanoseconds = (look: (text: string) => unknown): number => {
    const times = Array.from({ length: rounds }, () => {
      const startedMs = performance.now();
      for (const one of bytes) look(one.toString('utf8'));
      return ((performance.now() - startedMs) * 1e6) / bytes.length;
    });
    return times.toSorted((a, b) => a - b)[rounds / 2] ?? Number.NaN;
  };
  return { lookupNs: nanoseconds((text) => map.get(text)), verdictNs: nanoseconds((text) => admissions.cached(text)) };
}
