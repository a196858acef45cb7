import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import type { CommandContext } from './context.ts';
import { facts, show, table } from './output.ts';

interface ChangeView {
  readonly part: string;
  readonly effect: 'wider' | 'narrower' | 'same';
  readonly what: string;
  readonly why?: string;
}

interface ApplyView {
  readonly outcome: 'unchanged' | 'dry-run' | 'applied' | 'requested';
  readonly from: { readonly version: number; readonly digest: string };
  readonly to: string;
  readonly effect: string;
  readonly changes: readonly ChangeView[];
  readonly connections: readonly string[];
  readonly warnings: readonly string[];
  readonly version?: number;
  readonly request?: string;
}

interface VersionView {
  readonly number: number;
  readonly digest: string;
  readonly appliedBy: string;
  readonly appliedAt: string;
  readonly message: string;
  readonly requestId?: string;
}

interface RulesView {
  readonly source: string;
  readonly digest: string;
  readonly version?: VersionView;
  readonly rules: RuleSetView;
  readonly configurationFile: { readonly differs: boolean; readonly changes: readonly ChangeView[] };
}

interface RuleSetView {
  readonly policies: { readonly defaults: boolean; readonly files: readonly { name: string; text: string }[] };
  readonly [part: string]: unknown;
}

/** apply; policies show, history, diff */
export function policyCommands(program: Command, context: CommandContext): void {
  program
    .command('apply')
    .description(
      'change bindings, masking, workflows, Cedar policies and added connections of the running gateway; the difference first',
    )
    .argument('<paths...>', 'folders or files: .cedar, .yaml, .yml, .json')
    .option('--dry-run', 'show the difference only', false)
    .option('-m, --message <text>', 'why', '')
    .action((paths: string[], options: ApplyOptions) => applyRules(context, ruleFiles(paths), options));

  const policies = program.command('policies').description('the rules in force, and their versions');

  policies
    .command('show')
    .description('the rules in force, or those of one version')
    .argument('[version]')
    .action(async (version: string | undefined) => {
      if (version !== undefined) {
        const one = await context
          .client()
          .get<VersionView & { rules: RuleSetView }>(`/policies/versions/${encodeURIComponent(version)}`);
        show({ json: context.json() }, one, () => `${versionText(one)}\n\n${rulesText(one.rules)}`);
        return;
      }
      const one = await context.client().get<RulesView>('/policies');
      show({ json: context.json() }, one, () =>
        [
          one.version === undefined
            ? facts([['in force', `the configuration file, sha256:${one.digest}`]])
            : versionText(one.version),
          ...(one.configurationFile.differs
            ? [
                '',
                colors.yellow('the configuration file says something else, which is not in force:'),
                changesText(one.configurationFile.changes),
              ]
            : []),
          '',
          rulesText(one.rules),
        ].join('\n'),
      );
    });

  policies
    .command('history')
    .description('versions, newest first')
    .action(async () => {
      const answer = await context.client().get<{ versions: VersionView[] }>('/policies/versions');
      show({ json: context.json() }, answer, () =>
        table(
          ['VERSION', 'APPLIED', 'BY', 'REQUEST', 'WHY', 'DIGEST'],
          answer.versions.map((one) => [
            String(one.number),
            one.appliedAt,
            one.appliedBy,
            one.requestId ?? '',
            one.message,
            one.digest.slice(0, 12),
          ]),
        ),
      );
    });

  policies
    .command('diff')
    .description('what changed from one version to another')
    .argument('<from>')
    .argument('<to>')
    .action(async (from: string, to: string) => {
      const query = new URLSearchParams({ from, to });
      const answer = await context.client().get<{ changes: ChangeView[] }>(`/policies/diff?${query.toString()}`);
      show({ json: context.json() }, answer, () =>
        answer.changes.length === 0 ? 'no difference' : changesText(answer.changes),
      );
    });
}

export interface ApplyOptions {
  readonly dryRun: boolean;
  readonly message: string;
  /** Digest of the rules that the files were made from, where they were. */
  readonly base?: string;
}

/** Shows the difference, then applies it or asks for it. */
export async function applyRules(
  context: CommandContext,
  files: readonly { readonly name: string; readonly text: string }[],
  { dryRun, message, base }: ApplyOptions,
): Promise<void> {
  const client = context.client();
  const made = base === undefined ? {} : { base };
  const shown = await client.post<ApplyView>('/policies', { files, dryRun: true, ...made });
  const isOver = dryRun || shown.outcome === 'unchanged';
  if (isOver || !context.json()) show({ json: context.json() }, shown, () => differenceText(shown));
  if (isOver) return;
  // What was shown is what is applied: the server refuses if other rules are in force by now.
  const answer = await client.post<ApplyView>('/policies', { files, message, base: shown.from.digest });
  show({ json: context.json() }, answer, () => outcomeText(answer));
}

/** @throws input_invalid for a path that cannot be read, or a folder without rules */
function ruleFiles(paths: readonly string[]): { name: string; text: string }[] {
  try {
    return paths.flatMap((given) => {
      if (!statSync(given).isDirectory()) return [{ name: path.basename(given), text: readFileSync(given, 'utf8') }];
      const names = readdirSync(given).filter((name) => /\.(cedar|ya?ml|json)$/.test(name));
      if (names.length === 0) {
        throw new CountersignError('input_invalid', `${given} has no .cedar, .yaml, .yml or .json file`);
      }
      return names.map((name) => ({ name, text: readFileSync(path.join(given, name), 'utf8') }));
    });
  } catch (error) {
    if (error instanceof CountersignError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new CountersignError('input_invalid', `cannot read the rules: ${message}`, { cause: error });
  }
}

const signs = { wider: colors.red('+ wider   '), narrower: colors.green('- narrower'), same: colors.dim('  same    ') };

export function changesText(changes: readonly ChangeView[]): string {
  return changes
    .map(({ part, effect, what, why }) => `${signs[effect]} ${part}: ${what}${why === undefined ? '' : ` (${why})`}`)
    .join('\n');
}

function differenceText(answer: ApplyView): string {
  if (answer.outcome === 'unchanged') return 'nothing changes';
  const from = answer.from.version === 0 ? 'the configuration file' : `version ${answer.from.version}`;
  const next =
    answer.effect === 'wider'
      ? 'this widens access: somebody else has to approve it'
      : 'this widens nothing: it needs nobody else';
  return [
    `compared with ${from}, on ${answer.connections.join(', ')}:`,
    changesText(answer.changes),
    ...answer.warnings.map((warning) => colors.yellow(`warning: ${warning}`)),
    next,
  ].join('\n');
}

function outcomeText(answer: ApplyView): string {
  if (answer.outcome === 'requested') {
    return `${answer.request}: waits for the approval of somebody else; countersign requests show ${answer.request}`;
  }
  return answer.outcome === 'unchanged' ? 'nothing changes' : `version ${answer.version} is in force`;
}

function versionText(one: VersionView): string {
  return facts([
    ['version', String(one.number)],
    ['digest', `sha256:${one.digest}`],
    ['applied', `${one.appliedAt} by ${one.appliedBy}`],
    ['approved as', one.requestId],
    ['why', one.message],
  ]);
}

function rulesText({ policies, ...parts }: RuleSetView): string {
  const { files, defaults } = policies;
  return [
    JSON.stringify({ ...parts, policies: { defaults } }, undefined, 2),
    ...files.flatMap(({ name, text }) => ['', colors.bold(name), text.trimEnd()]),
  ].join('\n');
}
