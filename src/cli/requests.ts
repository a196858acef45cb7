import type { Command } from 'commander';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { authorsText, count, facts, print, show, table } from './output.ts';
import { planText, type PlanView } from './plan-text.ts';
import type { CommandContext } from './context.ts';

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

interface TemplateView {
  readonly text: string;
  readonly form: string;
  readonly key: string;
  readonly lowest: string;
  readonly highest: string;
  readonly uses: number;
  readonly anySession: boolean;
}

/** A loop that a template could let run. */
interface TemplateOffer {
  readonly text: string;
  readonly form: string;
  readonly key: string;
  readonly low: string;
  readonly high: string | null;
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
}

/** requests list, show, approve, reject, withdraw */
export function requestCommands(program: Command, context: CommandContext): void {
  const requests = program.command('requests').description('what waits for a decision, and the decision');

  requests
    .command('list')
    .description('requests, newest first')
    .option('--state <state>', 'pending, approved, rejected, withdrawn or expired')
    .action(async (options: { state?: string }) => {
      const query = options.state === undefined ? '' : `?state=${encodeURIComponent(options.state)}`;
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
        print(one.digestInputJson);
        print(digest);
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

  requests
    .command('withdraw')
    .description('take your own request back')
    .argument('<id>')
    .action(async (id: string) => {
      const answer = await context.client().post<RequestView>(`/requests/${encodeURIComponent(id)}/withdraw`);
      show({ json: context.json() }, answer, () => `${answer.id}: ${answer.state}`);
    });
}

interface DecisionOptions {
  readonly comment: string;
  readonly template?: boolean;
  readonly fromKey?: string;
  readonly untilKey?: string;
  readonly rows?: string;
  readonly uses?: string;
  readonly expires?: string;
  readonly anySession?: boolean;
}

type DecisionView = RequestView & { readonly grant?: { readonly id: string; readonly expiresAt: string } };

function decisionBody(options: DecisionOptions): object {
  const { comment, template, fromKey, untilKey, rows, uses, expires, anySession } = options;
  if (template !== true) {
    if ([fromKey, untilKey, rows, uses, expires, anySession].some((one) => one !== undefined)) {
      throw new CountersignError('input_invalid', 'bounds are for a template: add --template');
    }
    return { comment };
  }
  if (untilKey === undefined || rows === undefined) {
    throw new CountersignError('input_invalid', 'a template needs --until-key and --rows');
  }
  return {
    comment,
    template: {
      fromKey,
      untilKey,
      rows: wholeNumber('--rows', rows),
      ...(uses === undefined ? {} : { uses: wholeNumber('--uses', uses) }),
      ...(expires === undefined ? {} : { expiresMs: milliseconds(expires) }),
      ...(anySession === true ? { anySession } : {}),
    },
  };
}

function wholeNumber(option: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new CountersignError('input_invalid', `${option}: ${JSON.stringify(text)} is no whole number`);
}

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

function milliseconds(text: string): number {
  const [, count, unit] = /^(\d{1,9})([smh])$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) return Number(count) * (unitsMs[unit] ?? 0);
  throw new CountersignError('input_invalid', `--expires: ${JSON.stringify(text)} is no time like 90s, 30m or 2h`);
}

function decisionText({ id, state, grant }: DecisionView, { template }: DecisionOptions): string {
  if (grant === undefined) return `${id}: ${state === 'pending' ? 'recorded; more approvals are needed' : state}`;
  const how = template === true ? 'may be used by every step of the loop' : 'may be used once';
  return `${id}: approved; grant ${grant.id} ${how} until ${grant.expiresAt}`;
}

function executorsText({ duty, groups, principal, session }: Executors): string {
  return [
    principal ?? duty,
    ...(principal === undefined ? [] : [`as ${duty}`]),
    ...(groups.length === 0 ? [] : [`in ${groups.join(' or ')}`]),
    ...(session === undefined ? [] : [`in session ${session}`]),
  ].join(' ');
}

function templateFacts(template: TemplateView | undefined): [string, string][] {
  if (template === undefined) return [];
  const { text, form, key, lowest, highest, uses, anySession } = template;
  return [
    ['every step of', text],
    ['keys', `${key} from ${lowest} to ${highest}, upwards, none twice (${form})`],
    ['statements', `${count(uses)} at most, ${anySession ? 'also of later sessions' : 'of this session'}`],
  ];
}

function offerText(id: string, { text, key, low, high }: TemplateOffer): string {
  return [
    colors.bold('the loop of which it is a step'),
    facts([
      ['statement', text],
      ['key', `${key}, now from ${low}${high === null ? '' : ` to ${high}`}`],
      ['to approve all of it', `countersign requests approve ${id} --template --until-key N --rows N`],
    ]),
  ].join('\n');
}

function cap(limit: number | null, unit: string): string {
  return limit === null ? `no cap on ${unit}` : `${count(limit)} ${unit}`;
}

function requestText(one: RequestDetailView): string {
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
      ['approvals', `${one.approvalsGiven} of ${one.approvalsNeeded}`],
      ...one.decisions.map((decision): [string, string] => [
        decision.verdict,
        `by ${decision.human} at ${decision.decidedAt}: ${decision.comment}`,
      ]),
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
    ...(source === undefined ? [] : ['', colors.bold('definition'), source.trimEnd()]),
    ...(plan === undefined ? [] : ['', planText(plan)]),
  ].join('\n');
}
