import type { Command } from 'commander';
import { print, show, table } from './output.ts';
import type { CommandContext } from './context.ts';
import { replayText, type ReplayLine } from './replay-text.ts';

interface SessionView {
  readonly id: string;
  readonly principalId: string;
  readonly duty: string;
  readonly connection: string;
  readonly runId?: string;
  readonly application: string;
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly statements: number;
  readonly rows: number;
  readonly maskedCells: number;
}

/** sessions list; replay */
export function sessionCommands(program: Command, context: CommandContext): void {
  program
    .command('sessions')
    .description('database sessions (auditors)')
    .command('list', { isDefault: true })
    .option('--principal <id>', 'of this principal only')
    .option('--run <id>', 'of this run only')
    .action(async (options: { principal?: string; run?: string }) => {
      const query = new URLSearchParams(
        Object.entries(options).filter((entry): entry is [string, string] => entry[1] !== undefined),
      );
      const answer = await context.client().get<{ sessions: SessionView[] }>(`/sessions?${query.toString()}`);
      show({ json: context.json() }, answer, () =>
        table(
          ['SESSION', 'PRINCIPAL', 'DUTY', 'CONNECTION', 'STATEMENTS', 'ROWS', 'MASKED CELLS', 'STARTED'],
          answer.sessions.map((one) => [
            one.id,
            one.principalId,
            one.duty,
            one.connection,
            one.statements,
            one.rows,
            one.maskedCells,
            one.startedAt,
          ]),
        ),
      );
    });

  program
    .command('replay')
    .description('what a session sent and what it was given, masked as it was delivered (auditors; looking is logged)')
    .argument('<session>')
    .option('--rows <n>', 'rows to print of each result', Number, 10)
    .action(async (session: string, options: { rows: number }) => {
      const response = await context.client().open('GET', `/sessions/${encodeURIComponent(session)}/replay`);
      const text = replayText(options.rows);
      for await (const line of lines(response)) {
        if (context.json()) print(line);
        else for (const shown of text(JSON.parse(line) as ReplayLine)) print(shown);
      }
    });
}

async function* lines(response: Response): AsyncIterable<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    rest += decoder.decode(chunk, { stream: true });
    const parts = rest.split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part !== '') yield part;
  }
  if (rest !== '') yield rest;
}
