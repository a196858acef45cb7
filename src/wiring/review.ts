/** What looks back at who could do what, and at what was done: executions, access reviews, doctor; and who is told. */
import type { BreakGlassService } from '../approvals/break-glass.ts';
import type { TransparencyLog } from '../audit/log.ts';
import type { RuleSet } from '../config/rules-schema.ts';
import type { CountersignError } from '../errors.ts';
import type { LiveRules } from '../gateway/data-plane.ts';
import { accessWorld, examination, unapprovedOf } from '../gateway/examination.ts';
import type { Humans } from '../identity/humans.ts';
import type { Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { notifierFor } from '../notify/setup.ts';
import { examineAccounts } from '../review/doctor.ts';
import { Executions } from '../review/executions.ts';
import { AccessView } from '../review/facts.ts';
import { AccessReviews } from '../review/reviews.ts';
import { unreviewedBreakGlass } from '../store/access.ts';
import type { Store } from '../store/database.ts';
import { followedLog } from './log.ts';

export interface ReviewParts {
  readonly store: Store;
  readonly log: TransparencyLog;
  readonly node: string;
  readonly clock: Clock;
  readonly humans: Humans;
  readonly record: (entry: { readonly type: string; readonly [member: string]: Json | undefined }) => Promise<void>;
  readonly rules: LiveRules;
  readonly breakGlass: BreakGlassService;
  readonly fileRules: RuleSet;
  readonly configurationFile: string | undefined;
  readonly publicUrl: () => string;
  readonly note: Parameters<typeof notifierFor>[0]['note'];
  readonly onError: (cause: unknown) => CountersignError;
}

export function wireReview(parts: ReviewParts) {
  const { store, log, node, clock, humans, record, rules, fileRules } = parts;
  const { configurationFile, publicUrl, note, onError } = parts;
  const keyOf = (human: string) => humans.keyOf(human);
  const executions = new Executions({
    store,
    log: followedLog(log),
    node,
    keyOf,
  });
  const examined = () =>
    examination({
      configuration: rules.configuration,
      configurationFile,
      connections: rules.connections,
      store,
      now: () => clock.now(),
      keyOf,
      fileRules,
    });
  const view = new AccessView({
    store,
    clock,
    keyOf,
    world: () => accessWorld(rules.configuration, store, keyOf),
    executions: (ask) => executions.report(ask),
    unapproved: unapprovedOf(
      () => rules.policies,
      () => rules.configuration,
    ),
    accounts: (names) => examineAccounts(examined(), names),
    breakGlass: async (names) => (await unreviewedBreakGlass(store)).filter((one) => names.includes(one.connection)),
    unusedAfterMs: rules.configuration.review.unusedAfterMs,
  });
  const notifier = notifierFor({
    store,
    log: followedLog(log),
    node,
    clock,
    configuration: () => rules.configuration,
    keyOf,
    mayReview: (requestId, asker) => parts.breakGlass.mayReview(requestId, asker),
    publicUrl,
    note,
    onError,
  });
  const reviews = new AccessReviews({ store, record, clock, humans, view });
  return { executions, view, notifier, reviews, examined };
}
