/**
 * The composition root: everything is made and wired here, and only here. `startApp` gives a running gateway; `serve` is
 * that with a configuration file, signals and a server log.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pino, type Logger } from 'pino';
import { buildApi } from './api/server.ts';
import type { ApiServices } from './api/services.ts';
import { GrantService } from './approvals/grants.ts';
import { RequestService } from './approvals/requests.ts';
import { generateLogKey } from './audit/checkpoint.ts';
import { encodeEntry, type LogEvent } from './audit/events.ts';
import { TransparencyLog } from './audit/log.ts';
import { RecordingStore } from './audit/recording.ts';
import { replaySession } from './audit/replay.ts';
import { readerFor } from './audit/verify.ts';
import { openKeys, type KeyFolder } from './config/keys.ts';
import { loadConfiguration, readSecret } from './config/load.ts';
import type { Configuration, ConnectionConfiguration } from './config/schema.ts';
import { asCountersignError, CountersignError } from './errors.ts';
import { GateConnection } from './gate/connection.ts';
import type { ControlPlane } from './gate/control-plane.ts';
import { HoldService } from './gate/holds.ts';
import { GateReader } from './gate/reader.ts';
import type { Authenticator } from './gateway/login.ts';
import { PostgresListener, type ListenerConnection } from './gateway/postgres.ts';
import { Target, type TargetIdentity } from './gateway/target.ts';
import type { UpstreamAddress } from './gateway/upstream.ts';
import { dutiesOf, sessionDuty } from './identity/bindings.ts';
import { CredentialService } from './identity/credentials.ts';
import { PrincipalDirectory } from './identity/directory.ts';
import { TokenVerifier } from './identity/oidc.ts';
import type { Duty, Principal } from './identity/principal.ts';
import { Ledger } from './jobs/ledger.ts';
import { JobRepository } from './jobs/repository.ts';
import { RunService } from './jobs/runs.ts';
import { draftFromSession } from './jobs/session-draft.ts';
import { JobSubmission, type JobConnection } from './jobs/submission.ts';
import type { Json } from './lib/canonical-json.ts';
import { systemClock, type Clock } from './lib/clock.ts';
import { compileMasking } from './masking/policy.ts';
import { compilePolicies, type PolicySet } from './policy/engine.ts';
import type { PolicyConnection } from './policy/entities.ts';
import { loadParser } from './sql/parse.ts';
import { openStore } from './store/database.ts';
import { migrate } from './store/migrate.ts';
import { reserveSample } from './store/samples.ts';
import { finishAbandonedSessions, finishSession, insertSession } from './store/sessions.ts';

export interface AppOptions {
  readonly configuration: Configuration;
  readonly version: string;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export interface App {
  /** Addresses as they are bound (a configured port of 0 has become a real one). */
  readonly postgresPort: number;
  readonly apiUrl: string;
  readonly verifierKey: string;
  readonly logDirectory: string;
  /** Takes masking rules, policies and bindings from a new configuration; addresses and stores stay as they are. */
  reload(configuration: Configuration): void;
  /** Publishes the log up to now. */
  checkpoint(): Promise<string>;
  close(): Promise<void>;
}

/** One connection with everything that works on it. */
interface Wired {
  readonly configuration: ConnectionConfiguration;
  readonly target: Target;
  readonly listener: ListenerConnection;
  readonly job: JobConnection;
  readonly policy: PolicyConnection;
}

const hourMs = 60 * 60_000;
const sweepMs = 15_000;

export async function startApp(options: AppOptions): Promise<App> {
  const { configuration, version, logger } = options;
  const clock = options.clock ?? systemClock;
  const { dataDirectory, node } = configuration;
  const limits = configuration.gateway.limits;
  await loadParser();
  const keys = openKeys(path.join(dataDirectory, 'keys'));
  const hashKey = keys.secret('masking-hash.key');
  const onError = errorHandler(logger);
  const live = liveRules(configuration);

  const { store, pool } = openStore(readSecret(configuration.store.url), {
    maxConnections: configuration.store.maxConnections,
  });
  const closing: (() => Promise<unknown>)[] = [() => store.destroy()];
  const closeAll = async () => {
    for (const close of closing.toReversed()) await close().catch(onError);
  };
  try {
    await migrate(store).catch((cause: unknown) => {
      if (cause instanceof CountersignError) throw cause;
      throw new CountersignError('store_unavailable', `cannot use the control store: ${messageOf(cause)}`, {
        hint: 'check store.url',
        cause,
      });
    });
    const logDirectory = path.join(dataDirectory, 'log');
    const logKey = logKeys(keys, node);
    const log = await TransparencyLog.open({
      directory: logDirectory,
      origin: logKey.origin,
      privateKeyPem: logKey.privateKeyPem,
      clock,
    });
    closing.push(() => log.close());
    const event = () => ({ at: new Date(clock.now()).toISOString(), node });
    const note = (entry: LogEvent) => void log.append(encodeEntry(entry));
    // Decisions and grants come with members of their own; whatever they say is durable before they take effect.
    const record = async (entry: { readonly type: string; readonly [member: string]: Json | undefined }) =>
      log.durable(log.append(encodeEntry({ ...entry, ...event() } as unknown as LogEvent)));
    note({ type: 'log.opened', ...event(), version });

    const recordings = await RecordingStore.open({
      directory: path.join(dataDirectory, 'recordings'),
      key: keys.secret('recording.key'),
      log,
      clock,
      node,
    });
    const wired = new Map(
      configuration.connections.map((one) => [one.name, wire(one, { limits, clock, hashKey, live })]),
    );
    closing.push(async () => {
      for (const { target } of wired.values()) await target.close();
    });

    const directory = new PrincipalDirectory({ store, clock });
    await directory.refresh();
    await finishAbandonedSessions(store, node, new Date(clock.now()));
    const { issuer, audience, clientId, groupsClaim, serviceAccounts } = configuration.identity;
    const verifier = new TokenVerifier({ issuer, audience, groupsClaim, serviceAccounts, clock });
    const verifyToken = async (jwt: string): Promise<Principal> => {
      const principal = await verifier.verify(jwt);
      await directory.seen(principal);
      return principal;
    };
    const credentials = new CredentialService({ store, record, clock, random: randomBytes });
    const dutiesOn = (principal: Principal, connection: string): readonly Duty[] => {
      const one = wired.get(connection);
      return one === undefined ? [] : dutiesOf(principal, one.configuration.labels, live.bindings());
    };

    const isAdmin = (principal: Principal) =>
      [...wired.keys()].some((name) => dutiesOn(principal, name).includes('admin'));
    const policyConnection = (name: string) => wired.get(name)?.policy;
    const services = {
      store,
      record,
      clock,
      policySet: live.policies,
      workflows: configuration.workflows,
      connections: policyConnection,
    };
    const requests = new RequestService({ ...services, pool, maxHoldsPerHuman: limits.maxHoldsPerPrincipal });
    closing.push(() => requests.close());
    const grants = new GrantService(services);
    const repository = await JobRepository.open({
      directory: path.join(dataDirectory, 'jobs.git'),
      clock,
      humansOf: ({ email }) => directory.humansByEmail(email),
    });
    const jobConnection = (name: string) => wired.get(name)?.job;
    const submission = new JobSubmission({
      store,
      repository,
      requests,
      policies: live.policies,
      connection: jobConnection,
      policyConnection,
      record,
      clock,
      grantDurationMs: 24 * hourMs,
    });
    const ledger = new Ledger({
      store,
      clock,
      record: ({ type, detail, runId, grantId, job, connection, chunkNo, attempt }) =>
        record({ type, run: runId, grant: grantId, job, connection, chunk: chunkNo, attempt, detail }),
      leaseMs: configuration.runs.leaseMs,
      attempts: configuration.runs.attempts,
    });
    const runs = new RunService({
      store,
      requests,
      grants,
      submission,
      ledger,
      connection: jobConnection,
      holdSnapshot: (name) => need(wired, name).target.holdSnapshot(),
      issueCredential: (principal, connection, runId) =>
        credentials.issue({ principal, connection, runId, ttlMs: configuration.credentials.ttlMs }),
      revokeCredentials: async (runId) => {
        await credentials.revokeAllOfRun(runId, 'countersign');
      },
      boundsKey: keys.secret('bounds.key'),
      snapshotMaxAgeMs: configuration.runs.snapshotMaxAgeMs,
      onError,
    });
    closing.push(() => runs.close());

    let publicUrl = configuration.api.publicUrl;
    const holds = new HoldService({
      requests,
      grants,
      connection: (name) => {
        const one = need(wired, name);
        return { gate: one.listener.gate, searchPath: one.listener.searchPath, target: one.job.target };
      },
      addressOf: (requestId) => `${publicUrl}/api/v1/requests/${requestId}`,
      holdTimeoutMs: limits.holdTimeoutMs,
    });
    const reserve = async (asked: Omit<Parameters<typeof reserveSample>[1], 'windowMs' | 'now'>) => ({
      ...(await reserveSample(store, { ...asked, windowMs: hourMs, now: undefined })),
      limit: asked.limit,
    });

    const controlPlane: ControlPlane = {
      sessionOpened: ({ identity, connection, clientAddress, application }) =>
        insertSession(store, {
          id: identity.sessionId,
          principalId: identity.principal.id,
          human: identity.principal.human,
          duty: identity.duty,
          connection,
          runId: identity.runId,
          clientAddress,
          application,
          node,
          startedAt: new Date(clock.now()),
        }),
      sessionClosed: async (sessionId, totals) => {
        await finishSession(store, sessionId, totals, new Date(clock.now()));
      },
      openHold: (question) => holds.open(question),
      awaitHold: (hold, question, signal) => holds.wait(hold, question, signal),
      reserveSample: (human, connection, rows) =>
        reserve({ human, connection, rows, limit: configuration.sampling.rowsPerHour }),
      reserveEqualities: (human, connection, { rule, values, limit }) =>
        reserve({ human, connection, rule, rows: values, limit }),
      beginChunk: (identity, job, chunkNo, columns) => runs.beginChunk(identity, job, chunkNo, columns),
      probeRun: (identity, job) => runs.probeRun(identity, job),
      chunkDelivered: (ticket, counts, rowDigest) => runs.delivered(ticket, counts, rowDigest),
      chunkFailed: (ticket, reason) => runs.failed(ticket, reason),
    };

    const authenticator: Authenticator = {
      credential: async (user) => {
        const found = await credentials.lookup(user);
        return (
          found && {
            verifier: found.verifier,
            principal: found.principal,
            connection: found.connection,
            runId: found.runId,
          }
        );
      },
      token: verifyToken,
      mockSecret: keys.secret('mock-salt.key'),
    };
    const { postgres } = configuration.gateway;
    const hosts = typeof postgres.host === 'string' ? [postgres.host] : postgres.host;
    const host = hosts[0] ?? 'localhost';
    const listener = await PostgresListener.start({
      addresses: { hosts, port: postgres.port, socketDirectory: postgres.socket },
      tls: postgres.tls && {
        ...readTls(postgres.tls),
        clientCa: postgres.tls.clientCaFile && readFileSync(postgres.tls.clientCaFile, 'utf8'),
      },
      requireTls: postgres.requireTls,
      limits,
      node,
      clock,
      connections: new Map([...wired].map(([name, one]) => [name, one.listener])),
      authenticator,
      dutiesOf: (principal, connection) => dutiesOn(principal, connection.gate.name),
      sessionDuty,
      policies: live.policies,
      sampleRowsPerHour: configuration.sampling.rowsPerHour,
      controlPlane,
      log,
      recordings,
      onError,
    }).catch((cause: unknown) => {
      throw cannotListen('gateway.postgres', { host: hosts.join(', '), port: postgres.port }, cause);
    });
    closing.push(
      () => recordings.close(),
      () => listener.close(),
    );

    const apiServices: ApiServices = {
      version,
      node,
      clock,
      store,
      log,
      verifierKey: logKey.verifierKey,
      logDirectory,
      note,
      encode: encodeEntry,
      login: { issuer, clientId, audience },
      gateway: { host, port: listener.port, ...postgres.advertise, tls: postgres.tls !== undefined },
      verifyToken,
      dutiesOn,
      connectionNames: () => [...wired.keys()],
      describeConnection: (name) => describe(need(wired, name)),
      issueCredential: (principal, connection, ttlMs) =>
        credentials.issue({
          principal,
          connection,
          ttlMs: Math.min(ttlMs ?? configuration.credentials.ttlMs, configuration.credentials.ttlMs),
        }),
      revokeCredential: async (principal, user) => {
        const stored = await credentials.find(user);
        if (stored === undefined || (stored.human !== principal.human && !isAdmin(principal))) {
          throw new CountersignError('not_found', `you have no credential ${JSON.stringify(user)}`);
        }
        await credentials.revoke(user, principal.id);
        const error = new CountersignError(
          'authentication_failed',
          'countersign: the credential of this session was revoked',
        );
        listener.endSessions((session) => session.credentialUser === user, error);
      },
      requests,
      submission,
      draftFromSession: (session) => {
        const published = { read: readerFor(logDirectory), checkpoint: () => log.checkpoint() };
        return draftFromSession({ node, log: published, connection: jobConnection }, session);
      },
      runs,
      ledger,
      replay: (sessionId) => replaySession({ recordings, sessionId, log }),
      onError,
    };
    const { api } = configuration;
    const server = await buildApi({
      services: apiServices,
      tls: api.tls && readTls(api.tls),
      requestsPerMinute: api.requestsPerMinute,
    });
    await server.listen({ host: api.host, port: api.port }).catch((cause: unknown) => {
      throw cannotListen('api', api, cause);
    });
    closing.push(() => server.close());
    const bound = server.server.address();
    const apiPort = typeof bound === 'object' && bound !== null ? bound.port : api.port;
    const apiUrl = `${api.tls === undefined ? 'http' : 'https'}://${api.host}:${apiPort}`;
    publicUrl ??= apiUrl;

    const sweep = setInterval(() => {
      requests.expireDue().catch(onError);
      grants.expireDue().catch(onError);
      ledger.sweep().catch(onError);
    }, sweepMs);
    closing.push(() => Promise.resolve(clearInterval(sweep)));

    return {
      postgresPort: listener.port,
      apiUrl,
      verifierKey: logKey.verifierKey,
      logDirectory,
      checkpoint: () => log.checkpoint(),
      reload: (next) => {
        live.replace(next);
        for (const one of wired.values()) {
          one.listener.gate.setMasking(compileMasking(next.masking, one.configuration.labels, { hashKey }));
        }
        note({ type: 'policy.changed', ...event(), policies: live.policies().digest });
      },
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** What a reload replaces. */
function liveRules(first: Configuration) {
  const compile = (configuration: Configuration) => ({
    bindings: configuration.bindings,
    policies: compilePolicies({
      files: configuration.policies.files.map((file) => ({
        name: path.basename(file),
        text: readFileSync(file, 'utf8'),
      })),
      defaults: configuration.policies.defaults,
    }),
  });
  let current = compile(first);
  return {
    bindings: () => current.bindings,
    policies: (): PolicySet => current.policies,
    replace: (configuration: Configuration) => {
      current = compile(configuration);
    },
    masking: first.masking,
  };
}

function wire(
  one: ConnectionConfiguration,
  shared: {
    readonly limits: Configuration['gateway']['limits'];
    readonly clock: Clock;
    readonly hashKey: Buffer;
    readonly live: ReturnType<typeof liveRules>;
  },
): Wired {
  const { limits, clock, hashKey, live } = shared;
  const address: UpstreamAddress = {
    name: one.name,
    host: one.host,
    port: one.port,
    database: one.database,
    tls:
      one.tls.mode === 'disable'
        ? { mode: 'disable' }
        : {
            mode: 'verify-full',
            ca: one.tls.caFile === undefined ? undefined : readFileSync(one.tls.caFile, 'utf8'),
            serverName: one.tls.serverName,
            client:
              one.tls.certFile === undefined || one.tls.keyFile === undefined
                ? undefined
                : readTls({ certFile: one.tls.certFile, keyFile: one.tls.keyFile }),
            isDirect: one.tls.negotiation === 'direct',
          },
  };
  const login = ({ user, password }: ConnectionConfiguration['credentials']['gateway']) => ({
    user,
    password: readSecret(password),
  });
  const target = new Target({
    address,
    ...login(one.credentials.gateway),
    searchPath: one.searchPath,
    connectTimeoutMs: limits.connectTimeoutMs,
    statementTimeoutMs: 60_000,
  });
  const gate = new GateConnection({
    name: one.name,
    engine: one.engine,
    labels: one.labels,
    masking: compileMasking(live.masking, one.labels, { hashKey }),
    source: target,
    clock,
    catalogueTtlMs: limits.catalogueTtlMs,
  });
  const targetFacts = async () => {
    const { serverVersion: _version, ...identity }: TargetIdentity = await target.identity();
    return { ...identity, engine: one.engine };
  };
  return {
    configuration: one,
    target,
    listener: {
      gate,
      address,
      credentials: { designer: login(one.credentials.designer), executor: login(one.credentials.executor) },
      searchPath: one.searchPath,
    },
    job: {
      gate,
      reader: new GateReader({ connection: gate, query: (sql) => target.query(sql) }),
      searchPath: one.searchPath,
      target: targetFacts,
    },
    policy: { name: one.name, labels: one.labels, engine: one.engine },
  };
}

async function describe({ listener, configuration }: Wired) {
  const { gate } = listener;
  const { catalogue } = await gate.refresh();
  const masks = catalogue.relations.flatMap((relation) =>
    relation.columns.flatMap((column) => {
      const rule = gate.masking.columnRule(relation.schema, relation.name, column.name);
      if (rule === undefined) return [];
      const mask = typeof rule.mask === 'string' ? rule.mask : rule.mask.kind;
      return [{ column: `${relation.schema}.${relation.name}.${column.name}`, mask, rule: rule.id }];
    }),
  );
  return { name: configuration.name, engine: configuration.engine, labels: configuration.labels, masks };
}

function need(wired: ReadonlyMap<string, Wired>, name: string): Wired {
  const one = wired.get(name);
  if (one === undefined)
    throw new CountersignError('connection_unknown', `there is no connection ${JSON.stringify(name)}`);
  return one;
}

function logKeys(keys: KeyFolder, node: string): { origin: string; privateKeyPem: string; verifierKey: string } {
  const text = keys.text('log.json', () => {
    const origin = `countersign/${node}`;
    return `${JSON.stringify({ origin, ...generateLogKey(origin) })}\n`;
  });
  return JSON.parse(text) as { origin: string; privateKeyPem: string; verifierKey: string };
}

function readTls(files: { readonly certFile: string; readonly keyFile: string }) {
  return { cert: readFileSync(files.certFile, 'utf8'), key: readFileSync(files.keyFile, 'utf8') };
}

function cannotListen(what: string, { host, port }: { host: string; port: number }, cause: unknown): CountersignError {
  return new CountersignError(
    'configuration_invalid',
    `cannot listen at ${host}:${port} (${what}): ${messageOf(cause)}`,
    { cause },
  );
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Expected errors pass; anything else is a fault of ours: to the server log with its stack, to the client without its text. */
function errorHandler(logger: Logger): (cause: unknown) => CountersignError {
  return (cause) => {
    const error = asCountersignError(cause);
    if (error.code === 'internal') logger.error({ err: cause }, 'unexpected error');
    return error;
  };
}

/** `countersign serve`: runs until SIGINT or SIGTERM; SIGHUP takes masking, policies and bindings from the file anew. */
export async function serve(configFile: string, version: string): Promise<void> {
  const logger = pino({ base: null });
  const app = await startApp({ configuration: loadConfiguration(configFile), version, logger });
  logger.info({ postgres: app.postgresPort, api: app.apiUrl, log: app.logDirectory }, `countersign ${version} is up`);
  // A fault in one operation is reported and ends that operation, not everybody's sessions.
  process.on('unhandledRejection', (error) => logger.error({ err: error }, 'unexpected error'));
  process.on('SIGHUP', () => {
    try {
      app.reload(loadConfiguration(configFile));
      logger.info('configuration reloaded');
    } catch (error) {
      logger.error({ err: error }, 'configuration not reloaded; the old one stays in force');
    }
  });
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  logger.info('shutting down');
  await app.close();
}
