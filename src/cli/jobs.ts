import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CountersignError } from '../errors.ts';
import { authorsText, facts, print, show, table } from './output.ts';
import { planText, type PlanView } from './plan-text.ts';
import type { CommandContext } from './context.ts';

interface VersionView {
  readonly job: string;
  readonly version: number;
  readonly commit: string;
  readonly contentDigest: string;
  readonly connection: string;
  readonly pushedBy: string;
  readonly pushedAt: string;
  readonly authors: readonly { readonly human: string; readonly name: string; readonly role: string }[];
  readonly content?: string;
}

interface DraftView {
  readonly job: string;
  readonly path: string;
  readonly kind: string;
  readonly content: string;
  readonly checks: readonly string[];
}

/** jobs push, draft, list, show */
export function jobCommands(program: Command, context: CommandContext): void {
  const jobs = program.command('jobs').description('chunk job definitions');

  jobs
    .command('push')
    .description('commit a job definition, plan it, and ask for its approval')
    .argument('<file>', 'the definition (YAML)')
    .option('-m, --message <text>', 'commit message')
    .action(async (file: string, options: { message?: string }) => {
      const answer = await context
        .client()
        .post<{ version: VersionView; plan: PlanView; request: string; digest: string }>('/jobs', {
          content: readDefinition(file),
          ...(options.message === undefined ? {} : { message: options.message }),
        });
      show({ json: context.json() }, answer, () =>
        [
          facts([
            ['job', `${answer.version.job} version ${answer.version.version}`],
            ['commit', answer.version.commit],
            ['request', `${answer.request} (waits for an approver)`],
            ['digest', answer.digest],
          ]),
          '',
          planText(answer.plan),
        ].join('\n'),
      );
    });

  jobs
    .command('draft')
    .description('a job definition made from a paging loop, to be checked and pushed')
    .requiredOption('--from-session <id>', 'the session that ran the loop')
    .option('-o, --out <file>', 'write it there instead of printing it')
    .option('--force', 'overwrite that file', false)
    .action(async (options: { fromSession: string; out?: string; force: boolean }) => {
      const draft = await context.client().post<DraftView>('/jobs/drafts', { session: options.fromSession });
      const { out } = options;
      if (out !== undefined) writeDefinition(out, draft.content, options.force);
      if (context.json()) show({ json: true }, out === undefined ? draft : { ...draft, file: out }, () => '');
      else if (out === undefined) process.stdout.write(draft.content);
      else print(`${out}: job ${draft.job}; check its comments, then: countersign jobs push ${out}`);
    });

  jobs
    .command('list')
    .description('the newest version of each job')
    .action(async () => {
      const answer = await context.client().get<{ jobs: VersionView[] }>('/jobs');
      show({ json: context.json() }, answer, () =>
        table(
          ['JOB', 'VERSION', 'CONNECTION', 'PUSHED BY', 'AT', 'COMMIT'],
          answer.jobs.map((one) => [
            one.job,
            one.version,
            one.connection,
            one.pushedBy,
            one.pushedAt,
            one.commit.slice(0, 12),
          ]),
        ),
      );
    });

  jobs
    .command('show')
    .description('all versions of a job and who contributed to each')
    .argument('<job>')
    .action(async (job: string) => {
      const answer = await context.client().get<{ versions: VersionView[] }>(`/jobs/${encodeURIComponent(job)}`);
      show({ json: context.json() }, answer, () =>
        answer.versions
          .map((one) =>
            [
              facts([
                ['version', one.version],
                ['commit', one.commit],
                ['content', `sha256:${one.contentDigest}`],
                ['authors', authorsText(one.authors)],
                ['pushed', `${one.pushedAt} by ${one.pushedBy}`],
              ]),
              '',
              one.content ?? '',
            ].join('\n'),
          )
          .join('\n'),
      );
    });
}

function readDefinition(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CountersignError('input_invalid', `cannot read ${file}`, { cause: error });
  }
}

function writeDefinition(file: string, content: string, force: boolean): void {
  try {
    writeFileSync(file, content, { flag: force ? 'w' : 'wx' });
  } catch (error) {
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    throw new CountersignError('input_invalid', exists ? `${file} is there already` : `cannot write ${file}`, {
      hint: exists ? '--force overwrites it' : undefined,
      cause: error,
    });
  }
}
