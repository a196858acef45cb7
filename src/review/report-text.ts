/** A review as a person reads it: plain text, one fact a line, so that it can be printed, mailed and compared. */
import { aloneWords } from './conflicts.ts';
import type { AccessFacts, BreakGlassUse } from './facts.ts';
import type { DecidedLine, ReviewReport } from './reviews.ts';

export function reviewText(report: ReviewReport): string {
  const { counts, facts } = report;
  return [
    `ACCESS REVIEW ${report.id}`,
    `started ${report.startedAt} by ${plain(report.startedBy)}`,
    report.endedAt === undefined ? 'not ended' : `ended ${report.endedAt} by ${plain(report.endedBy ?? '')}`,
    `connections: ${facts.connections.join(', ')}`,
    `${counts.lines} lines: ${counts.kept} kept, ${counts.revoked} revoked, ${counts.undecided} not decided`,
    '',
    ...factsLines(facts),
    'LINES',
    ...report.lines.flatMap(lineLines),
    '',
  ].join('\n');
}

export function factsText(facts: AccessFacts): string {
  return factsLines(facts).join('\n');
}

function factsLines(facts: AccessFacts): string[] {
  const { executions } = facts;
  const whole = executions.complete ? '' : ' (the log is still being read: not the last word)';
  return [
    `EXECUTIONS since ${facts.executionsSince}`,
    `${executions.executions} executions under a grant, ${executions.approved} of them passed an approval, ${executions.exceptionCount} did not${whole}`,
    ...executions.exceptions.flatMap((one) => [
      `  EXCEPTION ${one.entry === undefined ? '' : `entry ${one.entry.index} of ${one.entry.node}, `}${one.executions} executions by ${plain(one.human ?? 'nobody known')}`,
      ...one.problems.map((problem) => `    ${plain(problem.message)}`),
    ]),
    ...executions.allowedByRule.map(
      (one) =>
        `  allowed by rule: ${one.statements} by ${plain(one.human)} as ${one.duty} on ${one.connection} (${plain(one.policies)})`,
    ),
    '',
    'TOXIC COMBINATIONS, ALONE',
    ...none(
      facts.alone.map(
        (one) =>
          `  ${one.humans.map(plain).join(' = ')}${one.suspectedAlias ? ' (looks like one person)' : ''} on ${one.connections.join(', ')}: ${aloneWords[one.reason]}\n    through ${one.through.map(({ principal, duty, groups }) => `${plain(principal)}: ${duty} from ${groups.map(plain).join(', ')}`).join('; ')}`,
      ),
    ),
    '',
    'WITH ONE OTHER',
    ...none(
      facts.pairs.map(
        (one) =>
          `  ${one.connection}, a ${one.what}: ${one.pairs} pairs of ${one.first.join('+')} and ${one.second.join('+')}, e.g. ${plain(one.examples.first[0] ?? '')} with ${plain(one.examples.second.find((name) => name !== one.examples.first[0]) ?? '')}; ${one.remedy}`,
      ),
    ),
    '',
    'WITHOUT AN APPROVAL, BY POLICY',
    ...none(
      facts.unapproved.map(
        (one) =>
          `  ${one.action} on ${one.connection}: ${one.humans.map(plain).join(', ')} (${one.policies.map(plain).join(', ')})`,
      ),
    ),
    '',
    'DATABASE ACCOUNTS',
    ...none(
      facts.accounts.map((one) => `  ${one.severity}: ${plain(one.where)}: ${plain(one.what)}. ${plain(one.remedy)}`),
    ),
    '',
    'EARLIER REVOCATIONS',
    ...none(
      facts.followUps.map(
        (one) =>
          `  ${one.state === 'done' ? 'done' : 'STILL HELD'}: ${plain(one.principal)} ${one.duty} on ${one.connection}, revoked ${one.decidedAt} by ${plain(one.reviewer)} in ${one.review}${one.remedy === '' ? '' : `: ${plain(one.remedy)}`}`,
      ),
    ),
    '',
    ...(facts.breakGlass === undefined
      ? []
      : [
          'BREAK-GLASS USES NOT YET REVIEWED',
          ...none(
            facts.breakGlass.map(
              (one) =>
                `  ${one.request} on ${one.connection} by ${plain(one.human)} at ${one.at}: ${one.reviewsGiven} of ${one.reviewsNeeded} reviews${waitsFor(one)}`,
            ),
          ),
          '',
        ]),
  ];
}

function lineLines(line: DecidedLine): string[] {
  const use = line.lastUse === undefined ? 'never used' : `last ${line.lastUse.kind} ${line.lastUse.at}`;
  const service = line.kind === 'service' ? `, service account of ${plain(line.human)}` : '';
  const told = [
    `  ${plain(line.principal)}${service}: ${line.duty} on ${line.connection}, from ${line.groups.map(plain).join(', ')}; ${use}${line.unused ? ' (UNUSED)' : ''}`,
  ];
  if (line.verdict === undefined) return [...told, '    not decided'];
  const comment = line.comment === undefined || line.comment === '' ? '' : `: ${plain(line.comment)}`;
  told.push(`    ${line.verdict} by ${plain(line.reviewer ?? '')} at ${line.decidedAt}${comment}`);
  if (line.remedy !== undefined) told.push(`    to do: ${plain(line.remedy)}`);
  return told;
}

/** Reviews that were begun before this was kept do not have it. */
function waitsFor({ dueAt, mayReview }: Partial<BreakGlassUse>): string {
  if (dueAt === undefined || mayReview === undefined) return '';
  return `, due ${dueAt}; may review: ${mayReview.length === 0 ? 'nobody' : mayReview.map(plain).join(', ')}`;
}

function none(lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? ['  none'] : lines;
}

/** Names and comments come from people and providers: they must not forge lines, nor steer a terminal. */
function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}
