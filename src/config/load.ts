import { readFileSync } from 'node:fs';
import path from 'node:path';
import { LineCounter, parseDocument, type Document } from 'yaml';
import { CountersignError } from '../errors.ts';
import type { z } from 'zod';
import { configurationSchema, type Configuration, type Secret } from './schema.ts';

/**
 * Reads and checks a configuration file (YAML). Relative paths in it count from the file's own folder.
 * @throws CountersignError `configuration_invalid` with every problem as `file:line:column: field: what`.
 */
export function loadConfiguration(file: string): Configuration {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CountersignError('configuration_invalid', `cannot read the configuration file ${file}`, {
      hint: 'name it with --config, or set COUNTERSIGN_CONFIG',
      cause: error,
    });
  }
  return absolutePaths(parseConfiguration(text, file), path.dirname(path.resolve(file)));
}

/** Checks configuration text; `file` is only named in errors. */
export function parseConfiguration(text: string, file: string): Configuration {
  return checkNames(parseYaml(text, file, configurationSchema), file);
}

/**
 * Reads YAML text that has to fit a schema.
 * @throws CountersignError `configuration_invalid` with every problem as `file:line:column: field: what`.
 */
export function parseYaml<T>(text: string, file: string, schema: z.ZodType<T>): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const syntax = document.errors.map((error) => `${place(file, lines, error.pos[0])}: ${error.message}`);
  if (syntax.length > 0) throw invalid(syntax);
  const result = schema.safeParse(document.toJS());
  if (result.success) return result.data;
  throw invalid(
    result.error.issues.map((issue) => {
      const field = issue.path.map(String).join('.') || '(the file)';
      return `${place(file, lines, offsetOf(document, issue.path))}: ${field}: ${issue.message}`;
    }),
  );
}

function checkNames(configuration: Configuration, file: string): Configuration {
  const seen = new Set<string>();
  for (const { name } of configuration.connections) {
    if (seen.has(name)) throw invalid([`${file}: connections: the name ${name} is used twice`]);
    seen.add(name);
  }
  for (const { name, tls } of configuration.connections) {
    if (tls.mode === 'verify-full' && (tls.certFile === undefined) !== (tls.keyFile === undefined)) {
      throw invalid([`${file}: connections: ${name}: tls.certFile and tls.keyFile come together or not at all`]);
    }
  }
  checkReceivers(configuration, file);
  checkProviders(configuration, file);
  const { postgres } = configuration.gateway;
  if (postgres.requireTls && postgres.tls === undefined) {
    throw invalid([
      `${file}: gateway.postgres.tls: a certificate is needed (or set requireTls: false, for tests only)`,
    ]);
  }
  return configuration;
}

function checkReceivers({ notifications }: Configuration, file: string): void {
  const seen = new Set<string>();
  for (const one of notifications) {
    if (seen.has(one.name)) throw invalid([`${file}: notifications: the name ${one.name} is used twice`]);
    seen.add(one.name);
    if (one.kind !== 'email') continue;
    const { smtp } = one;
    if ((smtp.user === undefined) !== (smtp.password === undefined)) {
      throw invalid([`${file}: notifications: ${one.name}: smtp.user and smtp.password come together or not at all`]);
    }
  }
}

/** Ids of principals are unique over all providers: `NAME:SUBJECT` for those of a further provider. */
function checkProviders({ identity }: Configuration, file: string): void {
  const names = new Set<string>();
  for (const { name } of identity.providers) {
    if (names.has(name)) throw invalid([`${file}: identity.providers: the name ${name} is used twice`]);
    names.add(name);
  }
  const provider = identity.scim?.provider;
  if (provider !== undefined && !names.has(provider)) {
    throw invalid([`${file}: identity.scim.provider: there is no provider ${JSON.stringify(provider)}`]);
  }
}

function absolutePaths(configuration: Configuration, base: string): Configuration {
  const at = (file: string) => path.resolve(base, file);
  const files = <T extends object>(settings: T, names: readonly (keyof T)[]): T => {
    const found = names.filter((name) => settings[name] !== undefined);
    return { ...settings, ...Object.fromEntries(found.map((name) => [name, at(String(settings[name]))])) };
  };
  const { postgres } = configuration.gateway;
  const { tls, socket } = postgres;
  return {
    ...configuration,
    dataDirectory: at(configuration.dataDirectory),
    ...(configuration.connectionSecrets === undefined
      ? {}
      : { connectionSecrets: at(configuration.connectionSecrets) }),
    gateway: {
      ...configuration.gateway,
      postgres: {
        ...postgres,
        ...(tls === undefined ? {} : { tls: files(tls, ['certFile', 'keyFile', 'clientCaFile']) }),
        ...(socket === undefined ? {} : { socket: at(socket) }),
      },
    },
    api: {
      ...configuration.api,
      ...(configuration.api.tls === undefined ? {} : { tls: files(configuration.api.tls, ['certFile', 'keyFile']) }),
    },
    policies: {
      ...configuration.policies,
      files: configuration.policies.files.map((file) => (typeof file === 'string' ? at(file) : file)),
    },
    notifications: configuration.notifications.map((one) =>
      one.kind === 'email' ? { ...one, smtp: files(one.smtp, ['caFile']) } : one,
    ),
    identity: {
      ...configuration.identity,
      providers: configuration.identity.providers.map((provider) =>
        provider.kind === 'saml' ? { ...provider, idpCertFiles: provider.idpCertFiles.map(at) } : provider,
      ),
    },
    connections: configuration.connections.map((connection) => ({
      ...connection,
      tls:
        connection.tls.mode === 'verify-full'
          ? files(connection.tls, ['caFile', 'certFile', 'keyFile'])
          : connection.tls,
    })),
  };
}

/** @throws CountersignError `configuration_invalid` when the variable or file that should hold the secret is missing. */
export function readSecret(secret: Secret, environment: NodeJS.ProcessEnv = process.env): string {
  if (typeof secret === 'string') return secret;
  if ('env' in secret) {
    const value = environment[secret.env];
    if (value !== undefined && value !== '') return value;
    throw invalid([`the environment variable ${secret.env}, which should hold a secret, is not set`]);
  }
  try {
    return readFileSync(secret.file, 'utf8').trimEnd();
  } catch (error) {
    throw new CountersignError('configuration_invalid', `cannot read the secret file ${secret.file}`, { cause: error });
  }
}

/** What the file's connections need is there. @throws CountersignError `configuration_invalid` */
export function checkSecrets({ connections }: Configuration): void {
  for (const { credentials } of connections) {
    for (const { password } of Object.values(credentials)) readSecret(password);
  }
}

function invalid(problems: string[]): CountersignError {
  return new CountersignError('configuration_invalid', `the configuration is invalid:\n  ${problems.join('\n  ')}`);
}

function place(file: string, lines: LineCounter, offset: number | undefined): string {
  if (offset === undefined) return file;
  const { line, col } = lines.linePos(offset);
  return `${file}:${line}:${col}`;
}

/** The offset of the field, or of the nearest field above it that exists. */
function offsetOf(document: Document.Parsed, fieldPath: readonly PropertyKey[]): number | undefined {
  for (let depth = fieldPath.length; depth >= 0; depth--) {
    const node: unknown = document.getIn(fieldPath.slice(0, depth), true);
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) {
      return Number(node.range[0]);
    }
  }
  return undefined;
}
