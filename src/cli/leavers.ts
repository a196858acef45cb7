import type { Command } from 'commander';
import type { CommandContext } from './context.ts';
import { print, show, table } from './output.ts';

interface RemovedAnswer {
  readonly people: readonly {
    readonly principalId: string;
    readonly source: string;
    readonly reason: string;
    readonly removedBy: string;
    readonly removedAt: string;
    readonly finishedAt?: string;
  }[];
}

/** people remove, reactivate, removed */
export function leaverCommands(program: Command, context: CommandContext): void {
  const people =
    program.commands.find((command) => command.name() === 'people') ??
    program.command('people').description('who people are, and who has left');

  people
    .command('removed')
    .description('who may not come in any more, and who said so')
    .action(async () => {
      const answer = await context.client().get<RemovedAnswer>('/people/removed');
      show({ json: context.json() }, answer, () =>
        table(
          ['PRINCIPAL', 'SINCE', 'BY', 'WHY', ''],
          answer.people.map((one) => [
            one.principalId,
            one.removedAt,
            one.removedBy,
            one.reason,
            one.finishedAt === undefined ? 'not everything is taken away yet' : '',
          ]),
        ),
      );
    });

  for (const action of ['remove', 'reactivate'] as const) {
    people
      .command(action)
      .description(
        action === 'remove'
          ? 'somebody has left: ends sessions, credentials, requests, grants and service accounts of theirs'
          : 'let somebody in again whom an administrator removed; nothing is given back',
      )
      .argument('<id>', 'the principal')
      .requiredOption('-m, --reason <text>', 'why')
      .action(async (id: string, { reason }: { reason: string }) => {
        await context.client().post(`/people/${encodeURIComponent(id)}/${action}`, { reason });
        if (!context.json()) print(action === 'remove' ? `${id}: removed` : `${id}: may come in again`);
      });
  }
}
