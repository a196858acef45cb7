/**
 * The composition root: everything is made and wired here, and only here. `startApp` gives a running gateway; `serve` is
 * that with a configuration file, signals and a server log.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { pino, type Logger } from 'pino';
import { buildApi } from './api/server.ts';
import type { ApiServices } from './api/services.ts';
import { GrantService } from './approvals/grants.ts';
import { inheritedBy } from './approvals/inheritance.ts';
import { RequestService } from './approvals/requests.ts';
import { TemplateService } from './approvals/templates.ts';
import { RuleService, rulesInForce } from './approvals/rule-service.ts';
import { generateLogKey } from './audit/checkpoint.ts';
import { encodeEntry, type LogEvent } from './audit/events.ts';
import { hasEntry } from './audit/find-entry.ts';
import { TransparencyLog } from './audit/log.ts';
import { replaySession } from './audit/replay.ts';
import { readerFor } from './audit/verify.ts';
import { openKeys, type KeyFolder } from './config/keys.ts';
import { checkSecrets, loadConfiguration, readSecret } from './config/load.ts';
import { rulesOf, withRules } from './config/rules.ts';
import type { Configuration } from './config/schema.ts';
import { asCountersignError, CountersignError } from './errors.ts';
import type { ControlPlane } from './gate/control-plane.ts';
import { HoldService } from './gate/holds.ts';
import { stepOfInput } from './gate/template-steps.ts';
import { listen } from './gateway/addresses.ts';
import { LiveRules, openRecordings, readTls } from './gateway/data-plane.ts';
import type { SessionMatch } from './gateway/postgres.ts';
import { isKey } from './identity/account-access.ts';
import type { Principal } from './identity/principal.ts';
import { Ledger } from './jobs/ledger.ts';
import { JobRepository } from './jobs/repository.ts';
import { RunService } from './jobs/runs.ts';
import { draftFromSession } from './jobs/session-draft.ts';
import { JobSubmission } from './jobs/submission.ts';
import { type Json } from './lib/canonical-json.ts';
import { systemClock, type Clock } from './lib/clock.ts';
import { tryMask } from './masking/trial.ts';
import { humanKey } from './policy/entities.ts';
import { runDoctor } from './review/doctor.ts';
import { loadParser } from './sql/parse.ts';
import { ChangeFeed, notifyChange } from './store/changes.ts';
import { openStore } from './store/database.ts';
import { migrate } from './store/migrate.ts';
import { reserveSample } from './store/samples.ts';
import { finishAbandonedSessions, finishLostSessions, finishSession, insertSession } from './store/sessions.ts';
import { startCarrier } from './wiring/carrier.ts';
import { Connections, describeConnection } from './wiring/connections.ts';
import { wireIdentity } from './wiring/identity.ts';
import { wireReview } from './wiring/review.ts';

export interface AppOptions {
  readonly configuration: Configuration;
  readonly version: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Where the configuration was read from; for `doctor`. */
  readonly configurationFile?: string | undefined;
}

export interface App {
  /** Addresses as they are bound (a configured port of 0 has become a real one). */
  readonly postgresPort: number;
  readonly apiUrl: string;
  readonly verifierKey: string;
  readonly logDirectory: string;
  /** The ids of the processes that carry sessions; none where this process carries them itself. */
  readonly workers: () => readonly number[];
  /**
   * Takes connections from a new configuration, and masking rules, policies, bindings and workflows as long as nothing
   * was applied by `countersign apply`; what the gateway itself listens at and stores in stays as it is.
   */
  reload(configuration: Configuration): void;
  /** Publishes the log up to now. */
  checkpoint(): Promise<string>;
  close(): Promise<void>;
}

const hourMs = 60 * 60_000;
const sweepMs = 15_000;
/** How soon the log is looked at for what receivers are told of. */
const tellMs = 1_000;
/** An entry of the log has room for so many session ids. */
const sessionsPerEntry = 1_000;

export async function startApp(options: AppOptions): Promise<App> {
  const { configuration, version, logger, configurationFile } = options;
  const clock = options.clock ?? systemClock;
  const { dataDirectory, node } = configuration;
  const limits = configuration.gateway.limits;
  await loadParser();
  const keys = openKeys(path.join(dataDirectory, 'keys'));
  const hashKey = keys.secret('masking-hash.key');
  const onError = errorHandler(logger);
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
    const fileRules = rulesOf(configuration);
    const inForce = await rulesInForce(store, fileRules);
    // What the file says, and the same with the rules that count now.
    let file = configuration;
    let live = withRules(file, inForce.rules);
    checkSecrets(file);
    const rules = new LiveRules(live, { hashKey, clock });
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

    const recordings = await openRecordings(configuration, keys, log, clock);
    closing.push(() => recordings.close());
    const wired = new Connections(rules.connections);
    closing.push(async () => {
      for (const { target } of rules.connections.values()) await target.close();
    });

    const ended = (match: SessionMatch, error: CountersignError) => carrier.endSessions(match, error);
    const dutiesOn = (principal: Principal, connection: string) => rules.dutiesOn(principal, connection);
    const isAdmin = (principal: Principal) => wired.names.some((name) => dutiesOn(principal, name).includes('admin'));
    let publicUrl = configuration.api.publicUrl?.replace(/\/+$/, '');
    const pageUrl = () => publicUrl ?? '';
    const identity = await wireIdentity({
      configuration,
      store,
      record,
      clock,
      keys,
      isAdmin,
      publicUrl: pageUrl,
      endSessions: ended,
      withdrawRequest: (id, reason) => requests.withdraw(id, { reason }),
      voidGrant: (grantId, reason) => grants.void({ grantId }, reason),
      onError,
    });
    closing.push(() => Promise.resolve(identity.close()));
    const { humans, admit, stillThere, verifyToken, freshGroups, credentials, revocations, accounts } = identity;
    await finishAbandonedSessions(store, node, new Date(clock.now()));
    const dutiesNow = async (principal: Principal, connection: string) =>
      dutiesOn(await freshGroups.knownPrincipal(principal), connection);
    const policyConnection = (name: string) => wired.get(name)?.policy;
    const services = {
      store,
      record,
      clock,
      policySet: () => rules.policies,
      workflows: () => rules.workflows,
      connections: policyConnection,
      humans,
    };
    const requests = new RequestService({
      ...services,
      pool,
      rules: { apply: (...change) => ruleService.apply(...change), applied: () => ruleService.applied() },
      maxHoldsPerHuman: limits.maxHoldsPerPrincipal,
    });
    closing.push(() => requests.close());
    const takeRules = (next: Configuration) => {
      rules.replace(next);
      live = next;
      carrier.reload(next);
    };
    const ruleService = new RuleService({
      ...services,
      pool,
      requests,
      configured: () => file.connections,
      dutiesOn,
      inForce,
      fileRules,
      activate: (next) => {
        takeRules(withRules(file, next.rules));
        note({ type: 'policy.changed', ...event(), policies: rules.policies.digest, version: next.number });
      },
      onError,
    });
    closing.push(() => ruleService.close());
    warnOfFile(logger, ruleService);
    await requests.withdrawOrphans();
    const grants = new GrantService({ ...services, node });
    const reconcile = async () =>
      grants.reconcile(async (mark) => {
        const size = Number((await log.checkpoint()).split('\n')[1]);
        return hasEntry({
          read: readerFor(logDirectory),
          size,
          since: mark.begunAt,
          texts: ['grant.consumed', mark.id],
        });
      });
    await reconcile();
    const repository = await JobRepository.open({
      directory: path.join(dataDirectory, 'jobs.git'),
      clock,
      humansOf: ({ email }) => humans.humansByEmail(email),
      authorsSince: (authors, at) => humans.authorsSince(authors, at),
    });
    const jobConnection = (name: string) => wired.get(name)?.job;
    const submission = new JobSubmission({
      store,
      repository,
      requests,
      policies: () => rules.policies,
      connection: jobConnection,
      policyConnection,
      record,
      clock,
      grantDurationMs: 24 * hourMs,
      executorGroups: (name) => rules.groupsWith('executor', name),
    });
    const ledger = new Ledger({
      store,
      clock,
      record: ({ type, detail, runId, grantId, job, connection, chunkNo, attempt }) =>
        record({ type, run: runId, grant: grantId, job, connection, chunk: chunkNo, attempt, detail }),
      leaseMs: configuration.runs.leaseMs,
      attempts: configuration.runs.attempts,
      retries: configuration.runs.retries,
    });
    const runs = new RunService({
      store,
      requests,
      grants,
      submission,
      ledger,
      connection: jobConnection,
      holdSnapshot: (name) => wired.need(name).target.holdSnapshot(),
      issueCredential: (principal, connection, runId) =>
        credentials.issue({ principal, connection, runId, ttlMs: configuration.credentials.ttlMs }),
      revokeCredentials: async (runId) => {
        await credentials.revokeAllOfRun(runId, 'countersign');
      },
      boundsKey: keys.secret('bounds.key'),
      snapshotMaxAgeMs: configuration.runs.snapshotMaxAgeMs,
      dutiesNow,
      onError,
    });
    closing.push(() => runs.close());

    const templates = new TemplateService({
      ...services,
      requests,
      grants,
      stepOf: (input, name) => stepOfInput(wired.need(name).listener.gate, input, limits.maxStatementBytes),
      limits: configuration.templates,
    });
    const changes = new ChangeFeed(pool.options);
    closing.push(() => changes.close());
    // A hint that is lost makes a page look a little later.
    const changedSession = (sessionId: string) =>
      void notifyChange(store, 'sessions', sessionId).catch(() => undefined);

    const holds = new HoldService({
      requests,
      grants,
      templates,
      connection: (name) => {
        const one = wired.need(name);
        return { gate: one.listener.gate, searchPath: one.listener.searchPath, target: one.job.target };
      },
      policies: () => rules.policies.digest,
      addressOf: (requestId) => `${publicUrl}/requests/${requestId}`,
      holdTimeoutMs: limits.holdTimeoutMs,
      maxStatementBytes: limits.maxStatementBytes,
      principals: freshGroups,
      dutiesOn,
    });
    const reserve = async (asked: Omit<Parameters<typeof reserveSample>[1], 'windowMs' | 'now'>) => ({
      ...(await reserveSample(store, { ...asked, windowMs: hourMs, now: undefined })),
      limit: asked.limit,
    });

    const controlPlane: ControlPlane = {
      sessionOpened: async ({ identity, connection, clientAddress, application }) => {
        await stillThere(identity.principal);
        await insertSession(store, {
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
        });
        changedSession(identity.sessionId);
      },
      sessionClosed: async (sessionId, totals) => {
        await finishSession(store, sessionId, totals, new Date(clock.now()));
        changedSession(sessionId);
      },
      openHold: (question) => holds.open(question),
      awaitHold: (hold, question, signal) => holds.wait(hold, question, signal),
      useTemplate: (question) => holds.useTemplate(question),
      settleTemplate: (use, rows, reached) => templates.settle(use, rows, reached),
      reserveSample: (human, connection, rows) =>
        reserve({ human: humans.keyOf(human), connection, rows, limit: configuration.sampling.rowsPerHour }),
      reserveEqualities: (human, connection, { rule, values, limit }) =>
        reserve({ human: humans.keyOf(human), connection, rule, rows: values, limit }),
      beginChunk: (identity, job, chunkNo, columns) => runs.beginChunk(identity, job, chunkNo, columns),
      probeRun: (identity, job) => runs.probeRun(identity, job),
      chunkDelivered: (ticket, counts, rowDigest) => runs.delivered(ticket, counts, rowDigest),
      chunkFailed: (ticket, reason) => runs.failed(ticket, reason),
    };

    const { postgres } = configuration.gateway;
    const hosts = typeof postgres.host === 'string' ? [postgres.host] : postgres.host;
    const host = hosts[0] ?? 'localhost';
    const carrier = await startCarrier({
      configuration: live,
      keys,
      clock,
      rules,
      authenticator: {
        credential: async (user) => {
          const found = await credentials.lookup(user);
          if (found !== undefined) revocations.watchCredential(user, found.expiresAt);
          if (found?.principal.kind === 'service') revocations.watchAccount(found.principal.id);
          return (
            found && {
              verifier: found.verifier,
              // Whoever may not come in learns it after the password was proved, when the session opens.
              principal: await admit(found.principal).catch(() => found.principal),
              connection: found.connection,
              runId: found.runId,
            }
          );
        },
        token: async (token) => {
          const principal = await verifyToken(token);
          if (isKey(token)) revocations.watchKey(token);
          else revocations.watchToken(token);
          if (principal.kind === 'service') revocations.watchAccount(principal.id);
          return principal;
        },
      },
      controlPlane,
      log,
      onLost: ({ pid, status, sessions }) => {
        logger.error({ pid, status, sessions: sessions.length }, 'a worker process died');
        for (let at = 0; at === 0 || at < sessions.length; at += sessionsPerEntry) {
          note({ type: 'worker.lost', ...event(), pid, status, sessions: sessions.slice(at, at + sessionsPerEntry) });
        }
        finishLostSessions(store, sessions, new Date(clock.now()))
          .then(() => requests.withdrawOrphans())
          .catch(onError);
      },
      onError,
    });
    closing.push(() => carrier.close());
    revocations.start(onError);
    closing.push(() => Promise.resolve(revocations.close()));
    const servers = await listen(
      { hosts, port: postgres.port, socketDirectory: postgres.socket },
      (socket, isLocal) => carrier.accept(socket, isLocal),
      onError,
      configuration.gateway.workers > 1,
    ).catch((cause: unknown) => {
      throw cannotListen('gateway.postgres', { host: hosts.join(', '), port: postgres.port }, cause);
    });
    // Nobody is accepted any more, then the sessions end, and with them the last connections.
    closing.push(async () => void servers.close().catch(onError));

    const { executions, view, notifier, reviews, examined } = wireReview({
      store,
      log,
      node,
      clock,
      humans,
      record,
      rules,
      breakGlass: requests.breakGlass,
      fileRules,
      configurationFile,
      publicUrl: pageUrl,
      note: (entry) => note({ ...entry, ...event() }),
      onError,
    });
    closing.push(() => notifier.close());

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
      cliLogins: identity.providers.cliLogins,
      pageLogin: identity.pageLogin,
      samlLogin: identity.samlLogin,
      leavers: identity.leavers,
      scim: identity.scim,
      webSessions: identity.webSessions,
      admit,
      enter: identity.enter,
      publicUrl: pageUrl,
      gateway: { host, port: servers.port, ...postgres.advertise, tls: postgres.tls !== undefined },
      verifyToken,
      freshPrincipal: (principal, proof) => freshGroups.freshPrincipal(principal, proof),
      dutiesOn,
      connectionNames: () => wired.names,
      describeConnection: async (name) => ({
        ...(await describeConnection(wired.need(name))),
        origin: file.connections.some((one) => one.name === name) ? 'file' : 'rules',
      }),
      connectionLabels: (name) => wired.get(name)?.configuration.labels,
      inheritedBy: (labels) => inheritedBy(labels, rules.configuration),
      testConnection: async (name) => {
        const startedMs = clock.now();
        return { ...(await wired.need(name).target.identity()), tookMs: clock.now() - startedMs };
      },
      maskingTemplates: () => rules.configuration.masking,
      // The deployment's key would let anybody hash every possible number and look for it in what they are given.
      tryMask: (labels, trial) => tryMask(rules.configuration.masking, labels, trial, randomBytes(32)),
      issueCredential: (principal, connection, ttlMs) =>
        credentials.issue({
          principal,
          connection,
          ttlMs: Math.min(ttlMs ?? configuration.credentials.ttlMs, configuration.credentials.ttlMs),
        }),
      revokeCredential: async (principal, user) => {
        const stored = await credentials.find(user);
        const isOwn = stored !== undefined && humanKey(stored.human) === humanKey(principal.human);
        if (!isOwn && !isAdmin(principal)) {
          throw new CountersignError('not_found', `you have no credential ${JSON.stringify(user)}`);
        }
        await credentials.revoke(user, principal.id);
        await revocations.check();
      },
      listCredentials: (principal, all) => credentials.list(all && isAdmin(principal) ? undefined : principal.id),
      humans,
      accounts,
      requests,
      templates,
      rules: ruleService,
      submission,
      draftFromSession: (session) => {
        const published = { read: readerFor(logDirectory), checkpoint: () => log.checkpoint() };
        return draftFromSession({ node, log: published, connection: jobConnection }, session);
      },
      changes,
      maxEventStreams: configuration.api.maxEventStreams,
      runs,
      ledger,
      executions,
      reviews,
      notifier,
      doctor: () => runDoctor(examined()),
      replay: (sessionId) => replaySession({ recordings, sessionId, log }),
      onError,
    };
    const { api } = configuration;
    const server = await buildApi({
      ...api,
      services: apiServices,
      tls: api.tls && readTls(api.tls),
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
      requests.escalateDue().catch(onError);
      requests.breakGlass.tellLate().catch(onError);
      requests.withdrawOrphans().catch(onError);
      grants.expireDue().catch(onError);
      reconcile().catch(onError);
      ledger.sweep().catch(onError);
      credentials.sweep().catch(onError);
      executions.catchUp().catch(onError);
      identity.webSessions.sweep().catch(onError);
      identity.samlLogin.sweep().catch(onError);
    }, sweepMs);
    const tell = setInterval(() => void notifier.work().catch(onError), tellMs);
    closing.push(() => Promise.resolve(clearInterval(tell)));
    const observe = setInterval(() => void view.observe().catch(onError), hourMs / 4);
    closing.push(() => Promise.resolve(clearInterval(observe)));
    closing.push(() => Promise.resolve(clearInterval(sweep)));
    const leaversSweep = setInterval(() => {
      identity.leavers.sweep().catch(onError);
      identity.scim?.directory.sweep().catch(onError);
    }, configuration.identity.leaversPollMs);
    closing.push(() => Promise.resolve(clearInterval(leaversSweep)));

    await view.observe();
    ruleService.watch();

    return {
      postgresPort: servers.port,
      apiUrl,
      verifierKey: logKey.verifierKey,
      logDirectory,
      workers: () => carrier.workers,
      checkpoint: () => log.checkpoint(),
      reload: (next) => {
        const { number, rules: applied } = ruleService.inForce;
        const nextFile = rulesOf(next);
        checkSecrets(next);
        takeRules(withRules(next, number === 0 ? nextFile : applied));
        file = next;
        ruleService.fileChanged(nextFile);
        warnOfFile(logger, ruleService);
        note({ type: 'policy.changed', ...event(), policies: rules.policies.digest, version: number });
      },
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** The store's rules count; a file that says something else must not go unseen. */
function warnOfFile(logger: Logger, rules: RuleService): void {
  const { number } = rules.inForce;
  const changes = rules.fileDifference;
  if (changes.length === 0) return;
  logger.warn(
    { version: number, changes: changes.map(({ effect, what }) => `${effect}: ${what}`) },
    `the rules of the configuration file are not in force: version ${number} of the store is, and the file differs`,
  );
}

function logKeys(keys: KeyFolder, node: string): { origin: string; privateKeyPem: string; verifierKey: string } {
  const text = keys.text('log.json', () => {
    const origin = `countersign/${node}`;
    return `${JSON.stringify({ origin, ...generateLogKey(origin) })}\n`;
  });
  return JSON.parse(text) as { origin: string; privateKeyPem: string; verifierKey: string };
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

/** `countersign serve`: runs until SIGINT or SIGTERM; SIGHUP takes connections, masking, policies and bindings from the file anew. */
export async function serve(configFile: string, version: string): Promise<void> {
  const logger = pino({ base: null });
  const app = await startApp({
    configuration: loadConfiguration(configFile),
    version,
    logger,
    configurationFile: configFile,
  });
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
