/**
 * The rules in force, and their changes. The configuration file gives the first rules; once a version was applied, the
 * newest version in the store counts on every node, whatever its file says.
 *
 *     apply --(nothing gets wider)--> a version, at once
 *     apply --(something does)------> a request of kind `policy` --(approved)--> a version, or void when other rules
 *                                                                                are in force by then
 *
 * A version is written to the log before it is committed, and takes effect after that, on each node as it sees it.
 */
import { sql, type Transaction } from 'kysely';
import type pg from 'pg';
import { rulesFromFiles, type RuleFile } from '../config/rules.ts';
import { ruleSetSchema, type RuleSet } from '../config/rules-schema.ts';
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { canonicalJson, digestOf, sha256Hex } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { mayAct } from '../policy/duty.ts';
import type { PolicySet } from '../policy/engine.ts';
import type { PolicyConnection } from '../policy/entities.ts';
import type { Database, Store, StoreOrTransaction } from '../store/database.ts';
import {
  insertPolicyVersion,
  latestPolicyNumber,
  latestPolicyVersion,
  lockPolicies,
  policyVersion,
  policyVersions,
  type PolicyVersion,
} from '../store/policies.ts';
import type { RequestRecord } from '../store/requests.ts';
import type { RuleChanger } from './approving.ts';
import { actor, type RecordEvent } from './events.ts';
import { dutiesOnAll, type PolicyChange, type PolicyInput } from './policy-input.ts';
import { refusalError, refusalMembers, refusalOf } from './refusal.ts';
import type { RequestService } from './requests.ts';
import { checkRules, warningsOf, type PlacedConnection } from './rule-check.ts';
import { isWithin, type RuleChange } from './rule-change.ts';
import { ruleDiff } from './rule-diff.ts';
import { requestChannel, RequestWatcher } from './watcher.ts';

export interface RulesInForce {
  /** 0 = the configuration file's; nothing was applied yet. */
  readonly number: number;
  readonly digest: string;
  readonly rules: RuleSet;
}

export interface RuleServiceOptions {
  readonly store: Store;
  /** Its settings open the one connection that listens for new versions. */
  readonly pool: pg.Pool;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly policySet: () => PolicySet;
  readonly requests: RequestService;
  /** Those of the configuration file. */
  readonly configured: () => readonly PlacedConnection[];
  readonly dutiesOn: (principal: Principal, connection: string) => readonly Duty[];
  readonly inForce: RulesInForce;
  readonly fileRules: RuleSet;
  /** Puts rules into force on this node, whole or not at all. */
  readonly activate: (inForce: RulesInForce) => void;
  readonly onError: (cause: unknown) => void;
  /** How often a node looks by itself. Default 1000. */
  readonly pollMs?: number | undefined;
}

export interface RuleAsk {
  readonly principal: Principal;
  readonly files: readonly RuleFile[];
  readonly message: string;
  readonly dryRun: boolean;
  /** Digest of the rules that the difference was shown against; others in force now are an error. */
  readonly base: string | undefined;
}

export interface RuleAnswer {
  readonly outcome: 'unchanged' | 'dry-run' | 'applied' | 'requested';
  readonly from: { readonly version: number; readonly digest: string };
  readonly to: string;
  readonly effect: PolicyChange['effect'];
  readonly changes: readonly PolicyChange[];
  readonly connections: readonly string[];
  readonly warnings: readonly string[];
  /** The new version, where it was applied. */
  readonly version?: number;
  /** The request that somebody else has to decide. */
  readonly request?: string;
}

const rulesTopic = 'rules';
const maxMessageLength = 4_000;

/** What counts at start. @throws configuration_invalid when the store's rules are not what this program can read */
export async function rulesInForce(store: Store, fileRules: RuleSet): Promise<RulesInForce> {
  const latest = await latestPolicyVersion(store);
  return latest === undefined ? { number: 0, digest: ruleDigest(fileRules), rules: fileRules } : inForceOf(latest);
}

export class RuleService implements RuleChanger {
  readonly #options: RuleServiceOptions;
  readonly #watcher: RequestWatcher;
  readonly #closing = new AbortController();
  #current: RulesInForce;
  #fileRules: RuleSet;
  #refreshing: Promise<void> = Promise.resolve();
  #failed = 0;

  constructor(options: RuleServiceOptions) {
    this.#options = options;
    this.#current = options.inForce;
    this.#fileRules = options.fileRules;
    this.#watcher = new RequestWatcher(options.pool.options);
  }

  get inForce(): RulesInForce {
    return this.#current;
  }

  get fileRules(): RuleSet {
    return this.#fileRules;
  }

  /** What applying the configuration file's rules would change; empty before anything was applied. */
  get fileDifference(): readonly PolicyChange[] {
    const { number, rules } = this.#current;
    // Connections that were added are in no file.
    return number === 0 ? [] : plain(ruleDiff(rules, { ...this.#fileRules, connections: rules.connections }));
  }

  /** Follows the store until `close`. */
  watch(): void {
    const { pollMs, onError } = this.#options;
    const { signal } = this.#closing;
    const subscription = this.#watcher.subscribe(rulesTopic);
    const follow = async () => {
      while (!signal.aborted) {
        await subscription.next(pollMs ?? 1_000, signal);
        if (!signal.aborted) await this.applied().catch(onError);
      }
    };
    follow().catch(onError);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watcher.close();
    await this.#refreshing.catch(() => undefined);
  }

  /** The configuration file was read again. It counts as long as nothing was applied. */
  fileChanged(fileRules: RuleSet): RulesInForce {
    if (this.#current.number === 0) {
      this.#current = { number: 0, digest: ruleDigest(fileRules), rules: fileRules };
    }
    this.#fileRules = fileRules;
    return this.#current;
  }

  /** @throws policy_invalid, policy_conflict, duty_missing, forbidden, input_invalid, log_unavailable */
  async change(ask: RuleAsk): Promise<RuleAnswer> {
    const { principal, message } = ask;
    if (message.length > maxMessageLength || message.includes('\0')) {
      throw new CountersignError('input_invalid', `a message has at most ${maxMessageLength} characters and no NUL`);
    }
    await this.applied();
    const from = this.#current;
    if (ask.base !== undefined && ask.base !== from.digest) throw conflict();
    const content = rulesFromFiles(ask.files, from.rules);
    this.#check(content);
    const changes = ruleDiff(from.rules, content);
    const touched = touchedBy(changes, [...this.#options.configured(), ...from.rules.connections]);
    const effects = new Set(changes.map((change) => change.effect));
    const answer = {
      from: { version: from.number, digest: from.digest },
      to: ruleDigest(content),
      effect: effects.has('wider') ? 'wider' : effects.has('narrower') ? 'narrower' : 'same',
      changes: plain(changes),
      connections: touched,
      warnings: warningsOf(content, this.#options.configured()),
    } as const;
    if (changes.length === 0) return { ...answer, outcome: 'unchanged' };
    if (ask.dryRun) return { ...answer, outcome: 'dry-run' };
    const duties = dutiesOnAll(principal, touched, this.#options.dutiesOn);
    await this.#refuse(principal, duties, answer.to);
    if (answer.effect !== 'wider') {
      const version = await this.#applyNow(from, content, principal, message, answer.changes);
      return { ...answer, outcome: 'applied', version };
    }
    const input: PolicyInput = {
      kind: 'policy',
      from: from.digest,
      to: answer.to,
      content,
      changes: answer.changes,
      connections: touched,
    };
    const request = await this.#options.requests.create({
      requester: principal,
      duties,
      connection: '',
      title: titleOf(changes),
      input,
      evidence: { message, fromVersion: from.number, warnings: answer.warnings },
    });
    return { ...answer, outcome: 'requested', request: request.id };
  }

  /** An approved change, inside the transaction of its last approval. Returns why it is not applied. */
  async apply(
    transaction: Transaction<Database>,
    request: RequestRecord,
    input: PolicyInput,
    approvedBy: readonly string[],
  ): Promise<string | undefined> {
    await lockPolicies(transaction);
    const latest = await this.#latest(transaction);
    if (latest.digest !== input.from) {
      return `it was made against other rules than those that are in force now (version ${latest.number})`;
    }
    if (ruleDigest(input.content) !== input.to) return 'its content does not have its digest';
    try {
      // It may be of before there was something that every set of rules has now.
      this.#check(ruleSetSchema.parse(input.content));
    } catch (error) {
      if (error instanceof CountersignError) return `the rules cannot be used: ${error.message}`;
      throw error;
    }
    const { message = '' } = request.evidence as { message?: string };
    await this.#insert(transaction, latest, input, {
      by: { principal: request.requesterId, human: request.requesterHuman },
      message,
      requestId: request.id,
      approvedBy,
    });
    return undefined;
  }

  /** Resolves when the newest version is in force here. */
  applied(): Promise<void> {
    this.#refreshing = this.#refreshing.catch(() => undefined).then(() => this.#refresh());
    return this.#refreshing;
  }

  /** Newest first. */
  history(filter: { readonly before?: number | undefined; readonly limit: number }): Promise<PolicyVersion[]> {
    return policyVersions(this.#options.store, filter);
  }

  /** @param number 0 = the configuration file's rules of this node @throws policy_version_unknown */
  async version(number: number): Promise<PolicyVersion> {
    const found = await policyVersion(this.#options.store, number);
    if (found !== undefined) return found;
    throw new CountersignError('policy_version_unknown', `there is no version ${number} of the rules`);
  }

  /** @throws policy_version_unknown */
  async difference(from: number, to: number): Promise<readonly PolicyChange[]> {
    const [before, after] = [await this.version(from), await this.version(to)];
    return plain(ruleDiff(inForceOf(before).rules, inForceOf(after).rules));
  }

  /** @throws policy_invalid */
  #check(rules: RuleSet): void {
    checkRules(rules, this.#options.configured());
  }

  async #refuse(principal: Principal, duties: readonly Duty[], digest: string): Promise<void> {
    const { policySet, record } = this.#options;
    const refused = refusalOf(mayAct(policySet(), { principal, duties }, 'change-policy', undefined));
    if (refused === undefined) return;
    await record({ type: 'policy.refused', digest, ...actor(principal), ...refusalMembers(refused) });
    throw refusalError(refused);
  }

  /** What only narrows needs nobody else. */
  async #applyNow(
    from: RulesInForce,
    content: RuleSet,
    principal: Principal,
    message: string,
    changes: readonly PolicyChange[],
  ): Promise<number> {
    const number = await this.#options.store.transaction().execute(async (transaction) => {
      await lockPolicies(transaction);
      const latest = await this.#latest(transaction);
      if (latest.digest !== from.digest) throw conflict();
      const to = { content, to: ruleDigest(content), changes };
      return this.#insert(transaction, latest, to, {
        by: actor(principal),
        message,
        requestId: undefined,
        approvedBy: [],
      });
    });
    await this.applied();
    return number;
  }

  async #insert(
    transaction: Transaction<Database>,
    latest: RulesInForce,
    { content, to, changes }: Pick<PolicyInput, 'content' | 'to' | 'changes'>,
    about: {
      readonly by: { readonly principal: string; readonly human: string };
      readonly message: string;
      readonly requestId: string | undefined;
      readonly approvedBy: readonly string[];
    },
  ): Promise<number> {
    const { record, clock } = this.#options;
    const appliedAt = new Date(clock.now());
    const { by, message, requestId, approvedBy } = about;
    const first: PolicyVersion = {
      number: 1,
      digest: latest.digest,
      contentJson: ruleJson(latest.rules),
      appliedBy: 'countersign',
      appliedHuman: '',
      appliedAt,
      message: 'the rules of the configuration file, which were in force until now',
      requestId: undefined,
    };
    if (latest.number === 0) await insertPolicyVersion(transaction, first);
    const number = Math.max(latest.number, 1) + 1;
    await insertPolicyVersion(transaction, {
      number,
      digest: to,
      contentJson: ruleJson(content),
      appliedBy: by.principal,
      appliedHuman: by.human,
      appliedAt,
      message,
      requestId,
    });
    await sql`select pg_notify(${requestChannel}, ${rulesTopic})`.execute(transaction);
    await record({
      type: 'policy.applied',
      version: number,
      digest: to,
      from: latest.digest,
      message,
      request: requestId,
      approvedBy,
      changes: changes.map(({ part, effect, what }) => ({ part, effect, what })),
      ...by,
    });
    return number;
  }

  async #latest(store: StoreOrTransaction): Promise<RulesInForce> {
    const latest = await latestPolicyVersion(store);
    if (latest !== undefined) return inForceOf(latest);
    return { number: 0, digest: ruleDigest(this.#fileRules), rules: this.#fileRules };
  }

  async #refresh(): Promise<void> {
    const { store, activate } = this.#options;
    const newest = await latestPolicyNumber(store);
    if (newest <= this.#current.number || newest === this.#failed) return;
    const latest = await latestPolicyVersion(store);
    if (latest === undefined) return;
    // Said once, not at every look: these rules will not become readable by being read again.
    this.#failed = newest;
    const inForce = inForceOf(latest);
    activate(inForce);
    this.#failed = 0;
    this.#current = inForce;
  }
}

function ruleJson(rules: RuleSet): string {
  return canonicalJson(rules);
}

export function ruleDigest(rules: RuleSet): string {
  return digestOf(rules);
}

function inForceOf({ number, digest, contentJson }: PolicyVersion): RulesInForce {
  if (sha256Hex(contentJson) !== digest) {
    throw new CountersignError('configuration_invalid', `version ${number} of the rules does not have its digest`, {
      hint: 'somebody changed the control store; look into how this happened',
    });
  }
  const parsed = ruleSetSchema.safeParse(JSON.parse(contentJson));
  if (parsed.success) return { number, digest, rules: parsed.data };
  throw new CountersignError(
    'configuration_invalid',
    `version ${number} of the rules in the store is not what this version of Countersign reads: ${parsed.error.message}`,
  );
}

/** A change whose labels no connection has counts for all of them. */
function touchedBy(changes: readonly RuleChange[], connections: readonly PolicyConnection[]): string[] {
  const names = new Set<string>();
  for (const { labels } of changes) {
    const found = connections.filter((connection) => labels !== undefined && isWithin(connection.labels, labels));
    for (const { name } of found.length === 0 ? connections : found) names.add(name);
  }
  return [...names].toSorted();
}

function plain(changes: readonly RuleChange[]): PolicyChange[] {
  return changes.map(({ part, effect, what, why }) => ({ part, effect, what, ...(why === undefined ? {} : { why }) }));
}

function titleOf(changes: readonly RuleChange[]): string {
  const wider = changes.filter((change) => change.effect === 'wider');
  const more = wider.length > 1 ? ` and ${wider.length - 1} more` : '';
  return `change of rules: ${(wider[0]?.what ?? '').slice(0, 150)}${more}`;
}

function conflict(): CountersignError {
  return new CountersignError('policy_conflict', 'other rules are in force than those that this was compared with', {
    hint: 'look at the difference again: countersign apply --dry-run',
  });
}
