/**
 * The command line: a client of the HTTP API and of the gateway, nothing more. Human output on a terminal, `--json`
 * everywhere, exit codes as in output.ts. What it verifies (log, manifests) it verifies by itself, from public keys.
 */
import { Command, CommanderError } from 'commander';
import { asCountersignError } from '../errors.ts';
import { accessCommands } from './access.ts';
import { auditCommands } from './audit.ts';
import { ApiClient } from './client.ts';
import { connectionCommands } from './connections.ts';
import type { CommandContext } from './context.ts';
import { databaseCommands, withPsqlArguments } from './database.ts';
import { doctorCommands, type DoctorView } from './doctor.ts';
import { identityCommands } from './identity.ts';
import { jobCommands } from './jobs.ts';
import { leaverCommands } from './leavers.ts';
import { notificationCommands } from './notifications.ts';
import { exitCodeOf, exitCodes, printError } from './output.ts';
import { peopleCommands } from './people.ts';
import { policyCommands } from './policies.ts';
import { requestCommands } from './requests.ts';
import { runCommands } from './runs.ts';
import { serviceAccountCommands } from './service-accounts.ts';
import { sessionCommands } from './sessions.ts';

export interface ProgramOptions {
  readonly version: string;
  /** `countersign serve`: a command that is the server itself. */
  readonly serve: (configFile: string) => Promise<void>;
  /** `countersign doctor --config FILE`: the other one. */
  readonly doctor: (configFile: string) => Promise<DoctorView>;
}

/** Runs one command line. @returns the exit code */
export async function runProgram(argv: readonly string[], options: ProgramOptions): Promise<number> {
  const program = new Command('countersign')
    .description('Identity-aware database gateway that enforces segregation of duties for data chunking')
    .version(options.version)
    .option(
      '--server <url>',
      'address of the Countersign API',
      process.env['COUNTERSIGN_SERVER'] ?? 'http://127.0.0.1:6480',
    )
    .option('--json', 'machine-readable output', false)
    .exitOverride()
    .showHelpAfterError()
    .configureHelp({ sortSubcommands: true });
  const context: CommandContext = {
    client: () => new ApiClient({ server: program.opts<{ server: string }>().server }),
    json: () => program.opts<{ json: boolean }>().json,
  };
  program
    .command('serve')
    .description('run the gateway')
    .option('-c, --config <file>', 'configuration file', process.env['COUNTERSIGN_CONFIG'] ?? 'countersign.yaml')
    .action(async ({ config }: { config: string }) => options.serve(config));
  identityCommands(program, context);
  databaseCommands(program, context);
  peopleCommands(program, context);
  leaverCommands(program, context);
  serviceAccountCommands(program, context);
  connectionCommands(program, context);
  jobCommands(program, context);
  requestCommands(program, context);
  policyCommands(program, context);
  runCommands(program, context);
  sessionCommands(program, context);
  auditCommands(program, context);
  accessCommands(program, context);
  notificationCommands(program, context);
  doctorCommands(program, context, options.doctor);
  try {
    await program.parseAsync(withPsqlArguments(argv), { from: 'user' });
    return Number(process.exitCode ?? exitCodes.ok);
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    const error = asCountersignError(cause);
    printError(error, context.json());
    if (error.code === 'internal' && error.cause instanceof Error)
      process.stderr.write(`${error.cause.stack ?? error.cause.message}\n`);
    return exitCodeOf(error);
  }
}
