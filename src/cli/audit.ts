import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import colors from 'picocolors';
import { readerFor, verifyLog } from '../audit/verify.ts';
import { CountersignError } from '../errors.ts';
import { exitCodes, show } from './output.ts';
import type { CommandContext } from './context.ts';

/** audit verify */
export function auditCommands(program: Command, context: CommandContext): void {
  program
    .command('audit')
    .description('the transparency log')
    .command('verify')
    .description('check the whole log from its public key alone: signatures, hashes, order, session chains (offline)')
    .requiredOption('--log <directory>', 'folder of the log (checkpoint and tiles)')
    .requiredOption('--key <file>', "the log's public key (log.vkey), kept somewhere else than the log")
    .option('--known <file>', 'a checkpoint seen before: the log must have grown from it')
    .action(async (options: { log: string; key: string; known?: string }) => {
      const verifierKey = (await text(options.key)).trim();
      const known = options.known === undefined ? undefined : await text(options.known);
      const result = await verifyLog({
        read: readerFor(options.log),
        verifierKey,
        ...(known === undefined ? {} : { known }),
      });
      if (!result.ok) process.exitCode = exitCodes.failed;
      show({ json: context.json() }, result, () =>
        result.ok
          ? `${colors.green('OK')} ${result.size} entries of ${result.origin}, root ${result.root}`
          : `${colors.red('BROKEN')}${result.problem.entry === undefined ? '' : ` entry ${result.problem.entry}:`} ${result.problem.message}`,
      );
    });
}

async function text(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CountersignError('input_invalid', `cannot read ${file}`, { cause: error });
  }
}
