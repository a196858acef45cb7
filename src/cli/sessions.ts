import type { Command } from 'commander';
import { jsonText, print, printExact, show, table } from './output.ts';
import type { CommandContext } from './context.ts';
import { replayText, type ReplayLine } from './replay-text.ts';

interface StatementView {
  readonly at: string;
  readonly verdict: string;
  readonly code?: string;
  readonly text: string;
  readonly outcome?: {
    readonly status: string;
    readonly durationMs: number;
    readonly rows: number;
    readonly maskedCells: number;
  };
}

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

/** sessions list, show; replay */
export function sessionCommands(program: Command, context: CommandContext): void {
  const sessions = program.command('sessions').description('database sessions (auditors)');

  sessions
    .command('list', { isDefault: true })
    .description('newest first')
    .option('--principal <id>', 'of this principal only')
    .option('--human <id>', 'of this human only, with whatever account')
    .option('--connection <name>', 'on this connection only')
    .option('--run <id>', 'of this run only')
    .option('--from <time>', 'begun at this time (RFC 3339) or later')
    .option('--to <time>', 'begun before this time')
    .option('--open', 'only those that are open')
    .option('--before <id>', 'only those that began before this session: the next page')
    .action(async (options: Record<string, string | true | undefined>) => {
      const query = new URLSearchParams(
        Object.entries(options).flatMap(([name, value]): [string, string][] =>
          value === undefined ? [] : [[name, String(value)]],
        ),
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

  sessions
    .command('show')
    .argument('<session>')
    .description('what it asked, statement by statement, from the log: verdict, outcome, counts')
    .action(async (session: string) => {
      const path = `/sessions/${encodeURIComponent(session)}/statements`;
      const statements: StatementView[] = [];
      let from: number | null = 0;
      while (from !== null) {
        const answer: { statements: StatementView[]; next: number | null } = await context
          .client()
          .get(`${path}?from=${from}`);
        statements.push(...answer.statements);
        from = answer.next;
      }
      show({ json: context.json() }, { statements }, () =>
        table(
          ['AT', 'VERDICT', 'ENDED', 'MS', 'ROWS', 'MASKED', 'STATEMENT'],
          statements.map(({ at, verdict, code, outcome, text }) => [
            at,
            verdict,
            outcome?.status ?? code,
            outcome?.durationMs,
            outcome?.rows,
            outcome?.maskedCells,
            text.replaceAll(/\s+/g, ' ').slice(0, 100),
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
        if (context.json()) printExact(jsonText(JSON.parse(line)));
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
