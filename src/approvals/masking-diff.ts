/**
 * What changes between two lists of masking templates. The strongest rule that reaches a column counts, so a rule that is
 * kept by another of the same reach is not missed. Masks of different kinds show different things: only `null`,
 * `redact` and a date or number that is cut within what it was cut to count as hiding more.
 */
import type { MaskingTemplateConfiguration } from '../config/schema.ts';
import { canonicalJson, type Json } from '../lib/canonical-json.ts';
import { foldCase } from '../masking/glob.ts';
import { compareMasks, type MaskSpec, type PredicateRule } from '../masking/policy.ts';
import { isWithin, mayMeet, placeText, type RuleChange } from './rule-change.ts';

type Labels = Readonly<Record<string, string>>;

interface ColumnAtom {
  readonly labels: Labels;
  readonly match: string;
  readonly mask: MaskSpec;
  readonly predicates: PredicateRule;
  /** Place of a rule with a budget: the budget is kept by it. */
  readonly id: string;
}

interface DetectorAtom {
  readonly labels: Labels;
  readonly detect: string;
  readonly mask: string;
}

type Templates = readonly MaskingTemplateConfiguration[];

export function maskingChanges(from: Templates, to: Templates): RuleChange[] {
  if (textOf(from) === textOf(to)) return [];
  const [before, after] = [columnsOf(from), columnsOf(to)];
  return [
    ...columnChanges(before, after, detectorsOf(from)),
    ...orderChanges(before, after),
    ...detectorChanges(detectorsOf(from), detectorsOf(to)),
  ];
}

/** Of two masks that are equally strong and not equal, the first counts. */
function orderChanges(before: readonly ColumnAtom[], after: readonly ColumnAtom[]): RuleChange[] {
  const kept = (atoms: readonly ColumnAtom[], others: readonly ColumnAtom[]) =>
    atoms.map(textOf).filter((text) => others.some((other) => textOf(other) === text));
  if (textOf(kept(before, after)) === textOf(kept(after, before))) return [];
  const isTie = after.some((one) =>
    after.some((other) => textOf(one.mask) !== textOf(other.mask) && compareMasks(one.mask, other.mask) === 0),
  );
  if (!isTie) return [];
  const why = 'of equally strong masks the first counts';
  return [{ part: 'masking', effect: 'wider', what: 'masking rules have another order', why, labels: undefined }];
}

function* columnChanges(
  before: readonly ColumnAtom[],
  after: readonly ColumnAtom[],
  detectors: readonly DetectorAtom[],
): Generator<RuleChange> {
  for (const atom of before) {
    if (after.some((one) => textOf(one) === textOf(atom))) continue;
    const isKept = after.some(
      (one) => one.match === atom.match && isWithin(atom.labels, one.labels) && hidesAsMuch(one, atom),
    );
    yield {
      part: 'masking',
      effect: isKept ? 'same' : 'wider',
      what: `${columnText(atom)} is ${isKept ? 'replaced by a rule that hides as much' : 'removed or weaker'}`,
      labels: atom.labels,
    };
  }
  for (const atom of after) {
    if (before.some((one) => textOf(one) === textOf(atom))) continue;
    const shown = before.find((one) => mayReplace(atom, one));
    const detector = detectors.find((one) => maySilence(atom, one, before));
    const why =
      (shown && `where ${columnText(shown)} reaches too, this one counts, and it shows something else`) ??
      (detector && `detector ${detector.detect} looks only into columns that no rule names, and this one shows a part`);
    yield {
      part: 'masking',
      effect: why === undefined ? 'narrower' : 'wider',
      what: `${columnText(atom)} is added`,
      why,
      labels: atom.labels,
    };
  }
}

function* detectorChanges(before: readonly DetectorAtom[], after: readonly DetectorAtom[]): Generator<RuleChange> {
  for (const atom of before) {
    if (after.some((one) => textOf(one) === textOf(atom))) continue;
    const isKept = after.some(
      (one) =>
        one.detect === atom.detect &&
        isWithin(atom.labels, one.labels) &&
        (one.mask === atom.mask || one.mask === 'redact'),
    );
    yield {
      part: 'masking',
      effect: isKept ? 'same' : 'wider',
      what: `detector ${atom.detect} (${atom.mask}) on ${placeText(atom.labels)} is ${isKept ? 'replaced by one that hides as much' : 'removed or weaker'}`,
      labels: atom.labels,
    };
  }
  for (const atom of after) {
    if (before.some((one) => textOf(one) === textOf(atom))) continue;
    // Where two overlap, the longer one's text goes into the token, under the stronger mask of both.
    const overlaps = atom.mask !== 'redact' && before.some((one) => mayMeet(one.labels, atom.labels));
    const what = `detector ${atom.detect} (${atom.mask}) on ${placeText(atom.labels)} is added`;
    const why = overlaps ? 'where it overlaps another detector, it can show a part of what that one hides' : undefined;
    yield { part: 'masking', effect: overlaps ? 'wider' : 'narrower', what, why, labels: atom.labels };
  }
}

function columnsOf(templates: Templates): ColumnAtom[] {
  return templates.flatMap(({ name, appliesTo, columns }) =>
    columns.map(({ match, mask, predicates = 'deny' }, index) => ({
      labels: appliesTo,
      match: foldCase(match),
      mask,
      predicates,
      id: typeof predicates === 'object' ? `${name}/columns[${index}]` : '',
    })),
  );
}

function detectorsOf(templates: Templates): DetectorAtom[] {
  return templates.flatMap(({ appliesTo, detectors }) =>
    detectors.map(({ detect, mask }) => ({
      labels: appliesTo,
      detect: typeof detect === 'string' ? detect : textOf(detect),
      mask,
    })),
  );
}

/** Whether, where both reach, this new rule can count instead of the old one and show what that one does not. */
function mayReplace(added: ColumnAtom, old: ColumnAtom): boolean {
  if (!mayMeet(added.labels, old.labels) || areApart(added.match, old.match)) return false;
  return compareMasks(added.mask, old.mask) >= 0 && !isHiddenBy(old.mask, added.mask);
}

/** Whether this new rule can show a part of what a detector hides in a column that had no rule of its own. */
function maySilence(added: ColumnAtom, detector: DetectorAtom, before: readonly ColumnAtom[]): boolean {
  if (added.mask === 'redact' || added.mask === 'null' || !mayMeet(added.labels, detector.labels)) return false;
  return !before.some((one) => one.match === added.match && isWithin(added.labels, one.labels));
}

/** No column has both names. */
function areApart(one: string, other: string): boolean {
  const [a, b] = [one.split('.').at(-1) ?? '*', other.split('.').at(-1) ?? '*'];
  return !a.includes('*') && !b.includes('*') && a !== b;
}

function hidesAsMuch(one: ColumnAtom, old: ColumnAtom): boolean {
  const allowance = (rule: PredicateRule) => (rule === 'deny' ? -1 : rule === 'is-null' ? 0 : rule.perHour);
  const isSameBudget = typeof one.predicates !== 'object' || one.id === old.id;
  return isHiddenBy(old.mask, one.mask) && allowance(one.predicates) <= allowance(old.predicates) && isSameBudget;
}

/**
 * `next` shows nothing that `old` does not show. Of `partial`, none is within another: what keeps less shows something of
 * values that are too short for what keeps more.
 */
function isHiddenBy(old: MaskSpec, next: MaskSpec): boolean {
  if (textOf(old) === textOf(next) || next === 'null') return true;
  if (next === 'redact') return old !== 'null';
  if (typeof old === 'string' || typeof next === 'string') return false;
  if (old.kind === 'truncate-date' && next.kind === 'truncate-date') return next.to === 'year';
  // The borders of the new steps are among those of the old ones only for odd multiples: numbers go to the nearest.
  return old.kind === 'round' && next.kind === 'round' && Math.abs((next.to / old.to) % 2) === 1;
}

function columnText({ match, mask, predicates, labels }: ColumnAtom): string {
  const asks =
    predicates === 'deny' ? '' : `, predicates ${typeof predicates === 'string' ? predicates : textOf(predicates)}`;
  return `mask ${typeof mask === 'string' ? mask : textOf(mask)} of ${match} on ${placeText(labels)}${asks}`;
}

function textOf(value: unknown): string {
  return canonicalJson(JSON.parse(JSON.stringify(value)) as Json);
}
