/**
 * People who leave. From the moment that somebody is marked as removed nothing that proves who they are lets them in, and
 * what they have is taken away: log-ins of the page, credentials, live sessions, pending requests, unused grants, service
 * accounts. The mark counts for the human: for every principal of theirs, and for the accounts that they own.
 *
 *     (known) --remove--> removed --(everything taken away)--> finished
 *     removed, finished --reactivate (by the same source)--> (known), with nothing of what they had
 *
 * Taking away does not wait for anything that can fail: the mark is stored first, each step is tried whatever the others
 * do, and what failed is tried again, on every node, until it is done.
 */
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import type { Database, Store, StoreOrTransaction } from '../store/database.ts';
import {
  deleteLeaver,
  findLeaver,
  finishLeaver,
  insertLeaver,
  leaverHumans,
  listLeavers,
  openGrantOwners,
  pendingRequestOwners,
  recentLeavers,
  type LeaverSource,
  type StoredLeaver,
} from '../store/leavers.ts';
import { findPrincipal, listPrincipals } from '../store/principals.ts';
import type { Principal } from './principal.ts';

export interface LeaverEvent {
  readonly type: 'person.removed' | 'person.removal-finished' | 'person.reactivated';
  readonly [member: string]: Json | undefined;
}

/** What takes things away; each may be asked again for what is gone already. */
export interface LeaverSteps {
  readonly endWebSessions: (principalId: string, reason: string, store: StoreOrTransaction) => Promise<number>;
  readonly revokeCredentials: (principalId: string, store: StoreOrTransaction) => Promise<number>;
  /** Live sessions of database clients on this node. Resolves when they are over. */
  readonly endSessions: (principalId: string, error: CountersignError) => Promise<void>;
  readonly withdrawRequest: (requestId: string, reason: string) => Promise<unknown>;
  readonly voidGrant: (grantId: string, reason: string) => Promise<unknown>;
  readonly disableServiceAccounts: (human: string, reason: string) => Promise<number>;
}

export interface LeaversOptions {
  readonly store: Store;
  readonly record: (event: LeaverEvent) => Promise<void>;
  /** Equal for two names exactly when they are one human. */
  readonly humanKey: (human: string) => string;
  readonly steps: LeaverSteps;
  readonly onError: (cause: unknown) => void;
}

export interface Removal {
  readonly principalId: string;
  readonly reason: string;
  readonly source: LeaverSource;
  /** Id of the principal, or the name of the service, that does it. */
  readonly by: string;
}

const maxReasonLength = 1_000;

export class Leavers {
  readonly #options: LeaversOptions;
  /** Human -> their principals that were removed, as of the last `refresh`. */
  #removed: ReadonlyMap<string, readonly string[]> = new Map();

  constructor(options: LeaversOptions) {
    this.#options = options;
  }

  /**
   * Asks the store, so that a removal counts at once and on every node. (That two names are one human, and that one of
   * them was removed, may be known a moment later.)
   * @throws CountersignError `principal_disabled`
   */
  async check({ id, human }: Pick<Principal, 'id' | 'human'>): Promise<void> {
    const { store, humanKey } = this.#options;
    const found = await findLeaver(store, [id, human, ...(this.#removed.get(humanKey(human)) ?? [])]);
    if (found === undefined) return;
    throw disabled(id === found.principalId ? id : `${id} (as ${found.principalId})`);
  }

  /**
   * Marks and takes away. Somebody who was never seen can be removed too, and stays out.
   * @throws CountersignError `input_invalid`; the first thing that failed, after everything else was tried
   */
  async remove(removal: Removal): Promise<void> {
    const reason = reasonOf(removal.reason);
    await this.finish(await this.mark(this.#options.store, { ...removal, reason }));
  }

  /**
   * Only the mark, as a part of somebody's transaction; `finish` has to follow its commit, and the sweep sees to it.
   * @throws CountersignError `input_invalid` for a service account: its owner may be a leaver, it may be disabled
   */
  async mark(store: StoreOrTransaction, { principalId, reason, source, by }: Removal): Promise<StoredLeaver> {
    const known = await findPrincipal(store, principalId);
    if (known?.kind === 'service') {
      throw new CountersignError('input_invalid', `${principalId} is a service account, and no person who can leave`);
    }
    const human = known?.human ?? principalId;
    return insertLeaver(store, { principalId, source, human, reason, removedBy: by });
  }

  /** Takes away what a marked person has, if that was not done. */
  async finish(leaver: StoredLeaver): Promise<void> {
    if (leaver.finishedAt !== undefined) return;
    const { store, record } = this.#options;
    const { principalId, human, reason, source, removedBy } = leaver;
    const about = { principal: principalId, human, source, reason, by: removedBy };
    const failures: unknown[] = [];
    const attempt = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
      try {
        return await work();
      } catch (cause) {
        failures.push(cause);
        return otherwise;
      }
    };
    await attempt(() => this.refresh(), undefined);
    await attempt(() => record({ type: 'person.removed', ...about }), undefined);
    const taken = await this.#takeAway(leaver, attempt);
    if (failures.length > 0) throw failures[0];
    await record({ type: 'person.removal-finished', ...about, ...taken });
    await finishLeaver(store, leaver);
  }

  async #takeAway(
    { principalId, human, reason }: StoredLeaver,
    attempt: <T>(work: () => Promise<T>, otherwise: T) => Promise<T>,
  ) {
    const { store, humanKey, steps } = this.#options;
    const why = `the person was removed: ${reason}`;
    const key = humanKey(human);
    const taken = { webSessions: 0, credentials: 0, requests: 0, grants: 0, serviceAccounts: 0 };
    for (const id of await attempt(() => this.#principalsOf(store, principalId, key), [principalId])) {
      taken.webSessions += await attempt(() => steps.endWebSessions(id, why, store), 0);
      taken.credentials += await attempt(() => steps.revokeCredentials(id, store), 0);
      await attempt(() => steps.endSessions(id, disabled(id)), undefined);
    }
    const requests = await attempt(() => pendingRequestOwners(store), []);
    for (const { id } of requests.filter((one) => humanKey(one.human) === key)) {
      if (await attempt(() => isDone(steps.withdrawRequest(id, why)), false)) taken.requests++;
    }
    const grants = await attempt(() => openGrantOwners(store), []);
    for (const { id } of grants.filter((one) => humanKey(one.human) === key)) {
      if (await attempt(() => isDone(steps.voidGrant(id, why)), false)) taken.grants++;
    }
    taken.serviceAccounts = await attempt(() => steps.disableServiceAccounts(human, why), 0);
    return taken;
  }

  /** Every principal of this human, with the service accounts that they own. */
  async #principalsOf(store: StoreOrTransaction, principalId: string, key: string): Promise<string[]> {
    const { humanKey } = this.#options;
    const known = await listPrincipals(store);
    const theirs = known.filter((one) => humanKey(one.human) === key).map((one) => one.id);
    return [...new Set([principalId, ...theirs])];
  }

  /**
   * Lets somebody in again, with nothing of what they had. What another source said stays.
   * @returns false when this source had not removed them
   */
  async reactivate(removal: Removal): Promise<boolean> {
    return this.#options.store.transaction().execute((transaction) => this.unmark(transaction, removal));
  }

  /**
   * As a part of somebody's transaction. What was issued while they were removed, by a call that had begun before, ends
   * in the same transaction: nobody is let in again before it has.
   */
  async unmark(transaction: Transaction<Database>, { principalId, reason, source, by }: Removal): Promise<boolean> {
    const why = reasonOf(reason);
    const { humanKey, steps, record } = this.#options;
    const mark = await deleteLeaver(transaction, principalId, source);
    if (mark === undefined) return false;
    for (const id of await this.#principalsOf(transaction, principalId, humanKey(mark.human))) {
      await steps.endWebSessions(id, 'opened while the person was removed', transaction);
      await steps.revokeCredentials(id, transaction);
    }
    await record({ type: 'person.reactivated', principal: principalId, source, reason: why, by });
    return true;
  }

  /** Learns who was removed, and who is whom by now. `sweep` does it, too. */
  async refresh(): Promise<void> {
    const { store, humanKey } = this.#options;
    const removed = Map.groupBy(await leaverHumans(store), ({ human }) => humanKey(human));
    this.#removed = new Map([...removed].map(([key, all]) => [key, all.map(({ principalId }) => principalId)]));
  }

  /** Newest first. */
  list(limit = 1_000): Promise<StoredLeaver[]> {
    return listLeavers(this.#options.store, limit);
  }

  /**
   * Call it every second or so: ends the sessions on this node of people whom another node removed, and does again what
   * failed.
   */
  async sweep(): Promise<void> {
    const { store, humanKey, steps, onError } = this.#options;
    await this.refresh();
    for (const leaver of await recentLeavers(store)) {
      if (leaver.isOverdue) {
        await this.finish(leaver).catch(onError);
        continue;
      }
      for (const id of await this.#principalsOf(store, leaver.principalId, humanKey(leaver.human))) {
        await steps.endSessions(id, disabled(id)).catch(onError);
      }
    }
  }
}

/** False for what was over already. */
async function isDone(work: Promise<unknown>): Promise<boolean> {
  try {
    return (await work) !== false;
  } catch (cause) {
    if (cause instanceof CountersignError && cause.code === 'request_not_pending') return false;
    throw cause;
  }
}

function reasonOf(text: string): string {
  const reason = text.trim();
  if (reason !== '' && reason.length <= maxReasonLength && reason.isWellFormed() && !reason.includes('\0'))
    return reason;
  throw new CountersignError('input_invalid', `a reason is needed, of at most ${maxReasonLength} characters`);
}

function disabled(who: string): CountersignError {
  return new CountersignError('principal_disabled', `countersign: ${who} may not come in any more`, {
    hint: 'an administrator, or the identity provider by SCIM, has removed this person; ask them',
  });
}
