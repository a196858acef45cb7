/** What `requests approve` and `reject` send and say, and what they show of a loop that can be approved as a template. */
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import { count, facts } from './output.ts';

export interface TemplateView {
  readonly text: string;
  readonly form: string;
  readonly key: string;
  readonly lowest: string;
  readonly highest: string;
  readonly uses: number;
  readonly anySession: boolean;
}

/** A loop that a template could let run. */
export interface TemplateOffer {
  readonly text: string;
  readonly form: string;
  readonly key: string;
  readonly low: string;
  readonly high: string | null;
}

export interface DecisionOptions {
  readonly comment: string;
  readonly template?: boolean;
  readonly fromKey?: string;
  readonly untilKey?: string;
  readonly rows?: string;
  readonly uses?: string;
  readonly expires?: string;
  readonly anySession?: boolean;
}

export interface DecisionView {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly grant?: { readonly id: string; readonly expiresAt: string; readonly voidReason?: string };
}

export function decisionBody(options: DecisionOptions): object {
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

export function decisionText({ id, kind, state, grant }: DecisionView, { template }: DecisionOptions): string {
  if (grant === undefined) return `${id}: ${state === 'pending' ? 'recorded; more approvals are needed' : state}`;
  if (kind === 'policy') {
    return `${id}: ${grant.voidReason === undefined ? 'approved; the new rules are in force' : `void: ${grant.voidReason}`}`;
  }
  const how = template === true ? 'may be used by every step of the loop' : 'may be used once';
  return `${id}: approved; grant ${grant.id} ${how} until ${grant.expiresAt}`;
}

export function templateFacts(template: TemplateView | undefined): [string, string][] {
  if (template === undefined) return [];
  const { text, form, key, lowest, highest, uses, anySession } = template;
  return [
    ['every step of', text],
    ['keys', `${key} from ${lowest} to ${highest}, upwards, none twice (${form})`],
    ['statements', `${count(uses)} at most, ${anySession ? 'also of later sessions' : 'of this session'}`],
  ];
}

export function offerText(id: string, { text, key, low, high }: TemplateOffer): string {
  return [
    colors.bold('the loop of which it is a step'),
    facts([
      ['statement', text],
      ['key', `${key}, now from ${low}${high === null ? '' : ` to ${high}`}`],
      ['to approve all of it', `countersign requests approve ${id} --template --until-key N --rows N`],
    ]),
  ].join('\n');
}
