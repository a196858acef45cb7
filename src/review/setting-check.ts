/** The configuration itself, and the files that a gateway keeps. */
import { statSync, type Stats } from 'node:fs';
import path from 'node:path';
import type { Configuration, Secret } from '../config/schema.ts';
import { isLoopbackHost } from '../lib/addresses.ts';
import type { Finding } from './finding.ts';

export interface FileFacts {
  readonly path: string;
  /** undefined: there is none, or it cannot be looked at. */
  readonly mode: number | undefined;
  readonly uid: number | undefined;
}

export function fileFacts(file: string): FileFacts {
  let found: Stats | undefined;
  try {
    found = statSync(file);
  } catch {
    // What is not there yet is made by the gateway, closed to others.
  }
  return { path: file, mode: found === undefined ? undefined : found.mode & 0o777, uid: found?.uid };
}

export interface SettingFacts {
  readonly configuration: Configuration;
  /** The file that it was read from, where it is at hand. */
  readonly configurationFile: FileFacts | undefined;
  readonly dataDirectory: FileFacts;
  readonly keys: FileFacts;
  readonly log: FileFacts;
  readonly recordings: FileFacts;
  /** Of the Unix socket. */
  readonly socketDirectory: FileFacts | undefined;
  readonly processors: number;
  /** The control store's address, without password. */
  readonly store: URL | undefined;
}

export function settingFacts(
  configuration: Configuration,
  more: { configurationFile: string | undefined; processors: number; storeUrl: string },
): SettingFacts {
  const at = (name: string) => fileFacts(path.join(configuration.dataDirectory, name));
  const { socket } = configuration.gateway.postgres;
  return {
    configuration,
    configurationFile: more.configurationFile === undefined ? undefined : fileFacts(more.configurationFile),
    dataDirectory: fileFacts(configuration.dataDirectory),
    keys: at('keys'),
    log: at('log'),
    recordings: at('recordings'),
    socketDirectory: socket === undefined ? undefined : fileFacts(socket),
    processors: more.processors,
    store: URL.parse(more.storeUrl) ?? undefined,
  };
}

/** Pure. */
export function settingFindings(facts: SettingFacts): Finding[] {
  return [...network(facts), ...files(facts), ...secrets(facts), ...store(facts), ...rest(facts)];
}

function* network({ configuration }: SettingFacts): Generator<Finding> {
  const { gateway, api, identity } = configuration;
  if (!gateway.postgres.requireTls) {
    yield {
      check: 'setting-require-tls',
      severity: 'high',
      where: 'gateway.postgres.requireTls',
      what: 'sessions without TLS are let in',
      why: 'log-ins and (masked) rows travel in clear text, and somebody in the middle can speak for the client',
      remedy: 'remove the setting, and give the listener a certificate',
    };
  }
  if (api.tls === undefined && !isLoopbackHost(api.host)) {
    yield {
      check: 'setting-api-tls',
      severity: 'high',
      where: 'api.tls',
      what: `the API listens at ${api.host} without TLS`,
      why: 'access tokens, and with them the right to approve, travel in clear text',
      remedy: 'api: { tls: … }, or listen at 127.0.0.1 behind a proxy that speaks TLS',
    };
  }
  const { publicUrl } = api;
  if (publicUrl === undefined && !isLoopbackHost(api.host)) {
    yield {
      check: 'setting-public-url',
      severity: 'low',
      where: 'api.publicUrl',
      what: 'it is not set',
      why: 'links in notices and messages lead to the address that the API listens at',
      remedy: 'set it to the address that people use',
    };
  }
  if (publicUrl !== undefined && plainAndAway(publicUrl)) {
    yield {
      check: 'setting-public-url-plain',
      severity: 'high',
      where: 'api.publicUrl',
      what: `${publicUrl} is not https`,
      why: 'people who follow a link show their log-in to the network',
      remedy: 'use an https address',
    };
  }
  for (const { where, issuer } of issuersOf(identity)) {
    if (!plainAndAway(issuer)) continue;
    yield {
      check: 'setting-issuer-plain',
      severity: 'critical',
      where,
      what: `${issuer} is not https`,
      why: 'whoever stands in between hands out keys, and signs tokens for anybody',
      remedy: 'use the provider’s https address',
    };
  }
}

/** Of every OpenID provider. */
export function issuersOf({
  issuer,
  providers,
  workloads,
}: Configuration['identity']): { where: string; issuer: string }[] {
  return [
    ...(issuer === undefined ? [] : [{ where: 'identity.issuer', issuer }]),
    ...providers.flatMap((one) =>
      one.kind === 'oidc' ? [{ where: `identity.providers ${one.name}`, issuer: one.issuer }] : [],
    ),
    ...workloads.map((one) => ({ where: `identity.workloads ${one.name}`, issuer: one.issuer })),
  ];
}

function plainAndAway(address: string): boolean {
  const url = URL.parse(address);
  return url === null || (url.protocol !== 'https:' && !isLoopbackHost(url.hostname));
}

function* files(facts: SettingFacts): Generator<Finding> {
  const { configurationFile, dataDirectory, keys, log, recordings, socketDirectory } = facts;
  const writable = [
    { file: configurationFile, what: 'the configuration', severity: 'critical' },
    { file: dataDirectory, what: 'the data directory', severity: 'high' },
    { file: log, what: 'the log', severity: 'high' },
    { file: recordings, what: 'the recordings', severity: 'high' },
    { file: keys, what: 'the keys', severity: 'critical' },
    { file: socketDirectory, what: 'the socket directory', severity: 'high' },
  ] as const;
  for (const { file, what, severity } of writable) {
    if (file?.mode === undefined || (file.mode & 0o022) === 0) continue;
    yield {
      check: 'file-writable',
      severity,
      where: file.path,
      what: `others than its owner may write ${what} (mode ${octal(file.mode)})`,
      why: 'whoever may write there changes what the gateway does or says that it did',
      remedy: `chmod go-w ${file.path}`,
    };
  }
  if (keys.mode !== undefined && (keys.mode & 0o055) !== 0) {
    yield {
      check: 'file-keys-readable',
      severity: 'critical',
      where: keys.path,
      what: `others than its owner may read the keys (mode ${octal(keys.mode)})`,
      why: 'with them the log can be forged, recordings read and hashes of masked values guessed',
      remedy: `chmod 700 ${keys.path}, and make new keys`,
    };
  }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function* secrets({ configuration, configurationFile }: SettingFacts): Generator<Finding> {
  const inPlace = (secret: Secret) => typeof secret === 'string';
  const where = [
    ...(inPlace(configuration.store.url) ? ['store.url'] : []),
    ...configuration.connections.flatMap(({ name, credentials }) =>
      (['gateway', 'designer', 'executor'] as const)
        .filter((duty) => inPlace(credentials[duty].password))
        .map((duty) => `connections ${name} credentials.${duty}.password`),
    ),
  ];
  if (where.length === 0 || configurationFile === undefined) return;
  const isReadable = configurationFile.mode !== undefined && (configurationFile.mode & 0o044) !== 0;
  yield {
    check: 'secret-in-file',
    severity: isReadable ? 'high' : 'low',
    where: where.join(', '),
    what: `the secret stands in the configuration file itself${isReadable ? ', which others may read' : ''}`,
    why: 'configuration files are copied, mailed and checked in',
    remedy: 'name it: { env: NAME } or { file: PATH }',
  };
}

function* store({ configuration, store: address }: SettingFacts): Generator<Finding> {
  if (address === undefined) return;
  const mode = address.searchParams.get('sslmode');
  if (
    address.hostname !== '' &&
    !isLoopbackHost(address.hostname) &&
    (mode === null || mode === 'disable' || mode === 'allow' || mode === 'prefer')
  ) {
    yield {
      check: 'store-tls',
      severity: 'high',
      where: 'store.url',
      what: `the control store at ${address.hostname} is reached without TLS that is asked for`,
      why: 'who changes what the store says changes who holds which request and grant',
      remedy: 'add sslmode=verify-full',
    };
  }
  const database = decodeURIComponent(address.pathname.slice(1));
  const port = address.port === '' ? 5_432 : Number(address.port);
  for (const { name, host, port: targetPort, database: targetDatabase } of configuration.connections) {
    if (host !== address.hostname || targetPort !== port || targetDatabase !== database) continue;
    yield {
      check: 'store-is-target',
      severity: 'critical',
      where: `store.url and connection ${name}`,
      what: 'the control store is a target of the gateway',
      why: 'a statement through the gateway could change requests, decisions and grants',
      remedy: 'give the control store a database of its own, with an account of its own',
    };
  }
}

function* rest({ configuration, processors }: SettingFacts): Generator<Finding> {
  const { workers } = configuration.gateway;
  if (workers > processors) {
    yield {
      check: 'setting-workers',
      severity: 'low',
      where: 'gateway.workers',
      what: `${workers} worker processes on ${processors} processors`,
      why: 'each costs about 100 MiB, and they take turns',
      remedy: `at most ${processors}`,
    };
  }
  if (configuration.masking.length === 0) {
    yield {
      check: 'masking-none',
      severity: 'medium',
      where: 'masking',
      what: 'nothing is masked anywhere',
      why: 'every value leaves as it is',
      remedy: 'write a masking template (docs/masking.md)',
    };
  }
}
