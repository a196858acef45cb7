/** Database credentials: get one, see and revoke them, and psql with one of its own. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { CountersignError } from '../errors.ts';
import type { CommandContext } from './context.ts';
import { facts, print, show, table } from './output.ts';

export interface CredentialAnswer {
  readonly user: string;
  readonly password: string;
  readonly expiresAt: string;
  readonly connection?: string;
  readonly gateway: { readonly host: string; readonly port: number; readonly tls: boolean };
}

interface CredentialView {
  readonly userName: string;
  readonly principalId: string;
  readonly connection?: string;
  readonly runId?: string;
  readonly createdAt: string;
  readonly expiresAt: string;
}

/** token, token list, psql */
export function databaseCommands(program: Command, context: CommandContext): void {
  const token = program
    .command('token')
    .description('a short-lived database credential for psql and every other driver')
    .argument('[connection]', 'the connection (the database name)')
    .option('--ttl <seconds>', 'how long it is valid', Number)
    .option('--revoke <user>', 'end a credential, and the sessions that were opened with it')
    .action(async (connection: string | undefined, options: { ttl?: number; revoke?: string }) => {
      if (options.revoke !== undefined) {
        await revoke(context, options.revoke);
        show({ json: context.json() }, { revoked: options.revoke }, () => `${options.revoke}: revoked`);
        return;
      }
      if (connection === undefined) {
        throw new CountersignError('input_invalid', 'a credential is for a connection', {
          hint: 'countersign token CONNECTION; countersign connections lists them',
        });
      }
      const credential = await issue(context, connection, options.ttl);
      show({ json: context.json() }, credential, () =>
        facts([
          ['user', credential.user],
          ['password', credential.password],
          ['valid until', credential.expiresAt],
          ['psql', `psql '${dsn(credential, connection)}'`],
        ]),
      );
    });

  token
    .command('list')
    .description('your credentials that can still be used')
    .option('--all', "everybody's (for admins)")
    .action(async (options: { all?: boolean }) => {
      const query = options.all === true ? '?all=true' : '';
      const answer = await context.client().get<{ credentials: CredentialView[] }>(`/credentials${query}`);
      show({ json: context.json() }, answer, () =>
        table(
          ['USER', 'PRINCIPAL', 'CONNECTION', 'RUN', 'SINCE', 'VALID UNTIL'],
          answer.credentials.map((one) => [
            one.userName,
            one.principalId,
            one.connection ?? '(every one)',
            one.runId ?? '',
            one.createdAt,
            one.expiresAt,
          ]),
        ),
      );
    });

  program
    .command('psql')
    .description('psql with a credential of its own, which ends with it')
    .argument('<connection>', 'the connection (the database name)')
    .argument('[args...]', "psql's own arguments")
    .action(async (connection: string, args: string[]) => {
      const credential = await issue(context, connection, undefined);
      try {
        process.exitCode = await runPsql(credential, connection, args);
      } finally {
        await revoke(context, credential.user).catch((error: unknown) => {
          print(`the credential ${credential.user} could not be revoked; it is valid until ${credential.expiresAt}`);
          throw error;
        });
      }
    });
}

/** Everything behind the connection is psql's, also what looks like an option of ours. */
export function withPsqlArguments(argv: readonly string[]): string[] {
  let at = 0;
  while (argv[at]?.startsWith('-') === true) at += argv[at] === '--server' ? 2 : 1;
  const connection = argv[at + 1];
  if (argv[at] !== 'psql' || connection === undefined || connection.startsWith('-')) return [...argv];
  const rest = argv.slice(at + 2);
  return rest[0] === '--' ? [...argv] : [...argv.slice(0, at + 2), '--', ...rest];
}

function issue(context: CommandContext, connection: string, ttlSeconds: number | undefined): Promise<CredentialAnswer> {
  const body = { connection, ...(ttlSeconds === undefined ? {} : { ttlMs: ttlSeconds * 1_000 }) };
  return context.client().post<CredentialAnswer>('/credentials', body);
}

function revoke(context: CommandContext, user: string): Promise<unknown> {
  return context.client().call('DELETE', `/credentials/${encodeURIComponent(user)}`);
}

/**
 * What psql is to connect with. The password is in its environment only: command lines are open to everybody on a machine.
 * A stricter sslmode of the user's own stays; with TLS the log-in is bound to the channel, so nobody stands between.
 */
export function psqlEnvironment(
  credential: CredentialAnswer,
  connection: string,
  own: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  const { host, port, tls } = credential.gateway;
  const strict = /^verify-(ca|full)$/.test(own['PGSSLMODE'] ?? '') ? own['PGSSLMODE'] : 'require';
  const environment: NodeJS.ProcessEnv = { ...own };
  // A service file or a password file could send the password elsewhere, or another one.
  for (const name of ['PGSERVICE', 'PGHOSTADDR', 'PGPASSFILE', 'PGREQUIRESSL', 'PGREQUIREAUTH'])
    delete environment[name];
  return {
    ...environment,
    PGHOST: host,
    PGPORT: String(port),
    PGDATABASE: connection,
    PGUSER: credential.user,
    PGPASSWORD: credential.password,
    PGSSLMODE: tls ? strict : 'disable',
    PGCHANNELBINDING: tls ? 'require' : 'prefer',
  };
}

/** @returns psql's own exit code */
function runPsql(credential: CredentialAnswer, connection: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.env['COUNTERSIGN_PSQL'] ?? 'psql', args, {
      stdio: 'inherit',
      env: psqlEnvironment(credential, connection, process.env),
    });
    // Ctrl-C is psql's: it cancels a statement. What ends this process ends psql first, and then the credential.
    const ignore = () => undefined;
    const pass = (signal: NodeJS.Signals) => child.kill(signal);
    process.on('SIGINT', ignore).on('SIGTERM', pass).on('SIGHUP', pass);
    const done = () => process.off('SIGINT', ignore).off('SIGTERM', pass).off('SIGHUP', pass);
    child.once('error', (cause) => {
      done();
      reject(
        new CountersignError('not_found', `cannot start psql: ${cause.message}`, {
          hint: 'install the PostgreSQL client, or name it in COUNTERSIGN_PSQL',
        }),
      );
    });
    child.once('close', (code) => {
      done();
      resolve(code ?? 1);
    });
  });
}

function dsn(credential: CredentialAnswer, connection: string): string {
  const { host, port, tls } = credential.gateway;
  const auth = `${encodeURIComponent(credential.user)}:${encodeURIComponent(credential.password)}`;
  return `postgresql://${auth}@${host}:${port}/${connection}?sslmode=${tls ? 'require' : 'disable'}`;
}
