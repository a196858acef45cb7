import type { Command } from 'commander';
import type { CommandContext } from './context.ts';
import { print, show, table } from './output.ts';

interface PeopleAnswer {
  readonly people: readonly {
    readonly key: string;
    readonly names: readonly string[];
    readonly emails: readonly string[];
  }[];
  readonly links: readonly {
    readonly a: string;
    readonly b: string;
    readonly source: string;
    readonly reason: string;
    readonly linkedBy: string;
    readonly unlinkedAt?: string;
    readonly unlinkReason?: string;
  }[];
}

/** people list, link, unlink */
export function peopleCommands(program: Command, context: CommandContext): void {
  const people = program.command('people').description('which names are one human');

  people
    .command('list')
    .description('every human with all their names and addresses, and who linked what')
    .action(async () => {
      const answer = await context.client().get<PeopleAnswer>('/people');
      show({ json: context.json() }, answer, () =>
        [
          table(
            ['HUMAN', 'ALSO', 'E-MAIL ADDRESSES'],
            answer.people.map(({ key, names, emails }) => [
              key,
              names.filter((name) => name !== key).join(', '),
              emails.join(', '),
            ]),
          ),
          '',
          table(
            ['LINKED', 'WITH', 'BY', 'WHY', 'ENDED'],
            answer.links.map((one) => [
              one.a,
              one.b,
              one.source === 'configuration' ? 'identity.links' : one.linkedBy,
              one.reason,
              one.unlinkedAt === undefined ? '' : `${one.unlinkedAt} (${one.unlinkReason ?? ''})`,
            ]),
          ),
        ].join('\n'),
      );
    });

  for (const action of ['link', 'unlink'] as const) {
    people
      .command(action)
      .description(
        action === 'link'
          ? 'two names, or a name and an e-mail address, are one human'
          : 'they are two after all; what was there before keeps the link',
      )
      .argument('<a>')
      .argument('<b>')
      .requiredOption('-m, --reason <text>', 'why')
      .action(async (a: string, b: string, { reason }: { reason: string }) => {
        await context.client().post(`/people/${action}`, { a, b, reason });
        if (!context.json()) print(`${a} and ${b}: ${action}ed`);
      });
  }
}
