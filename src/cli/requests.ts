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

interface Executors {
  readonly duty: string;
  readonly groups: readonly string[];
  readonly principal?: string;
  readonly session?: string;
}

interface RequestDetailView extends RequestView {
  readonly digestInputJson: string;
  readonly evidence: { readonly plan?: PlanView; readonly source?: string; readonly reason?: string };
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
    requests
      .command(verdict)
      .description(verdict === 'approve' ? 'let it run, exactly as shown, once' : 'end it; nothing is executed')
      .argument('<id>')
      .option('-m, --comment <text>', 'why (needed for a rejection)', '')
      .action(async (id: string, options: { comment: string }) => {
        const answer = await context
          .client()
          .post<RequestView & { grant?: { id: string; expiresAt: string } }>(
            `/requests/${encodeURIComponent(id)}/${verdict}`,
            options,
          );
        show({ json: context.json() }, answer, () =>
          answer.grant === undefined
            ? `${answer.id}: ${answer.state === 'pending' ? 'recorded; more approvals are needed' : answer.state}`
            : `${answer.id}: approved; grant ${answer.grant.id} may be used once until ${answer.grant.expiresAt}`,
        );
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
  const input = JSON.parse(one.digestInputJson) as Record<string, unknown> & {
    statement?: {
      text: string;
      parameters?: readonly (string | null)[];
      parameterKinds?: readonly { type: number; format: string }[];
      classes?: readonly string[];
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
      ['valid for', `${Math.round(input.expiry.durationMs / 60_000)} minutes after approval, one use`],
    ]),
    ...(source === undefined ? [] : ['', colors.bold('definition'), source.trimEnd()]),
    ...(plan === undefined ? [] : ['', planText(plan)]),
  ].join('\n');
}
