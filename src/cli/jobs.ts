import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CountersignError } from '../errors.ts';
import { authorsText, facts, show, table } from './output.ts';
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

/** jobs push, list, show */
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
