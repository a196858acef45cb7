/**
 * What the difference calls no widening must be none. The two sets are compared by what they do, on random rules and
 * random cases, with nothing of the code that compared their texts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ruleSetSchema, type RuleSet } from '../config/rules-schema.ts';
import { dutiesOf } from '../identity/bindings.ts';
import { duties as allDuties } from '../identity/principal.ts';
import { compileMasking, predicatesOf, type MaskSpec } from '../masking/policy.ts';
import { ruleDiff } from './rule-diff.ts';
import { progressOf, workflowFor, type StepDecision, type WorkflowSubject } from './workflow.ts';

const none = { connections: [], bindings: [], masking: [], workflows: [], policies: { defaults: true, files: [] } };

function rulesWith(part: object): RuleSet {
  return ruleSetSchema.parse({ ...none, ...part });
}

function isWider(from: RuleSet, to: RuleSet): boolean {
  return ruleDiff(from, to).some((change) => change.effect === 'wider');
}

const groupNames = ['a', 'b', 'c'] as const;
const groups = fc.uniqueArray(fc.constantFrom(...groupNames), { minLength: 1, maxLength: 2 });
const labels = fc.record({ env: fc.constantFrom('p', 't'), data: fc.constantFrom('x', 'y') }, { requiredKeys: [] });
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

/** A set, and one that differs from it in a few places, so that many pairs are near each other. */
function pairOf<T>(item: fc.Arbitrary<T>, maxLength = 3): fc.Arbitrary<[T[], T[]]> {
  const list = fc.array(item, { maxLength });
  const edit = fc.record({
    at: fc.nat(maxLength),
    how: fc.constantFrom('keep', 'drop', 'replace', 'insert', 'swap'),
    item,
  });
  return fc.tuple(list, fc.array(edit, { maxLength: 2 })).map(([before, edits]) => {
    const after = [...before];
    for (const { at, how, item: other } of edits) {
      if (how === 'drop') after.splice(at, 1);
      if (how === 'replace' && at < after.length) after[at] = other;
      if (how === 'insert') after.splice(at, 0, other);
      if (how === 'swap') after.reverse();
    }
    return [before, after];
  });
}

const escalation = fc.record({ afterMs: fc.constantFrom(2, 4), groups, decide: fc.boolean() });
const step = fc.record({
  count: optional(fc.integer({ min: 1, max: 3 })),
  allOf: optional(groups),
  groups: optional(groups),
  timeLimitMs: optional(fc.constantFrom(3, 6)),
  escalation: optional(escalation),
});
const match = fc.record({
  labels,
  kinds: optional(fc.uniqueArray(fc.constantFrom('job', 'statement', 'policy'), { minLength: 1 })),
  classes: optional(fc.uniqueArray(fc.constantFrom('read', 'write'), { minLength: 1 })),
  sensitive: optional(fc.boolean()),
  minRows: optional(fc.constantFrom(1, 10)),
});
const workflow = fc.record({
  match,
  approvals: fc.oneof(
    fc.record({ count: fc.integer({ min: 1, max: 3 }), groups: optional(groups) }),
    fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 2 }) }),
  ),
  strict: fc.boolean(),
  expiresMs: fc.constantFrom(86_400_000, 1_000),
});
const subject: fc.Arbitrary<WorkflowSubject> = fc.record({
  kind: fc.constantFrom('job' as const, 'statement' as const, 'policy' as const),
  labels: fc.record({ env: fc.constantFrom('p', 't'), data: fc.constantFrom('x', 'y') }),
  classes: fc.subarray(['read', 'write', 'unknown'] as const),
  traits: fc.record({ touchesMasked: optional(fc.boolean()), rows: optional(fc.constantFrom(0, 5, 50)) }),
});
const decision = fc.record({ who: fc.nat(5), groups: fc.subarray([...groupNames]), wait: fc.nat(2) });

void test('workflows: who is enough under rules that are not wider was enough before', () => {
  const seen = { compared: 0, complete: 0 };
  fc.assert(
    fc.property(
      pairOf(workflow),
      fc.array(fc.tuple(subject, fc.array(decision, { maxLength: 9 })), { minLength: 6, maxLength: 6 }),
      ([before, after], cases) => {
        const [from, to] = [rulesWith({ workflows: before }), rulesWith({ workflows: after })];
        if (JSON.stringify(from) === JSON.stringify(to) || isWider(from, to)) return;
        seen.compared++;
        for (const [one, decisions] of cases) {
          const [old, next] = [workflowFor(from.workflows, one), workflowFor(to.workflows, one)];
          assert(!old.strict || next.strict, 'strict is off');
          assert(next.expiresMs <= old.expiresMs, 'waits longer');
          const said: StepDecision[] = [];
          let atMs = 0;
          // Only those who may decide are heard, as in the service.
          for (const { who, groups: held, wait } of decisions) {
            atMs += wait;
            const more: StepDecision = { human: `h${who}`, groups: held, verdict: 'approve', atMs };
            const { steps } = progressOf(
              next,
              { openedAtMs: 0, decisions: [...said, more], involved: new Set() },
              atMs,
            );
            if (steps.some((state) => state.approvers.includes(more.human))) said.push(more);
          }
          const all = { openedAtMs: 0, decisions: said, involved: new Set<string>() };
          if (progressOf(next, all, atMs).state !== 'complete') continue;
          seen.complete++;
          assert.equal(progressOf(old, all, atMs).state, 'complete', JSON.stringify({ old, next, said }));
        }
      },
    ),
    { numRuns: 4_000 },
  );
  assert(seen.compared > 100 && seen.complete > 100, JSON.stringify(seen));
});

void test('bindings: nobody gets a duty by rules that are not wider', () => {
  let compared = 0;
  const binding = fc.record({
    group: fc.constantFrom(...groupNames),
    duties: fc.uniqueArray(fc.constantFrom(...allDuties), { minLength: 1 }),
    labels,
  });
  fc.assert(
    fc.property(pairOf(binding, 4), ([before, after]) => {
      const [from, to] = [rulesWith({ bindings: before }), rulesWith({ bindings: after })];
      if (JSON.stringify(from) === JSON.stringify(to) || isWider(from, to)) return;
      compared++;
      for (const held of [['a'], ['b'], ['a', 'b', 'c']]) {
        for (const env of ['p', 't']) {
          for (const data of ['x', 'y']) {
            const [had, has] = [from, to].map(({ bindings }) => dutiesOf({ groups: held }, { env, data }, bindings));
            for (const duty of has ?? []) assert(had?.includes(duty), `${held.join()} get ${duty}`);
          }
        }
      }
    }),
    { numRuns: 3_000 },
  );
  assert(compared > 100, String(compared));
});

const steps = [1, 2, 3, 6];

/** What a mask lets out, as far as that can be told by sets: each letter is something that one can learn. */
function shows(mask: MaskSpec | undefined): Set<string> {
  if (mask === undefined)
    return new Set(['everything', 'r', 'h', 'd', 'm', 'y', ...keptOf(0, longest / 2), ...keptOf(longest / 2, 0)]);
  if (mask === 'null') return new Set();
  if (mask === 'redact') return new Set('r');
  if (mask === 'hash') return new Set('rh');
  if (mask === 'email-domain') return new Set('rd');
  if (mask === 'year') return new Set('ry');
  if (mask === 'last4') return keptOf(0, 4);
  if (mask.kind === 'truncate-date') return new Set(mask.to === 'year' ? 'ry' : 'rym');
  if (mask.kind === 'round')
    return new Set([
      'r',
      ...steps.filter((n) => Number.isInteger(n / mask.to) && (n / mask.to) % 2 === 1).map((n) => `round${n}`),
    ]);
  return keptOf(mask.keepStart, mask.keepEnd);
}

const longest = 8;

/** Places of a text of each length, which is withheld whole if less would be hidden than shown. */
function keptOf(keepStart: number, keepEnd: number): Set<string> {
  const kept = new Set('r');
  for (let length = Math.max(1, 2 * (keepStart + keepEnd)); length <= longest; length++) {
    for (let at = 0; at < length; at++) {
      if (at < keepStart || at >= length - keepEnd) kept.add(`${length}:${at}`);
    }
  }
  return kept;
}

void test('masking: no column shows anything new under rules that are not wider', () => {
  let compared = 0;
  const mask = fc.oneof(
    fc.constantFrom('redact', 'null', 'last4', 'hash', 'email-domain', 'year'),
    fc.record({
      kind: fc.constant('partial'),
      keepStart: fc.integer({ min: 0, max: 2 }),
      keepEnd: fc.integer({ min: 0, max: 2 }),
    }),
    fc.record({ kind: fc.constant('truncate-date'), to: fc.constantFrom('year', 'month') }),
    fc.record({ kind: fc.constant('round'), to: fc.constantFrom(...steps) }),
  );
  const column = fc.record({
    match: fc.constantFrom('ssn', 'mail', '*', 't.*', 't.ssn', 's*', 'public.t.mail'),
    mask,
    predicates: optional(fc.constantFrom('deny', 'is-null', { kind: 'equality', perHour: 3 })),
  });
  const template = fc.record({
    name: fc.constantFrom('one', 'two'),
    appliesTo: labels,
    columns: fc.array(column, { minLength: 1, maxLength: 2 }),
  });
  const hashKey = Buffer.alloc(32);
  fc.assert(
    fc.property(pairOf(template), ([before, after]) => {
      const [from, to] = [rulesWith({ masking: before }), rulesWith({ masking: after })];
      if (JSON.stringify(from) === JSON.stringify(to) || isWider(from, to)) return;
      compared++;
      for (const place of [{ env: 'p', data: 'x' }, { env: 't', data: 'y' }, {}]) {
        const [old, next] = [from, to].map((one) => compileMasking(one.masking, place, { hashKey }));
        for (const [table, name] of [
          ['t', 'ssn'],
          ['t', 'mail'],
          ['u', 'ssn'],
          ['u', 'mail'],
          ['t', 'other'],
        ] as const) {
          const [had, has] = [old, next].map((one) => one?.columnRule('public', table, name));
          if (had === undefined) continue;
          const before = shows(had.mask);
          for (const part of shows(has?.mask))
            assert(before.has(part), `${table}.${name}: ${JSON.stringify([had, has])}`);
          const rank = (rule: typeof had | undefined) => {
            const asked = predicatesOf(rule);
            return typeof asked === 'string' ? ['deny', 'is-null'].indexOf(asked) : -1;
          };
          if (rank(had) >= 0) assert(rank(has) >= 0 && rank(has) <= rank(had), `${table}.${name} may be asked more`);
        }
      }
    }),
    { numRuns: 4_000 },
  );
  assert(compared > 100, String(compared));
});
