import type { Command } from 'commander';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { authorsText, count, facts, printExact, show, table } from './output.ts';
import { planText, type PlanView } from './plan-text.ts';
import type { CommandContext } from './context.ts';
import {
  decisionBody,
  decisionText,
  offerText,
  templateFacts,
  type DecisionOptions,
  type DecisionView,
  type TemplateOffer,
  type TemplateView,
} from './decision-text.ts';
import { changesText } from './policies.ts';

interface RequestView {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly connection: string;
  readonly title: string;
  readonly requesterId: string;
  readonly authors: readonly { readonly human: string; readonly role: string }[];
  readonly digest: string;
  readonly createdAt: string;
  readonly expiresAt: string;
}

interface Executors {
  readonly duty: string;
  readonly groups: readonly string[];
  readonly principal?: string;
  readonly session?: string;
}

interface RequestDetailView extends RequestView {
  readonly digestInputJson: string;
  readonly evidence: {
    readonly plan?: PlanView;
    readonly source?: string;
    readonly reason?: string;
    readonly template?: TemplateOffer;
    readonly message?: string;
  };
  readonly decisions: readonly {
    readonly human: string;
    readonly verdict: string;
    readonly comment: string;
    readonly decidedAt: string;
  }[];
  readonly grant?: {
    readonly id: string;
    readonly state: string;
    readonly expiresAt: string;
    readonly voidReason?: string;
  };
  readonly approvalsNeeded: number;
  readonly approvalsGiven: number;
  readonly steps: readonly StepView[];
  readonly you: {
    readonly may: readonly string[];
    readonly reasons: readonly { readonly action: string; readonly reason: string }[];
  };
  readonly breakGlass?: {
    readonly human: string;
    readonly reason: string;
    readonly at: string;
    readonly reviewers: number;
  };
  readonly reviewDueAt?: string;
  readonly confirmedAt?: string;
  readonly reviews: readonly { readonly human: string; readonly verdict: string; readonly comment: string }[];
}

interface StepView {
  readonly no: number;
  readonly state: string;
  readonly needed: number;
  readonly allOf: readonly string[];
  readonly groups?: readonly string[];
  readonly approvals: readonly { readonly human: string }[];
  readonly deciders?: readonly string[];
  readonly dueAt?: string;
}

/** requests list, show, approve, reject, withdraw */
export function requestCommands(program: Command, context: CommandContext): void {
  const requests = program.command('requests').description('what waits for a decision, and the decision');

  requests
    .command('list')
    .description('requests, newest first')
    .option('--state <state>', 'pending, approved, rejected, withdrawn or expired')
    .option('--inbox', 'only what you may approve now, oldest first', false)
    .action(async (options: { state?: string; inbox: boolean }) => {
      const state = options.state === undefined ? '' : `?state=${encodeURIComponent(options.state)}`;
      const query = options.inbox ? '?view=waiting' : state;
      const answer = await context.client().get<{ requests: RequestView[] }>(`/requests${query}`);
      show({ json: context.json() }, answer, () =>
        table(
          ['REQUEST', 'KIND', 'STATE', 'CONNECTION', 'ASKED BY', 'WHAT', 'SINCE'],
          answer.requests.map((one) => [
            one.id,
            one.kind,
            one.state,
            one.connection,
            one.requesterId,
            one.title,
            one.createdAt,
          ]),
        ),
      );
    });

  requests
    .command('show')
    .description('everything that an approval of this request is bound to')
    .argument('<id>')
    .option('--digest', 'two lines: the exact canonical JSON (RFC 8785), and its SHA-256')
    .action(async (id: string, options: { digest?: boolean }) => {
      const one = await context.client().get<RequestDetailView>(`/requests/${encodeURIComponent(id)}`);
      if (options.digest === true && !context.json()) {
        const digest = sha256Hex(one.digestInputJson);
        if (digest !== one.digest) {
          throw new CountersignError(
            'grant_void',
            `request ${one.id} says sha256 ${one.digest}, which is not that of its input`,
          );
        }
        printExact(one.digestInputJson);
        printExact(digest);
        return;
      }
      show({ json: context.json() }, one, () => requestText(one));
    });

  for (const verdict of ['approve', 'reject'] as const) {
    const command = requests
      .command(verdict)
      .description(verdict === 'approve' ? 'let it run, exactly as shown, once' : 'end it; nothing is executed')
      .argument('<id>')
      .option('-m, --comment <text>', 'why (needed for a rejection)', '');
    if (verdict === 'approve') {
      command
        .option('--template', 'let every further step of the loop run, within what these options say')
        .option('--from-key <n>', 'the smallest key that may be read (default: where the held statement begins)')
        .option('--until-key <n>', 'the largest key that may be read')
        .option('--rows <n>', 'rows that all steps together may deliver')
        .option('--uses <n>', 'how many statements may run')
        .option('--expires <time>', 'how long it may be used, e.g. 90s, 30m, 2h')
        .option('--any-session', 'also in later sessions of the same principal on the same connection');
    }
    command.action(async (id: string, options: DecisionOptions) => {
      const answer = await context
        .client()
        .post<DecisionView>(`/requests/${encodeURIComponent(id)}/${verdict}`, decisionBody(options));
      show({ json: context.json() }, answer, () => decisionText(answer, options));
    });
  }

  breakGlassCommands(requests, context);

  requests
    .command('withdraw')
    .description('take your own request back')
    .argument('<id>')
    .action(async (id: string) => {
      const answer = await context.client().post<RequestView>(`/requests/${encodeURIComponent(id)}/withdraw`);
      show({ json: context.json() }, answer, () => `${answer.id}: ${answer.state}`);
    });
}

/** requests break-glass, review */
function breakGlassCommands(requests: Command, context: CommandContext): void {
  requests
    .command('break-glass')
    .description('in an emergency: ask that fewer others approve before, and more review afterwards')
    .argument('<id>')
    .requiredOption('-m, --reason <text>', 'why it cannot wait; everybody is told')
    .action(async (id: string, options: { reason: string }) => {
      const route = `/requests/${encodeURIComponent(id)}/break-glass`;
      const answer = await context.client().post<RequestDetailView>(route, options);
      show(
        { json: context.json() },
        answer,
        () =>
          `${answer.id}: break-glass; somebody else still has to approve, and ${answer.breakGlass?.reviewers} review it afterwards`,
      );
    });

  requests
    .command('review')
    .description('confirm what was approved by break-glass, or object to it')
    .argument('<id>')
    .option('--ok', 'it was right', false)
    .option('--object', 'it was not; needs a comment', false)
    .option('-m, --comment <text>', 'why', '')
    .action(async (id: string, options: { ok: boolean; object: boolean; comment: string }) => {
      if (options.ok === options.object) throw new CountersignError('input_invalid', 'say either --ok or --object');
      const body = { verdict: options.ok ? 'ok' : 'object', comment: options.comment };
      const answer = await context.client().post<RequestDetailView>(`/requests/${encodeURIComponent(id)}/review`, body);
      show({ json: context.json() }, answer, () =>
        answer.confirmedAt === undefined
          ? `${answer.id}: recorded; it is not confirmed yet`
          : `${answer.id}: confirmed`,
      );
    });
}

function stepText(step: StepView): string {
  const who = [
    ...step.allOf.map((group) => `one of ${group}`),
    ...(step.groups === undefined ? [] : [`of ${step.groups.join(' or ')}`]),
  ];
  const given = step.approvals.map(({ human }) => human).join(', ');
  return [
    `${step.state}, ${step.approvals.length} of ${step.needed}`,
    ...who,
    ...(given === '' ? [] : [`approved by ${given}`]),
    ...(step.state === 'open' && step.dueAt !== undefined ? [`until ${step.dueAt}`] : []),
  ].join('; ');
}

function stateFacts(one: RequestDetailView): [string, string | undefined][] {
  const { breakGlass } = one;
  return [
    ['approvals', `${one.approvalsGiven} of ${one.approvalsNeeded}`],
    ...one.steps.map((step): [string, string] => [`step ${step.no}`, stepText(step)]),
    ['break-glass', breakGlass && `${breakGlass.human} at ${breakGlass.at}: ${breakGlass.reason}`],
    [
      'review',
      one.reviewDueAt &&
        (one.confirmedAt === undefined ? `until ${one.reviewDueAt}` : `confirmed at ${one.confirmedAt}`),
    ],
    ...one.reviews.map((review): [string, string] => [
      'review',
      `${review.human}: ${review.verdict} ${review.comment}`,
    ]),
    ...one.decisions.map((decision): [string, string] => [
      decision.verdict,
      `by ${decision.human} at ${decision.decidedAt}: ${decision.comment}`,
    ]),
    [
      'you',
      one.state !== 'pending'
        ? undefined
        : (one.you.reasons.find(({ action }) => action === 'approve')?.reason ?? 'may approve this'),
    ],
  ];
}

/** A change of rules. */
function policyText(one: RequestDetailView): string {
  const input = JSON.parse(one.digestInputJson) as {
    from: string;
    to: string;
    changes: Parameters<typeof changesText>[0];
    connections: readonly string[];
  };
  return [
    facts([
      ['request', `${one.id}: ${one.title}`],
      ['state', one.state],
      ['asked by', one.requesterId],
      ['why', one.evidence.message],
      ...stateFacts(one),
      [
        'grant',
        one.grant && `${one.grant.state}${one.grant.voidReason === undefined ? '' : ` (${one.grant.voidReason})`}`,
      ],
    ]),
    '',
    colors.bold('what is signed'),
    facts([
      ['digest', `sha256:${one.digest}`],
      ['from rules', `sha256:${input.from}`],
      ['to rules', `sha256:${input.to}; all of them: countersign requests show ${one.id} --digest`],
      ['connections', input.connections.join(', ')],
    ]),
    changesText(input.changes),
  ].join('\n');
}

function executorsText({ duty, groups, principal, session }: Executors): string {
  return [
    principal ?? duty,
    ...(principal === undefined ? [] : [`as ${duty}`]),
    ...(groups.length === 0 ? [] : [`in ${groups.join(' or ')}`]),
    ...(session === undefined ? [] : [`in session ${session}`]),
  ].join(' ');
}

function cap(limit: number | null, unit: string): string {
  return limit === null ? `no cap on ${unit}` : `${count(limit)} ${unit}`;
}

function requestText(one: RequestDetailView): string {
  if (one.kind === 'policy') return policyText(one);
  const input = JSON.parse(one.digestInputJson) as Record<string, unknown> & {
    statement?: {
      text: string;
      parameters?: readonly (string | null)[];
      parameterKinds?: readonly { type: number; format: string }[];
      classes?: readonly string[];
      template?: TemplateView;
    };
    job?: { path: string; contentDigest: string; commit: string };
    target: {
      host: string;
      port: number;
      database: string;
      systemIdentifier: string;
      databaseOid: string;
      timeline: number;
    };
    plan?: { strategy: string; key: readonly string[]; count: number };
    output?: Record<string, unknown>;
    definitions: readonly { name: string; digest: string }[];
    searchPath: readonly string[];
    maskingDigest: string;
    caps: { rows: number | null; bytes: number | null };
    policyDigest?: string;
    executors: Executors;
    expiry: { durationMs: number };
    parameters: Record<string, unknown>;
  };
  const { plan, source } = one.evidence;
  return [
    facts([
      ['request', `${one.id}: ${one.title}`],
      ['state', one.state],
      ['asked by', one.requesterId],
      ['authors', authorsText(one.authors)],
      ['why it waits', one.evidence.reason],
      ...stateFacts(one),
      [
        'grant',
        one.grant === undefined
          ? undefined
          : `${one.grant.id}: ${one.grant.state}${one.grant.voidReason === undefined ? '' : ` (${one.grant.voidReason})`}`,
      ],
    ]),
    '',
    colors.bold('what is signed'),
    facts([
      ['digest', `sha256:${one.digest}`],
      ['job', input.job === undefined ? undefined : `${input.job.path} at commit ${input.job.commit}`],
      ['job content', input.job === undefined ? undefined : `sha256:${input.job.contentDigest}`],
      ['statement', input.statement?.text],
      ['with values', input.statement?.parameters?.map((value) => value ?? 'NULL').join(', ')],
      [
        'value types',
        input.statement?.parameterKinds
          ?.map(({ type, format }) => `${type === 0 ? 'none' : `OID ${type}`} as ${format}`)
          .join(', '),
      ],
      ['class', input.statement?.classes?.join(', ')],
      ...templateFacts(input.statement?.template),
      [
        'target',
        `${input.target.host}:${input.target.port}/${input.target.database}, server ${input.target.systemIdentifier}, database OID ${input.target.databaseOid}, timeline ${input.target.timeline}`,
      ],
      ['search path', input.searchPath.join(', ')],
      ...input.definitions.map(({ name, digest }): [string, string] => [
        'definition',
        `${name} sha256:${digest.slice(0, 16)}…`,
      ]),
      ...Object.entries(input.parameters).map(([name, value]): [string, string] => [`:${name}`, JSON.stringify(value)]),
      [
        'chunks',
        input.plan === undefined
          ? undefined
          : `${input.plan.count} by ${input.plan.key.join(', ') || 'nothing'} (${input.plan.strategy})`,
      ],
      ['output', input.output === undefined ? undefined : JSON.stringify(input.output)],
      ['policies', input.policyDigest === undefined ? undefined : `sha256:${input.policyDigest.slice(0, 16)}…`],
      ['masking policy', `sha256:${input.maskingDigest.slice(0, 16)}…`],
      ['caps', `${cap(input.caps.rows, 'rows')}, ${cap(input.caps.bytes, 'bytes')}`],
      ['who may run it', executorsText(input.executors)],
      [
        'valid for',
        `${Math.round(input.expiry.durationMs / 60_000)} minutes after approval, ${input.statement?.template === undefined ? 'one use' : 'many uses'}`,
      ],
    ]),
    ...(one.evidence.template === undefined ? [] : ['', offerText(one.id, one.evidence.template)]),
    ...(source === undefined ? [] : ['', colors.bold('definition'), source.trimEnd().replaceAll(/^/gm, '  ')]),
    ...(plan === undefined ? [] : ['', planText(plan)]),
  ].join('\n');
}
