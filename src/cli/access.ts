import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import colors from 'picocolors';
import { count, facts, print, show, table } from './output.ts';
import type { CommandContext } from './context.ts';

interface LineView {
  readonly line: string;
  readonly principal: string;
  readonly human: string;
  readonly kind: string;
  readonly connection: string;
  readonly duty: string;
  readonly groups: readonly string[];
  readonly lastUse?: { readonly kind: string; readonly at: string };
  readonly unused: boolean;
  readonly verdict?: string;
  readonly reviewer?: string;
  readonly remedy?: string;
}

interface SummaryView {
  readonly id: string;
  readonly startedBy: string;
  readonly startedAt: string;
  readonly endedBy?: string;
  readonly endedAt?: string;
}

interface CountsView {
  readonly lines: number;
  readonly kept: number;
  readonly revoked: number;
  readonly undecided: number;
}

interface FactsView {
  readonly alone: readonly {
    readonly reason: string;
    readonly humans: readonly string[];
    readonly suspectedAlias: boolean;
    readonly connections: readonly string[];
  }[];
  readonly pairs: readonly {
    readonly connection: string;
    readonly what: string;
    readonly first: readonly string[];
    readonly second: readonly string[];
    readonly pairs: number;
    readonly remedy: string;
  }[];
  readonly unapproved: readonly {
    readonly connection: string;
    readonly humans: readonly string[];
    readonly action: string;
    readonly policies: readonly string[];
  }[];
  readonly accounts: readonly { readonly severity: string; readonly where: string; readonly what: string }[];
  readonly executions: {
    readonly complete: boolean;
    readonly executions: number;
    readonly approved: number;
    readonly exceptionCount: number;
  };
  readonly breakGlass?: readonly {
    readonly request: string;
    readonly connection: string;
    readonly human: string;
    readonly reviewsGiven: number;
    readonly reviewsNeeded: number;
    readonly dueAt?: string;
    readonly mayReview?: readonly string[];
  }[];
  readonly followUps: readonly {
    readonly principal: string;
    readonly duty: string;
    readonly connection: string;
    readonly state: string;
    readonly remedy: string;
  }[];
}

const pageSize = 1_000;

/** access review: the review as of now, and reviews with decisions */
export function accessCommands(program: Command, context: CommandContext): void {
  const review = program
    .command('access')
    .description('who holds what')
    .command('review')
    .description('who holds which duty, who could do too much, and what reviewers decided (auditors, administrators)');
  const output = () => ({ json: context.json() });

  review
    .command('now', { isDefault: true })
    .description('everything as of now, without a review')
    .option('--unused', 'only duties that are not used')
    .action(async (options: { unused?: boolean }) => {
      const holdings = await all<LineView>(context, `/access/holdings?unused=${options.unused === true}`, 'holdings');
      const found = await context.client().get<FactsView>('/access/facts');
      show(output(), { holdings, facts: found }, () => `${linesTable(holdings)}\n\n${factsView(found)}`);
    });

  review
    .command('start')
    .description('freeze what is held now, to decide on it line by line')
    .action(async () => {
      const started = await context.client().post<SummaryView>('/access/reviews');
      show(
        output(),
        started,
        () => `${colors.green('started')} ${started.id}: countersign access review show ${started.id}`,
      );
    });

  review
    .command('list')
    .description('reviews, newest first')
    .action(async () => {
      const answer = await context.client().get<{ reviews: SummaryView[] }>('/access/reviews');
      show(output(), answer, () =>
        table(
          ['REVIEW', 'STARTED', 'BY', 'ENDED', 'BY'],
          answer.reviews.map((one) => [one.id, one.startedAt, one.startedBy, one.endedAt, one.endedBy]),
        ),
      );
    });

  review
    .command('show')
    .description('a review: its lines and what was decided')
    .argument('<review>')
    .option('--undecided', 'only lines that wait for a decision')
    .action(async (id: string, options: { undecided?: boolean }) => {
      const path = `/access/reviews/${encodeURIComponent(id)}`;
      const {
        counts,
        facts: found,
        ...summary
      } = await context.client().get<SummaryView & { counts: CountsView; facts: FactsView }>(path);
      const lines = await all<LineView>(context, `${path}/lines?undecided=${options.undecided === true}`, 'lines');
      show(output(), { ...summary, counts, facts: found, lines }, () =>
        [
          facts([
            ['review', summary.id],
            ['started', `${summary.startedAt} by ${summary.startedBy}`],
            ['ended', summary.endedAt === undefined ? undefined : `${summary.endedAt} by ${summary.endedBy}`],
            ['lines', countsText(counts)],
          ]),
          linesTable(lines),
          factsView(found),
        ].join('\n\n'),
      );
    });

  review
    .command('decide')
    .description('keep or revoke lines; nobody decides on their own')
    .argument('<review>')
    .argument('<verdict>', 'keep or revoke')
    .argument('<lines...>', 'ids of lines')
    .option('--comment <text>', 'why; needed to revoke', '')
    .action(async (id: string, verdict: string, lines: string[], options: { comment: string }) => {
      const decisions = lines.map((line) => ({ line, verdict, comment: options.comment }));
      const answer = await context
        .client()
        .post<{ counts: CountsView }>(`/access/reviews/${encodeURIComponent(id)}/decisions`, { decisions });
      show(output(), answer, () => countsText(answer.counts));
    });

  review
    .command('end')
    .description('end a review; nothing in it changes any more')
    .argument('<review>')
    .option('--incomplete', 'also if lines are not decided')
    .action(async (id: string, options: { incomplete?: boolean }) => {
      const body = { incomplete: options.incomplete === true };
      const ended = await context
        .client()
        .post<SummaryView & { counts: CountsView }>(`/access/reviews/${encodeURIComponent(id)}/end`, body);
      show(output(), ended, () => `${colors.green('ended')} ${ended.id}: ${countsText(ended.counts)}`);
    });

  review
    .command('export')
    .description('the whole report, as text or (with --json) as JSON')
    .argument('<review>')
    .option('-o, --out <file>', 'write it there')
    .action(async (id: string, options: { out?: string }) => {
      const format = context.json() ? 'json' : 'text';
      const path = `/access/reviews/${encodeURIComponent(id)}/report?format=${format}`;
      const answer = await context.client().get<unknown>(path);
      const text = typeof answer === 'string' ? answer : JSON.stringify(answer, undefined, 2);
      if (options.out === undefined) print(text);
      else await writeFile(options.out, `${text}\n`, { mode: 0o600 });
    });
}

/** Every page of a list. */
async function all<T>(context: CommandContext, path: string, member: string): Promise<T[]> {
  const found: T[] = [];
  for (let next: string | undefined = ''; next !== undefined; ) {
    const before: string = next === '' ? '' : `&before=${encodeURIComponent(next)}`;
    const page: { readonly next?: string } & Record<string, unknown> = await context
      .client()
      .get(`${path}&limit=${pageSize}${before}`);
    found.push(...(page[member] as T[]));
    ({ next } = page);
  }
  return found;
}

function linesTable(lines: readonly LineView[]): string {
  return table(
    ['LINE', 'WHO', 'DUTY', 'CONNECTION', 'FROM', 'LAST USED', 'DECIDED'],
    lines.map((one) => [
      one.line,
      one.kind === 'service' ? `${one.principal} (of ${one.human})` : one.principal,
      one.duty,
      one.connection,
      one.groups.join(', '),
      `${one.lastUse === undefined ? 'never' : `${one.lastUse.at.slice(0, 10)} ${one.lastUse.kind}`}${one.unused ? ' (unused)' : ''}`,
      one.verdict === undefined ? undefined : `${one.verdict} by ${one.reviewer}`,
    ]),
  );
}

function countsText({ lines, kept, revoked, undecided }: CountsView): string {
  return `${count(lines)} lines: ${count(kept)} kept, ${count(revoked)} revoked, ${count(undecided)} not decided`;
}

function factsView(found: FactsView): string {
  const { executions } = found;
  const sound = executions.complete && executions.exceptionCount === 0;
  const parts = [
    `${sound ? colors.green('every execution passed an approval') : colors.red('executions without an approval, or not known')}: ${count(executions.approved)} of ${count(executions.executions)}`,
    section(
      'alone',
      found.alone.map((one) => [
        one.humans.join(' = '),
        `${one.reason}${one.suspectedAlias ? ' (looks like one person)' : ''}`,
        one.connections.join(', '),
      ]),
    ),
    section(
      'with one other',
      found.pairs.map((one) => [
        `${count(one.pairs)} pairs`,
        `${one.first.join('+')} and ${one.second.join('+')}, a ${one.what} on ${one.connection}`,
        one.remedy,
      ]),
    ),
    section(
      'without an approval, by policy',
      found.unapproved.map((one) => [
        one.humans.join(', '),
        `${one.action} on ${one.connection}`,
        one.policies.join(', '),
      ]),
    ),
    section(
      'database accounts',
      found.accounts.map((one) => [one.severity, one.where, one.what]),
    ),
    section(
      'break-glass, not yet reviewed',
      (found.breakGlass ?? []).map((one) => [
        one.request,
        `${one.human} on ${one.connection}`,
        `${one.reviewsGiven} of ${one.reviewsNeeded} reviews`,
        one.dueAt === undefined ? '' : `due ${one.dueAt}`,
        one.mayReview === undefined ? '' : `may review: ${one.mayReview.join(', ') || 'nobody'}`,
      ]),
    ),
    section(
      'earlier revocations',
      found.followUps.map((one) => [
        one.state === 'done' ? 'done' : colors.red('still held'),
        `${one.principal}: ${one.duty} on ${one.connection}`,
        one.remedy,
      ]),
    ),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  return rows.length === 0 ? '' : `${colors.bold(title)}\n${table([], rows)}`;
}
