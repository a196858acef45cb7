/**
 * A real Keycloak on this machine: brought by Maven into the cache of the client tests, started on a port of 127.0.0.1
 * with its data in memory, ended with this process. Whatever it needs that is not here is a `Missing`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { cacheDirectory, Missing, tool } from '../../clients/packages.ts';
import { lastLines, runProgram } from '../../clients/program.ts';
import { realmName, realmOf } from './realm.ts';

export { Missing };

const version = '26.5.6';
const javaAtLeast = 17;
/** Since the start of this process: 160 MB have come, and Keycloak is up. What is later leaves no time for the tests. */
const upUntilMs = Number(process.env['KEYCLOAK_UP_UNTIL_MS'] ?? 75_000);
const pollMs = 250;

export interface Keycloak {
  readonly url: string;
  /** The issuer of the realm. */
  readonly issuer: string;
  /** A call of the admin API, under the realm: `/users?username=…`. @throws Error with the status when it is no success */
  admin<T>(method: string, route: string, body?: unknown): Promise<T>;
  close(): Promise<void>;
}

export interface KeycloakOptions {
  /** More of the SAML client. */
  readonly saml?: Readonly<Record<string, unknown>>;
}

/** With the realm of `realm.ts`. @throws Missing where Keycloak cannot be had or does not come up on this machine */
export async function startKeycloak(options: KeycloakOptions = {}): Promise<Keycloak> {
  const folder = await bring();
  const port = await freePort();
  const admin = { name: 'admin', password: randomBytes(18).toString('base64url') };
  const server = run(folder, port, admin);
  const url = `http://127.0.0.1:${port}`;
  try {
    await server.up(`${url}/realms/master`);
    const api = adminApi(url, admin);
    await api('POST', '', realmOf(options.saml));
    return {
      url,
      issuer: `${url}/realms/${realmName}`,
      admin: <T>(method: string, route: string, body?: unknown) => api<T>(method, `/${realmName}${route}`, body),
      close: server.close,
    };
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** The distribution, unpacked. */
async function bring(): Promise<string> {
  const java = await runProgram([tool('java'), '-version'], { timeoutMs: 20_000 });
  const found = Number(/version "(\d+)/.exec(java.stderr)?.[1] ?? 0);
  if (found < javaAtLeast) throw new Missing(`java ${javaAtLeast} is needed, and ${found} is here`);
  const folder = path.join(cacheDirectory, `keycloak-${version}`);
  if (existsSync(folder)) return folder;
  const beside = `${folder}.${process.pid}`;
  await mkdir(beside, { recursive: true, mode: 0o700 });
  try {
    const artifact = `org.keycloak:keycloak-quarkus-dist:${version}:tar.gz`;
    const copy = ['-B', '-q', 'dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${beside}`];
    await program([tool('mvn'), ...copy]);
    const archive = path.join(beside, `keycloak-quarkus-dist-${version}.tar.gz`);
    await program([tool('tar'), 'xzf', archive, '--strip-components=1', '-C', beside]);
    await rm(archive);
    await rename(beside, folder);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return folder;
}

async function program(command: readonly [string, ...string[]]): Promise<void> {
  const timeoutMs = Math.max(1, upUntilMs - performance.now());
  const { exitCode, failure, stdout, stderr } = await runProgram(command, { timeoutMs });
  if (exitCode === 0) return;
  throw new Missing(`${path.basename(command[0])}: ${failure ?? lastLines(stderr || stdout)}`);
}

function run(folder: string, port: number, admin: { name: string; password: string }) {
  const parameters = ['start-dev', '--db=dev-mem', '--http-host=127.0.0.1', `--http-port=${port}`];
  const child: ChildProcess = spawn(path.join(folder, 'bin', 'kc.sh'), parameters, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      KC_BOOTSTRAP_ADMIN_USERNAME: admin.name,
      KC_BOOTSTRAP_ADMIN_PASSWORD: admin.password,
      JAVA_OPTS_KC_HEAP: '-Xms64m -Xmx512m',
      // It lives for a minute: what the compiler would gain later is not worth its time now.
      JAVA_OPTS_APPEND: '-XX:TieredStopAtLevel=1',
    },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-20_000)));
  }
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      output += error.message;
      resolve();
    });
    child.once('close', () => resolve());
  });
  // The script, and the virtual machine that it starts, are one group.
  const kill = () => {
    if (child.pid === undefined || child.exitCode !== null) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  };
  process.once('exit', kill);
  const isUp = (address: string) =>
    fetch(address, { signal: AbortSignal.timeout(5_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
  return {
    up: async (address: string) => {
      let isOver = false;
      void ended.then(() => (isOver = true));
      while (!(await isUp(address))) {
        const isLate = performance.now() > upUntilMs;
        if (isOver || isLate) {
          throw new Missing(
            `keycloak ${isOver ? 'ended' : `is not up in time (KEYCLOAK_UP_UNTIL_MS=${upUntilMs})`}: ${lastLines(output)}`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, pollMs));
      }
    },
    close: async () => {
      process.removeListener('exit', kill);
      kill();
      await ended;
    },
  };
}

function adminApi(url: string, { name, password }: { name: string; password: string }) {
  let token: { text: string; untilMs: number } | undefined;
  const bearer = async (): Promise<string> => {
    if (token !== undefined && performance.now() < token.untilMs) return token.text;
    const form = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: name, password });
    const response = await fetch(`${url}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: form });
    if (!response.ok) throw new Error(`the administrator cannot log in: ${response.status} ${await response.text()}`);
    const answer = (await response.json()) as { access_token: string };
    // Such a token lives for a minute.
    token = { text: answer.access_token, untilMs: performance.now() + 30_000 };
    return token.text;
  };
  return async <T>(method: string, route: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${url}/admin/realms${route}`, {
      method,
      headers: {
        authorization: `Bearer ${await bearer()}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${text.slice(0, 300)}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
