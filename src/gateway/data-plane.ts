/**
 * The data plane: connections with their targets, the recordings and a listener without its ports. The gateway's own
 * process has one, or each of its worker processes does; what it asks of the control plane and of the log it asks
 * through interfaces.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { EntryLog } from '../audit/log.ts';
import { RecordingStore } from '../audit/recording.ts';
import type { KeyFolder } from '../config/keys.ts';
import { readSecret } from '../config/load.ts';
import { rulesOf } from '../config/rules.ts';
import type { Configuration, ConnectionConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { GateConnection } from '../gate/connection.ts';
import type { ControlPlane } from '../gate/control-plane.ts';
import { dutiesOf, groupsWith, sessionDuty } from '../identity/bindings.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { Clock } from '../lib/clock.ts';
import { compileMasking } from '../masking/policy.ts';
import { compilePolicies, type PolicySet } from '../policy/engine.ts';
import type { Authenticator } from './login.ts';
import { PostgresListener, type ListenerConnection } from './postgres.ts';
import type { SeatKeeper } from './seats.ts';
import { Target } from './target.ts';
import type { UpstreamAddress } from './upstream.ts';

/** One connection with its target. */
export interface WiredConnection {
  readonly configuration: ConnectionConfiguration;
  readonly target: Target;
  readonly listener: ListenerConnection;
}

/** What changes while the gateway runs: bindings, policies, workflows, masking rules, and which connections there are. */
export class LiveRules {
  readonly #hashKey: Buffer;
  readonly #clock: Clock;
  readonly #onChanged: (connection: string) => void;
  readonly #connections = new Map<string, WiredConnection>();
  #configuration: Configuration;
  #policies: PolicySet;

  /** @param options.hashKey of the mask `hash`, 32 bytes */
  constructor(
    configuration: Configuration,
    options: {
      readonly hashKey: Buffer;
      readonly clock: Clock;
      /** A session has changed the catalogue of this connection's target. */
      readonly onChanged?: (connection: string) => void;
    },
  ) {
    this.#hashKey = options.hashKey;
    this.#clock = options.clock;
    this.#onChanged = options.onChanged ?? (() => undefined);
    this.#configuration = configuration;
    this.#policies = policiesOf(configuration);
    for (const one of configuration.connections) this.#connections.set(one.name, this.#wire(one, configuration));
  }

  /** Those that there are now; the map itself follows every change. */
  get connections(): ReadonlyMap<string, WiredConnection> {
    return this.#connections;
  }

  /** As it is in force. */
  get configuration(): Configuration {
    return this.#configuration;
  }

  get policies(): PolicySet {
    return this.#policies;
  }

  get workflows(): Configuration['workflows'] {
    return this.#configuration.workflows;
  }

  dutiesOn(principal: Principal, connection: string): readonly Duty[] {
    const one = this.#connections.get(connection);
    return one === undefined ? [] : dutiesOf(principal, one.configuration.labels, this.#configuration.bindings);
  }

  /** The groups that give this duty on one connection. */
  groupsWith(duty: Duty, connection: string): readonly string[] {
    const one = this.#connections.get(connection);
    return one === undefined ? [] : groupsWith(duty, one.configuration.labels, this.#configuration.bindings);
  }

  /** Whoever has sessions of connections that are gone, or not the same any more, has to end them afterwards. */
  replace(configuration: Configuration): void {
    // Everything is compiled before anything is replaced: new rules come into force whole, or not at all.
    const policies = policiesOf(configuration);
    const next = configuration.connections.map((one) => {
      const known = this.#connections.get(one.name);
      return known !== undefined && isDeepStrictEqual(known.configuration, one)
        ? { wired: known, masking: this.#masking(configuration, one) }
        : { wired: this.#wire(one, configuration), masking: undefined };
    });
    this.#policies = policies;
    this.#configuration = configuration;
    const kept = new Set(next.map(({ wired }) => wired));
    const gone = [...this.#connections.values()].filter((one) => !kept.has(one));
    this.#connections.clear();
    for (const { wired, masking } of next) {
      this.#connections.set(wired.configuration.name, wired);
      if (masking !== undefined) wired.listener.gate.setMasking(masking);
    }
    // Nobody asks it any more; what is under way may end.
    for (const { target } of gone) target.close().catch(() => undefined);
  }

  #masking({ masking }: Configuration, { labels }: ConnectionConfiguration) {
    return compileMasking(masking, labels, { hashKey: this.#hashKey });
  }

  #wire(one: ConnectionConfiguration, configuration: Configuration): WiredConnection {
    const { limits } = configuration.gateway;
    const login = (duty: keyof ConnectionConfiguration['credentials']) => ({
      user: one.credentials[duty].user,
      password: () => passwordOf(one, duty),
    });
    const address = addressOf(one);
    const target = new Target({
      address,
      ...login('gateway'),
      searchPath: one.searchPath,
      connectTimeoutMs: limits.connectTimeoutMs,
      statementTimeoutMs: 60_000,
    });
    const gate = new GateConnection({
      name: one.name,
      engine: one.engine,
      labels: one.labels,
      masking: this.#masking(configuration, one),
      source: target,
      clock: this.#clock,
      catalogueTtlMs: limits.catalogueTtlMs,
      onChanged: () => this.#onChanged(one.name),
    });
    return {
      configuration: one,
      target,
      listener: {
        gate,
        address,
        credentials: { designer: login('designer'), executor: login('executor') },
        searchPath: one.searchPath,
      },
    };
  }
}

export interface DataPlaneOptions {
  readonly configuration: Configuration;
  readonly keys: KeyFolder;
  readonly clock: Clock;
  readonly rules: LiveRules;
  readonly authenticator: Omit<Authenticator, 'mockSecret'>;
  readonly controlPlane: ControlPlane;
  readonly log: EntryLog;
  readonly seats: SeatKeeper;
  readonly cancelElsewhere: (processId: number, secretKey: Buffer) => void;
  readonly onError: (cause: unknown) => CountersignError;
}

export class DataPlane {
  readonly listener: PostgresListener;
  readonly #recordings: RecordingStore;

  private constructor(listener: PostgresListener, recordings: RecordingStore) {
    this.listener = listener;
    this.#recordings = recordings;
  }

  static async start(options: DataPlaneOptions): Promise<DataPlane> {
    const { configuration, keys, clock, rules, log } = options;
    const { node, gateway } = configuration;
    const recordings = await openRecordings(configuration, keys, log, clock);
    const listener = new PostgresListener({
      tls: gateway.postgres.tls && {
        ...readTls(gateway.postgres.tls),
        clientCa: gateway.postgres.tls.clientCaFile && readFileSync(gateway.postgres.tls.clientCaFile, 'utf8'),
      },
      requireTls: gateway.postgres.requireTls,
      // Each process has its share: clients are spread evenly while they log in.
      limits: { ...gateway.limits, maxHandshakes: Math.ceil(gateway.limits.maxHandshakes / gateway.workers) },
      node,
      clock,
      connection: (name) => rules.connections.get(name)?.listener,
      authenticator: { ...options.authenticator, mockSecret: keys.secret('mock-salt.key') },
      dutiesOf: (principal, connection) => rules.dutiesOn(principal, connection.gate.name),
      sessionDuty,
      policies: () => rules.policies,
      sampleRowsPerHour: configuration.sampling.rowsPerHour,
      controlPlane: options.controlPlane,
      log,
      recordings,
      seats: options.seats,
      cancelElsewhere: options.cancelElsewhere,
      onError: options.onError,
    });
    return new DataPlane(listener, recordings);
  }

  /** Ends every session and waits until what they did is written. */
  async close(): Promise<void> {
    await this.listener.close();
    await this.#recordings.close();
  }
}

export function openRecordings(
  { dataDirectory, node }: Configuration,
  keys: KeyFolder,
  log: EntryLog,
  clock: Clock,
): Promise<RecordingStore> {
  const directory = path.join(dataDirectory, 'recordings');
  return RecordingStore.open({ directory, key: keys.secret('recording.key'), log, clock, node });
}

export function readTls(files: { readonly certFile: string; readonly keyFile: string }) {
  return { cert: readFileSync(files.certFile, 'utf8'), key: readFileSync(files.keyFile, 'utf8') };
}

/** Read at each log-in, so a new password counts at once. @throws connection_secret_missing */
function passwordOf({ name, credentials }: ConnectionConfiguration, duty: keyof typeof credentials): string {
  try {
    const password = readSecret(credentials[duty].password);
    if (password === '') throw new Error('the file is empty');
    return password;
  } catch (cause) {
    throw new CountersignError(
      'connection_secret_missing',
      `connection ${name}: this gateway has no password for the log-in ${duty}`,
      {
        hint: `for a connection of the rules it is in the file ${name}/${duty} in the folder connectionSecrets`,
        cause,
      },
    );
  }
}

function policiesOf(configuration: Configuration): PolicySet {
  return compilePolicies(rulesOf(configuration).policies);
}

function addressOf(one: ConnectionConfiguration): UpstreamAddress {
  return {
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
}
