import type { Command } from 'commander';
import colors from 'picocolors';
import { show } from './output.ts';
import type { CommandContext } from './context.ts';

interface FindingView {
  readonly check: string;
  readonly severity: 'info' | 'low' | 'medium' | 'high' | 'critical';
  readonly where: string;
  readonly what: string;
  readonly why: string;
  readonly remedy: string;
}

export interface DoctorView {
  readonly findings: readonly FindingView[];
  readonly worst?: FindingView['severity'] | undefined;
  readonly skipped: readonly { readonly check: string; readonly why: string }[];
  /** Set where it tells of these connections alone. */
  readonly limitedTo?: readonly string[] | undefined;
}

/** Exit codes by the worst finding; scripts may rely on them. */
const exitCodeOfWorst = { info: 0, low: 0, medium: 10, high: 11, critical: 12 } as const;

/** doctor; `local` looks at a configuration file without a server */
export function doctorCommands(
  program: Command,
  context: CommandContext,
  local: (configFile: string) => Promise<DoctorView>,
): void {
  program
    .command('doctor')
    .description(
      'look for pitfalls: of the running gateway (administrators), or with --config of a file and its targets',
    )
    .option('-c, --config <file>', 'look at this configuration file instead of the running gateway')
    .action(async (options: { config?: string }) => {
      const report =
        options.config === undefined ? await context.client().post<DoctorView>('/doctor') : await local(options.config);
      if (report.worst !== undefined) process.exitCode = exitCodeOfWorst[report.worst];
      show({ json: context.json() }, report, () => reportText(report));
    });
}

function reportText({ findings, skipped, limitedTo }: DoctorView): string {
  const lines = findings.flatMap(({ check, severity, where, what, why, remedy }) => [
    `${colour(severity)(severity.toUpperCase())} ${plain(where)} ${colors.dim(`[${check}]`)}`,
    `  ${plain(what)}`,
    `  ${colors.dim('why')} ${plain(why)}`,
    `  ${colors.cyan('do')}  ${plain(remedy)}`,
  ]);
  if (findings.length === 0) lines.push(`${colors.green('OK')} nothing was found`);
  for (const { check, why } of skipped) lines.push(`${colors.yellow('NOT CHECKED')} ${plain(check)}: ${plain(why)}`);
  if (limitedTo !== undefined) {
    lines.push(`only of ${plain(limitedTo.join(', '))}: the rest is for administrators of every connection`);
  }
  return lines.join('\n');
}

function colour(severity: FindingView['severity']): (text: string) => string {
  if (severity === 'critical' || severity === 'high') return colors.red;
  return severity === 'medium' ? colors.yellow : colors.dim;
}

/** Names come from targets and providers: they must not steer a terminal. */
function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ');
}
