/**
 * The composition root: everything is made and wired here, and only here. `startApp` gives a running gateway; `serve` is
 * that with a configuration file, signals and a server log.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type net from 'node:net';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { pino, type Logger } from 'pino';
import type { ScimService } from './api/scim.ts';
import { buildApi } from './api/server.ts';
import type { ApiConnection, ApiServices } from './api/services.ts';
import { GrantService } from './approvals/grants.ts';
import { inheritedBy } from './approvals/inheritance.ts';
import { RequestService } from './approvals/requests.ts';
import { TemplateService } from './approvals/templates.ts';
import { RuleService, rulesInForce } from './approvals/rule-service.ts';
import { generateLogKey } from './audit/checkpoint.ts';
import { encodeEntry, type LogEvent } from './audit/events.ts';
import type { FollowedLog } from './audit/follower.ts';
import { hasEntry } from './audit/find-entry.ts';
import { TransparencyLog } from './audit/log.ts';
import { replaySession } from './audit/replay.ts';
import { readerFor } from './audit/verify.ts';
import { openKeys, type KeyFolder } from './config/keys.ts';
import { loadConfiguration, readSecret } from './config/load.ts';
import { rulesOf, withRules } from './config/rules.ts';
import type { Configuration } from './config/schema.ts';
import { asCountersignError, CountersignError } from './errors.ts';
import type { ControlPlane } from './gate/control-plane.ts';
import { HoldService } from './gate/holds.ts';
import { GateReader } from './gate/reader.ts';
import { stepOfInput } from './gate/template-steps.ts';
import { listen } from './gateway/addresses.ts';
import {
  DataPlane,
  LiveRules,
  openRecordings,
  readTls,
  type DataPlaneOptions,
  type WiredConnection,
} from './gateway/data-plane.ts';
import { accessWorld, examination, unapprovedOf } from './gateway/examination.ts';
import type { SessionMatch } from './gateway/postgres.ts';
import { Seats, seatKeeper } from './gateway/seats.ts';
import type { TargetIdentity } from './gateway/target.ts';
import { AccountAccess, isKey } from './identity/account-access.ts';
import { CodeFlow } from './identity/code-flow.ts';
import { CredentialService } from './identity/credentials.ts';
import { PrincipalDirectory } from './identity/directory.ts';
import { FreshGroups } from './identity/fresh-groups.ts';
import { Humans } from './identity/humans.ts';
import { Leavers } from './identity/leavers.ts';
import { PageLogin } from './identity/page-login.ts';
import type { Principal } from './identity/principal.ts';
import { Revocations } from './identity/revocations.ts';
import { IdentityProviders } from './identity/providers.ts';
import { SamlLogin } from './identity/saml.ts';
import { groupsChanged, ScimDirectory, type ScimDirectoryOptions } from './identity/scim.ts';
import { ServiceAccounts } from './identity/service-accounts.ts';
import { SessionRefresh } from './identity/session-refresh.ts';
import { WebSessions } from './identity/web-sessions.ts';
import { Ledger } from './jobs/ledger.ts';
import { JobRepository } from './jobs/repository.ts';
import { RunService } from './jobs/runs.ts';
import { draftFromSession } from './jobs/session-draft.ts';
import { JobSubmission, type JobConnection } from './jobs/submission.ts';
import { sha256Hex, type Json } from './lib/canonical-json.ts';
import { systemClock, type Clock } from './lib/clock.ts';
import { tryMask } from './masking/trial.ts';
import { notifierFor } from './notify/setup.ts';
import { humanKey, type PolicyConnection } from './policy/entities.ts';
import { examineAccounts, runDoctor, type DoctorReport } from './review/doctor.ts';
import { Executions } from './review/executions.ts';
import { AccessView } from './review/facts.ts';
import { AccessReviews } from './review/reviews.ts';
import { loadParser } from './sql/parse.ts';
import { ChangeFeed, notifyChange } from './store/changes.ts';
import { unreviewedBreakGlass } from './store/access.ts';
import { openStore } from './store/database.ts';
import { migrate } from './store/migrate.ts';
import type { SeenPrincipal } from './store/principals.ts';
import { reserveSample } from './store/samples.ts';
import { finishAbandonedSessions, finishLostSessions, finishSession, insertSession } from './store/sessions.ts';
import { WorkerPool, type WorkerPoolOptions } from './workers/pool.ts';

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
   * Takes masking rules, policies, bindings and workflows from a new configuration, as long as nothing was applied by
   * `countersign apply`; addresses and stores stay as they are.
   */
  reload(configuration: Configuration): void;
  /** Publishes the log up to now. */
  checkpoint(): Promise<string>;
  close(): Promise<void>;
}

/** One connection with everything that works on it. */
interface Wired extends WiredConnection {
  readonly job: JobConnection;
  readonly policy: PolicyConnection;
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
    // The configuration with the rules that count now.
    let live = withRules(configuration, inForce.rules);
    const rules = new LiveRules(live, hashKey);
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
    const connections = rules.wire(clock);
    const wired = new Map([...connections].map(([name, one]) => [name, withPlanning(one)]));
    closing.push(async () => {
      for (const { target } of wired.values()) await target.close();
    });

    const humans = new Humans({ store, clock, record });
    await humans.adopt(configuration.identity.links);
    humans.start(onError);
    closing.push(() => Promise.resolve(humans.close()));
    const directory = new PrincipalDirectory({ store, clock, humans, onChanged: (id) => credentials.forget(id) });
    await finishAbandonedSessions(store, node, new Date(clock.now()));
    const { identity } = configuration;
    /** Groups that are kept here count instead of those that a provider tells. */
    const managedGroups = async (principalId: string) =>
      (await scim?.directory.groupsOf(principalId)) ?? (await access.groupsOf(principalId));
    const providers = new IdentityProviders({ identity, clock, managedGroups });
    const { keyMaxTtlMs, ownerUnseenMs } = identity.accounts;
    const access = new AccountAccess({ store, clock, ownerUnseenMs });
    const current = (principal: Principal) => access.current(principal);
    const leavers: Leavers = new Leavers({
      store,
      record,
      humanKey: (human) => humans.keyOf(human),
      steps: {
        endWebSessions: (id, reason) => webSessions.endAllOf(id, reason),
        revokeCredentials: (id) => credentials.revokeAllOf(id, 'countersign'),
        endSessions: (principalId, error) => carrier.endSessions({ principalId }, error),
        withdrawRequest: (id, reason) => requests.withdraw(id, { reason }),
        voidGrant: (grantId, reason) => grants.void({ grantId }, reason),
        disableServiceAccounts: async (human, reason) => (await accounts.disableOwnedBy(human, reason)).length,
      },
      onError,
    });
    const scim = scimService(configuration, {
      store,
      record,
      clock,
      leavers,
      endSessions: (principalId, error) => carrier.endSessions({ principalId }, error),
      onError,
    });
    const admit = async (principal: Principal): Promise<Principal> => {
      await leavers.check(principal);
      const now = await current(principal);
      if (now === undefined) {
        throw new CountersignError('principal_disabled', `countersign: ${principal.id} may not come in any more`);
      }
      return scim === undefined ? now : scim.directory.admit(now);
    };
    const enter = async (principal: SeenPrincipal): Promise<Principal> => {
      const admitted = await admit(principal);
      // Groups that are kept here (SCIM, accounts) are those of now, whatever the age of the proof.
      const groupsAt = admitted === principal ? principal.groupsAt : new Date(clock.now());
      return directory.seen({ ...principal, groups: admitted.groups, groupsAt });
    };
    /** At the opening of a session, which was decided a moment ago. */
    const stillThere = async (principal: Principal): Promise<void> => {
      const { groups } = await admit(principal);
      if (!isDeepStrictEqual(new Set(groups), new Set(principal.groups))) throw groupsChanged(principal.id);
    };
    await leavers.refresh();
    const enterAsProved = async (principal: SeenPrincipal): Promise<Principal> => {
      await access.admit(principal);
      return enter(principal);
    };
    const verifyToken = async (token: string): Promise<Principal> =>
      isKey(token) ? enter(await access.verify(token)) : enterAsProved(await providers.verify(token));
    const webSessions = new WebSessions({
      store,
      record,
      clock,
      random: randomBytes,
      key: keys.secret('web-sessions.key'),
      ttlMs: configuration.api.webSessionTtlMs,
      idleMs: configuration.api.webSessionIdleMs,
    });
    const flows = new Map(
      providers.oidc.map((one) => {
        const { issuer, audience, web, title } = one;
        return [one.name, { flow: new CodeFlow({ issuer, audience, ...web, clock }), title }] as const;
      }),
    );
    const sessionRefresh = new SessionRefresh({ webSessions, providers, flowOf: (name) => flows.get(name)?.flow });
    const freshGroups = new FreshGroups({
      providers,
      directory,
      managedGroups,
      refresh: (cookie) => sessionRefresh.refresh(cookie),
      admit,
      groupsMaxAgeMs: identity.groupsMaxAgeMs,
      clock,
    });
    const credentials = new CredentialService({ store, record, clock, random: randomBytes, current });
    const revocations = new Revocations({
      store,
      clock,
      end: (credentialUser, error) => carrier.endSessions({ credentialUser }, error),
    });
    const dutiesOn = (principal: Principal, connection: string) => rules.dutiesOn(principal, connection);
    const dutiesNow = async (principal: Principal, connection: string) =>
      dutiesOn(await freshGroups.knownPrincipal(principal), connection);
    const isAdmin = (principal: Principal) =>
      [...wired.keys()].some((name) => dutiesOn(principal, name).includes('admin'));
    const accounts = new ServiceAccounts({
      store,
      clock,
      random: randomBytes,
      humans,
      record,
      isAdmin,
      keyMaxTtlMs,
      endAccess: async (account, by) => {
        await credentials.revokeAllOf(account, by);
        await revocations.check();
      },
      endRevoked: () => revocations.check(),
    });
    await accounts.adopt(identity.serviceAccounts);
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
      connections: () => [...wired.values()].map(({ policy }) => policy),
      dutiesOn,
      inForce,
      fileRules,
      activate: (next) => {
        takeRules(withRules(live, next.rules));
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
      holdSnapshot: (name) => need(wired, name).target.holdSnapshot(),
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
      stepOf: (input, name) => stepOfInput(need(wired, name).listener.gate, input, limits.maxStatementBytes),
      limits: configuration.templates,
    });
    const changes = new ChangeFeed(pool.options);
    closing.push(() => changes.close());
    // A hint that is lost makes a page look a little later.
    const changedSession = (sessionId: string) =>
      void notifyChange(store, 'sessions', sessionId).catch(() => undefined);

    let publicUrl = configuration.api.publicUrl?.replace(/\/+$/, '');
    const holds = new HoldService({
      requests,
      grants,
      templates,
      connection: (name) => {
        const one = need(wired, name);
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
      connections,
      authenticator: {
        credential: async (user) => {
          const found = await credentials.lookup(user);
          if (found !== undefined) revocations.watchCredential(user, found.expiresAt);
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
          else if (principal.kind === 'service') revocations.watchAccount(principal.id);
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

    const keyOf = (human: string) => humans.keyOf(human);
    const executions = new Executions({
      store,
      log: followedLog(log),
      node,
      keyOf,
    });
    const examined = () =>
      examination({
        configuration: rules.configuration,
        configurationFile,
        connections,
        store,
        now: () => clock.now(),
        keyOf,
        fileRules,
      });
    const view = new AccessView({
      store,
      clock,
      keyOf,
      world: () => accessWorld(rules.configuration, store, keyOf),
      executions: (ask) => executions.report(ask),
      unapproved: unapprovedOf(
        () => rules.policies,
        () => rules.configuration,
      ),
      accounts: (names) => examineAccounts(examined(), names),
      breakGlass: async (names) => (await unreviewedBreakGlass(store)).filter((one) => names.includes(one.connection)),
      unusedAfterMs: configuration.review.unusedAfterMs,
    });
    const notifier = notifierFor({
      store,
      log: followedLog(log),
      node,
      clock,
      configuration: () => rules.configuration,
      keyOf,
      publicUrl: () => publicUrl ?? '',
      note: (entry) => note({ ...entry, ...event() }),
      onError,
    });
    closing.push(() => notifier.close());
    const reviews = new AccessReviews({ store, record, clock, humans, view });
    const pageUrl = () => publicUrl ?? '';
    const pageLogin = new PageLogin({
      store,
      clock,
      webSessions,
      flows,
      verifyLogin: async (provider, tokens, nonce) =>
        enterAsProved(await providers.verifyLogin(provider, { ...tokens, nonce })),
      publicUrl: pageUrl,
    });

    const samlLogin = new SamlLogin({
      providers: configuration.identity.providers.filter((one) => one.kind === 'saml'),
      readFile: (file) => readFileSync(file, 'utf8'),
      store,
      record,
      clock,
      random: randomBytes,
      publicUrl: pageUrl,
    });

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
      cliLogins: providers.cliLogins,
      pageLogin,
      samlLogin,
      leavers,
      scim,
      webSessions,
      admit,
      enter,
      publicUrl: pageUrl,
      gateway: { host, port: servers.port, ...postgres.advertise, tls: postgres.tls !== undefined },
      verifyToken,
      freshPrincipal: (principal, proof) => freshGroups.freshPrincipal(principal, proof),
      dutiesOn,
      connectionNames: () => [...wired.keys()],
      describeConnection: (name) => describe(need(wired, name)),
      connectionLabels: (name) => wired.get(name)?.configuration.labels,
      inheritedBy: (labels) => inheritedBy(labels, rules.configuration),
      testConnection: async (name) => {
        const startedMs = clock.now();
        return { ...(await need(wired, name).target.identity()), tookMs: clock.now() - startedMs };
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
        const isOwn = stored !== undefined && humans.keyOf(stored.human) === humans.keyOf(principal.human);
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
      requests.escalateDue().catch(onError);
      requests.withdrawOrphans().catch(onError);
      grants.expireDue().catch(onError);
      reconcile().catch(onError);
      ledger.sweep().catch(onError);
      credentials.sweep().catch(onError);
      executions.catchUp().catch(onError);
      webSessions.sweep().catch(onError);
      samlLogin.sweep().catch(onError);
    }, sweepMs);
    const tell = setInterval(() => void notifier.work().catch(onError), tellMs);
    closing.push(() => Promise.resolve(clearInterval(tell)));
    const observe = setInterval(() => void view.observe().catch(onError), hourMs / 4);
    closing.push(() => Promise.resolve(clearInterval(observe)));
    await view.observe();
    closing.push(() => Promise.resolve(clearInterval(sweep)));
    const leaversSweep = setInterval(() => {
      leavers.sweep().catch(onError);
      scim?.directory.sweep().catch(onError);
    }, configuration.identity.leaversPollMs);
    closing.push(() => Promise.resolve(clearInterval(leaversSweep)));

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
        takeRules(withRules(next, number === 0 ? nextFile : applied));
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

/** What its own planning needs of a connection. */
function withPlanning({ configuration, target, listener }: WiredConnection): Wired {
  const { name, labels, engine, searchPath } = configuration;
  const { gate } = listener;
  return {
    configuration,
    target,
    listener,
    job: {
      gate,
      reader: new GateReader({ connection: gate, query: (sql) => target.query(sql) }),
      searchPath,
      target: async () => {
        const { serverVersion: _version, ...identity }: TargetIdentity = await target.identity();
        return { ...identity, engine };
      },
    },
    policy: { name, labels, engine },
  };
}

/** Whoever carries the sessions: this process itself, or its workers. */
interface Carrier {
  accept(socket: net.Socket, isLocal: boolean): void;
  /** Resolves when they are over. */
  endSessions(match: SessionMatch, error: CountersignError): Promise<void>;
  reload(configuration: Configuration): void;
  readonly workers: readonly number[];
  close(): Promise<void>;
}

type CarrierParts = Omit<DataPlaneOptions, 'seats' | 'cancelElsewhere' | 'log'> & {
  readonly log: TransparencyLog;
  readonly onLost: WorkerPoolOptions['onLost'];
};

async function startCarrier(parts: CarrierParts): Promise<Carrier> {
  const { workers, limits } = parts.configuration.gateway;
  const seats = new Seats(limits);
  if (workers === 1) {
    const plane = await DataPlane.start({ ...parts, seats: seatKeeper(seats), cancelElsewhere: () => undefined });
    return {
      accept: (socket, isLocal) => plane.listener.accept(socket, isLocal),
      endSessions: async (match, error) => void plane.listener.endSessions(match, error),
      reload: () => plane.listener.endWithoutDuty(),
      workers: [],
      close: () => plane.close(),
    };
  }
  const pool = await WorkerPool.start({ ...parts, workers, seats });
  return {
    accept: (socket, isLocal) => pool.accept({ socket, isLocal }),
    endSessions: (match, error) => pool.endSessions(match, error),
    reload: (configuration) => pool.reload(configuration),
    get workers() {
      return pool.pids;
    },
    close: () => pool.close(),
  };
}

/** A target that cannot be asked hides its columns, not its connection. */
async function describe({ listener, configuration }: Wired): Promise<ApiConnection> {
  const { gate } = listener;
  const { name, engine, labels, host, port, database, tls } = configuration;
  const facts = { name, engine, labels, target: { host, port, database, tls: tls.mode } };
  const snapshot = await gate.refresh().catch(asCountersignError);
  if (snapshot instanceof CountersignError) {
    return { ...facts, masks: [], problem: { code: snapshot.code, message: snapshot.message } };
  }
  const masks = snapshot.catalogue.relations.flatMap((relation) =>
    relation.columns.flatMap((column) => {
      const rule = gate.masking.columnRule(relation.schema, relation.name, column.name);
      if (rule === undefined) return [];
      const mask = typeof rule.mask === 'string' ? rule.mask : rule.mask.kind;
      return [{ column: `${relation.schema}.${relation.name}.${column.name}`, mask, rule: rule.id }];
    }),
  );
  return { ...facts, masks, problem: null };
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

/** The log as those see it who follow it. */
function followedLog(log: TransparencyLog): FollowedLog {
  return {
    checkpoint: () => log.checkpoint(),
    get publishedSize() {
      return log.publishedSize;
    },
    read: readerFor(log.directory),
  };
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

/** The SCIM server, where there is one. */
function scimService(
  { identity }: Configuration,
  parts: Omit<ScimDirectoryOptions, 'configuration' | 'providerNames' | 'fold'>,
): ScimService | undefined {
  const { scim: configuration, providers } = identity;
  if (configuration === undefined) return undefined;
  const providerNames = providers.map(({ name }) => name);
  return {
    directory: new ScimDirectory({ ...parts, configuration, providerNames, fold: humanKey }),
    tokenHash: configuration.tokenHash ?? scimTokenHash(configuration.token && readSecret(configuration.token)),
    requestsPerMinute: configuration.requestsPerMinute,
  };
}

function scimTokenHash(token: string | undefined): string {
  if (token !== undefined && token.length >= 32) return sha256Hex(token);
  throw new CountersignError('configuration_invalid', 'identity.scim.token must have at least 32 characters');
}

/** `countersign doctor --config FILE`: looks at the file, its targets and its control store, and starts nothing. */
export async function doctor(configFile: string): Promise<DoctorReport> {
  const configuration = loadConfiguration(configFile);
  await loadParser();
  // Masks are worked out and none is made: any key will do.
  const rules = new LiveRules(configuration, randomBytes(32));
  const connections = rules.wire(systemClock);
  const { store } = openStore(readSecret(configuration.store.url), { maxConnections: 2 });
  try {
    const reached = await store
      .selectFrom('principals')
      .select('id')
      .limit(1)
      .execute()
      .then(
        () => store,
        (cause: unknown) => ({ unreachable: `the control store cannot be used: ${messageOf(cause)}` }),
      );
    return await runDoctor(
      examination({
        configuration,
        configurationFile: configFile,
        connections,
        store: reached,
        now: Date.now,
        keyOf: humanKey,
        fileRules: rulesOf(configuration),
      }),
    );
  } finally {
    for (const { target } of connections.values()) await target.close();
    await store.destroy();
  }
}

/** `countersign serve`: runs until SIGINT or SIGTERM; SIGHUP takes masking, policies and bindings from the file anew. */
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
