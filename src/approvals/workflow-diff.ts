/**
 * What changes between two lists of workflows. The first that matches counts, so what matters is which workflow of the
 * new list can take over from which of the old one: for each such pair the new one has to be at least as strict.
 */
import { canonicalJson, type Json } from '../lib/canonical-json.ts';
import { isWithin, mayMeet, placeText, type RuleChange } from './rule-change.ts';
import { approvalsNeeded, defaultWorkflow, placesOf, stepsOf, type Workflow, type WorkflowStep } from './workflow.ts';

type Match = Workflow['match'];

export function workflowChanges(from: readonly Workflow[], to: readonly Workflow[]): RuleChange[] {
  if (textOf(from) === textOf(to)) return [];
  const [before, after] = [
    [...from, defaultWorkflow],
    [...to, defaultWorkflow],
  ];
  const changes: RuleChange[] = [];
  for (const [at, next] of after.entries()) {
    const reasons = new Set<string>();
    let isFrom: string | undefined;
    for (const [was, old] of before.entries()) {
      if (textOf(old) === textOf(next) || !canFollow(old, next)) continue;
      // Whatever matches `old` is taken by an earlier new one, or whatever matches `next` was taken by an earlier old one.
      if (after.slice(0, at).some((earlier) => includes(earlier.match, old.match))) continue;
      if (before.slice(0, was).some((earlier) => includes(earlier.match, next.match))) continue;
      for (const reason of looser(next, old)) {
        reasons.add(reason);
        isFrom ??= nameOf(old, was, from.length);
      }
    }
    const isNew = !before.some((old) => textOf(old) === textOf(next));
    if (reasons.size === 0 && !isNew) continue;
    const name = nameOf(next, at, to.length);
    const what = isNew ? `${name} is new or changed: ${summaryOf(next)}` : `${name} counts for more requests`;
    const why = reasons.size === 0 ? undefined : `what ${isFrom} decided: ${[...reasons].join('; ')}`;
    const effect = reasons.size === 0 ? 'narrower' : 'wider';
    changes.push({ part: 'workflows', effect, what, why, labels: next.match.labels });
  }
  for (const [was, old] of from.entries()) {
    if (to.some((next) => textOf(next) === textOf(old))) continue;
    const what = `${nameOf(old, was, from.length)} is gone or changed: ${summaryOf(old)}`;
    changes.push({ part: 'workflows', effect: 'same', what, labels: old.match.labels });
  }
  if (changes.length === 0) {
    changes.push({ part: 'workflows', effect: 'narrower', what: 'another order', labels: undefined });
  }
  return changes;
}

function textOf(value: unknown): string {
  return canonicalJson(JSON.parse(JSON.stringify(value)) as Json);
}

/** Some request can match both. */
function canFollow({ match: one }: Workflow, { match: other }: Workflow): boolean {
  if (!mayMeet(one.labels, other.labels)) return false;
  if (one.sensitive !== undefined && other.sensitive !== undefined && one.sensitive !== other.sensitive) return false;
  return one.kinds === undefined || other.kinds === undefined || one.kinds.some((kind) => other.kinds?.includes(kind));
}

/** Every request that matches `inner` matches `outer`. */
function includes(outer: Match, inner: Match): boolean {
  const subset = <T>(wide: readonly T[] | undefined, narrow: readonly T[] | undefined) =>
    wide === undefined || narrow?.every((one) => wide.includes(one)) === true;
  const atLeast = (wide: number | undefined, narrow: number | undefined) =>
    wide === undefined || (narrow !== undefined && narrow >= wide);
  return (
    isWithin(inner.labels, outer.labels) &&
    subset(outer.kinds, inner.kinds) &&
    subset(outer.classes, inner.classes) &&
    subset(outer.relations, inner.relations) &&
    (outer.sensitive === undefined || outer.sensitive === inner.sensitive) &&
    atLeast(outer.minRows, inner.minRows) &&
    atLeast(outer.minBytes, inner.minBytes)
  );
}

/** In what `next` asks for less than `old`; empty = at least as strict in everything. */
function* looser(next: Workflow, old: Workflow): Generator<string> {
  const [needed, neededBefore] = [approvalsNeeded(next), approvalsNeeded(old)];
  if (needed < neededBefore) yield `fewer approvals (${neededBefore} -> ${needed})`;
  const steps = stepsOf(next);
  for (const [at, step] of stepsOf(old).entries()) yield* looserStep(steps[at], step, at + 1);
  if (next.expiresMs > old.expiresMs) yield 'requests wait longer';
  if (next.grantExpiresMs > old.grantExpiresMs) yield 'grants live longer';
  if (old.strict && !next.strict) yield 'strict is off';
  if (old.quietHours !== undefined && textOf(old.quietHours) !== textOf(next.quietHours ?? null)) {
    yield 'other quiet hours, or none';
  }
  const [glass, before] = [next.breakGlass, old.breakGlass];
  if (glass === undefined) return;
  if (before === undefined) yield 'break-glass is possible';
  else if (
    glass.approvals < before.approvals ||
    glass.reviewers < before.reviewers ||
    glass.reviewWithinMs > before.reviewWithinMs ||
    (glass.duringQuietHours && !before.duringQuietHours)
  ) {
    yield 'break-glass asks for less';
  } else if (textOf(steps) !== textOf(stepsOf(old))) {
    yield 'others may approve under break-glass';
  }
}

function* looserStep(next: WorkflowStep | undefined, old: WorkflowStep, no: number): Generator<string> {
  const which = `step ${no}`;
  if (next === undefined) {
    yield `${which} is gone`;
    return;
  }
  if (placesOf(next) < placesOf(old)) yield `${which}: fewer approvals (${placesOf(old)} -> ${placesOf(next)})`;
  // A group that stands twice takes two places, which no comparison below sees.
  const isTwice = [old, next].some(({ allOf = [] }) => new Set(allOf).size < allOf.length);
  if (isTwice && textOf(next) !== textOf(old)) yield `${which}: a group stands twice in allOf`;
  const dropped = (old.allOf ?? []).filter((group) => next.allOf?.includes(group) !== true);
  if (dropped.length > 0) yield `${which}: nobody of ${dropped.join(', ')} is needed`;
  const more =
    old.groups === undefined ? [] : (next.groups?.filter((group) => !old.groups?.includes(group)) ?? ['others']);
  if (more.length > 0) yield `${which}: also members of ${more.join(', ')} decide`;
  // A place that was for `groups` and is now for a group of `allOf` can be taken by people who could not take it.
  const foreign = (next.allOf ?? []).filter(
    (group) => old.allOf?.includes(group) !== true && old.groups?.includes(group) === false,
  );
  if (foreign.length > placesOf(next) - placesOf(old)) yield `${which}: members of ${foreign.join(', ')} take a place`;
  if (old.timeLimitMs !== undefined && (next.timeLimitMs ?? Number.POSITIVE_INFINITY) > old.timeLimitMs) {
    yield `${which}: more time`;
  }
  if (next.escalation !== undefined && textOf(next.escalation) !== textOf(old.escalation ?? null)) {
    const isLater =
      old.escalation !== undefined &&
      next.escalation.afterMs >= old.escalation.afterMs &&
      next.escalation.groups.every((group) => old.escalation?.groups.includes(group)) &&
      (old.escalation.decide || !next.escalation.decide);
    if (!isLater && next.escalation.decide) yield `${which}: further groups may decide after a while`;
  }
}

function nameOf(workflow: Workflow, index: number, count: number): string {
  if (index >= count) return 'the default workflow';
  return workflow.name === undefined ? `workflow ${index + 1}` : `workflow ${workflow.name}`;
}

function summaryOf(workflow: Workflow): string {
  const { kinds, classes, relations } = workflow.match;
  const match = [placeText(workflow.match.labels), kinds?.join('|'), classes?.join('|'), relations?.join('|')];
  const needed = approvalsNeeded(workflow);
  return `${match.filter((one) => one !== undefined).join(', ')}: ${needed} approval${needed === 1 ? '' : 's'}`;
}
