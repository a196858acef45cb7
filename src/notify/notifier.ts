/**
 * Notifications: from the log to webhooks, Slack, Teams and e-mail (configuration: `notifications`).
 *
 *     log entry --(follower, one transaction with its cursor)--> waiting --(the receiver took it)--> sent
 *                                                           └---(too many tries, or too old)--> failed, and so in the log
 *
 * Nothing waits for a receiver: what is told of has happened and is in the log before this folder hears of it. Messages
 * are in the control store until they are sent, so a restart loses none; one that was taken just before a crash is
 * sent again, under the same id (at least once). Each receiver has a queue of its own.
 * What a message may say is in `message.ts` and `compose.ts`: never a value of a table, a literal of a statement or a comment.
 */
import type { Transaction } from 'kysely';
import { Webhook } from 'standardwebhooks';
import { touchedBy } from '../approvals/subject.ts';
import { LogFollower, type FollowedLog } from '../audit/follower.ts';
import type { LogEntry } from '../audit/verify.ts';
import { readSecret } from '../config/load.ts';
import type { NotificationConfiguration, NotificationLimits } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import type { Database, Store, StoreOrTransaction } from '../store/database.ts';
import {
  claimDue,
  countWaiting,
  endNotification,
  expiringRequests,
  forgetEnded,
  insertNotifications,
  knownNotifications,
  postpone,
  receiverCounts,
  requestOrigins,
  type NewNotification,
  type NotificationRow,
  type RequestOrigin,
} from '../store/notifications.ts';
import { findRequest } from '../store/requests.ts';
import { compose } from './compose.ts';
import { sendMail } from './mail.ts';
import { mailText, slackBody, teamsBody, webhookBody, type Message } from './message.ts';
import { occurrenceIn, type Occurrence } from './occurrences.ts';
import { post } from './post.ts';
import type { People } from './people.ts';

export interface NotifierOptions {
  readonly store: Store;
  readonly log: FollowedLog;
  readonly node: string;
  readonly clock: Clock;
  readonly receivers: readonly NotificationConfiguration[];
  readonly limits: NotificationLimits;
  readonly labelsOf: (connection: string) => Readonly<Record<string, string>> | undefined;
  readonly people: People;
  /** Address of the page, without a slash at its end. */
  readonly publicUrl: () => string;
  /** Puts an entry into the log that nobody waits for. */
  readonly note: (event: { readonly type: 'notification.failed'; readonly [member: string]: Json | undefined }) => void;
  readonly onError: (cause: unknown) => void;
}

export interface ReceiverStatus {
  readonly name: string;
  readonly kind: NotificationConfiguration['kind'];
  readonly events: readonly string[] | 'all';
  readonly waiting: number;
  readonly sent: number;
  readonly failed: number;
  readonly lastFailure: string | undefined;
}

const messagesAtOnce = 10;
const remindersAtOnce = 500;
const longestRetryMs = 60 * 60_000;
/** What a restart or a clock needs on top of a time-out before somebody else may try. */
const leaseMarginMs = 30_000;
/** How long a message may wait for the store to know what the log tells of. */
const unknownTries = 5;

export class Notifier {
  readonly #options: NotifierOptions;
  readonly #follower: LogFollower;
  readonly #busy = new Map<string, Promise<void>>();
  #working: Promise<void> | undefined;
  #closed = false;
  #reminded: ReadonlySet<string> = new Set();

  constructor(options: NotifierOptions) {
    this.#options = options;
    const { store, log, node } = options;
    this.#follower = new LogFollower({
      store,
      log,
      node,
      consumer: 'notifications',
      // Who turns notifications on wants to hear of what happens from now on.
      startsAtEnd: true,
      handle: (transaction, entries) => this.#enqueue(transaction, entries),
    });
  }

  /** Takes what is new in the log, reminds of what expires, and sends what is due, without waiting for receivers. */
  work(): Promise<void> {
    if (this.#options.receivers.length === 0 || this.#closed) return Promise.resolve();
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
    return this.#working;
  }

  async #work(): Promise<void> {
    const { store, clock, receivers, limits } = this.#options;
    await this.#follower.catchUp();
    await this.#remind();
    const names = receivers.map(({ name }) => name);
    await forgetEnded(store, new Date(clock.now() - limits.keepMs), names);
    for (const receiver of receivers) this.#start(receiver);
  }

  /** Resolves when nothing is being sent. */
  async settled(): Promise<void> {
    await Promise.all(this.#busy.values());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#working?.catch(() => undefined);
    await this.settled();
  }

  async status(): Promise<ReceiverStatus[]> {
    const counts = new Map((await receiverCounts(this.#options.store)).map((row) => [row.receiver, row]));
    return this.#options.receivers.map(({ name, kind, events }) => {
      const { waiting = 0, sent = 0, failed = 0, last_failure = null } = counts.get(name) ?? {};
      return { name, kind, events: events ?? 'all', waiting, sent, failed, lastFailure: last_failure ?? undefined };
    });
  }

  /** Sends a message now. @throws CountersignError `not_found`, `notification_failed` */
  async test(name: string, to: string | undefined): Promise<void> {
    const { clock, publicUrl } = this.#options;
    const receiver = this.#receiver(name);
    if (receiver === undefined) throw new CountersignError('not_found', `there is no receiver ${JSON.stringify(name)}`);
    const recipient = receiver.kind !== 'email' ? undefined : Array.isArray(receiver.to) ? receiver.to[0] : to;
    if (receiver.kind === 'email' && recipient === undefined) {
      throw new CountersignError(
        'notification_failed',
        'nobody is named to send a test message to, and you have no e-mail address',
      );
    }
    const message: Message = {
      event: 'test',
      at: new Date(clock.now()).toISOString(),
      headline: 'A test message of Countersign',
      facts: [['Receiver', name]],
      link: publicUrl(),
      statement: undefined,
      data: { receiver: name },
    };
    const outcome = await this.#send(receiver, recipient, message, newId('msg'));
    if (outcome !== undefined) throw new CountersignError('notification_failed', outcome.reason);
  }

  // ---- into the queue ----

  async #enqueue(transaction: Transaction<Database>, entries: readonly LogEntry[]): Promise<void> {
    const occurrences = entries
      .map((entry) => occurrenceIn(this.#options.node, entry))
      .filter((one) => one !== undefined);
    if (occurrences.length === 0) return;
    const origins = await requestOrigins(
      transaction,
      occurrences.map((one) => one.request).filter((id) => id !== undefined),
    );
    const known: Occurrence[] = [];
    for (const one of occurrences) {
      const origin = one.request === undefined ? undefined : origins.get(one.request);
      known.push(origin === undefined ? one : await withOrigin(transaction, one, origin));
    }
    await this.#put(transaction, known);
  }

  async #remind(): Promise<void> {
    const { store, clock, limits } = this.#options;
    const now = new Date(clock.now());
    const due = await expiringRequests(store, now, limits.expiringMs, remindersAtOnce);
    // What was put once by this node need not be put again at each look.
    const reminders: Occurrence[] = [];
    for (const request of due) {
      const { id, expires_at } = request;
      if (this.#reminded.has(id)) continue;
      const reminder = {
        event: 'request.expiring',
        key: `expiring/${id}`,
        at: now.toISOString(),
        request: id,
      } as const;
      reminders.push(await withOrigin(store, { ...reminder, expiresAt: expires_at.toISOString() }, request));
    }
    await this.#put(store, reminders);
    this.#reminded = new Set(due.map(({ id }) => id));
  }

  async #put(store: StoreOrTransaction, occurrences: readonly Occurrence[]): Promise<void> {
    const { clock, limits, note, people } = this.#options;
    for (const receiver of this.#options.receivers) {
      const wanted = occurrences.filter((one) => this.#wants(receiver, one));
      if (wanted.length === 0) continue;
      const rows: NewNotification[] = [];
      for (const one of wanted) {
        const recipients =
          receiver.kind !== 'email'
            ? [undefined]
            : Array.isArray(receiver.to)
              ? receiver.to
              : await people.concerned(one);
        for (const recipient of recipients) {
          rows.push({
            id: newId('msg'),
            receiver: receiver.name,
            event: one.event,
            dedupe: recipient === undefined ? one.key : `${one.key}/${recipient}`,
            message: one,
            recipient,
            at: new Date(clock.now()),
          });
        }
      }
      // What is in the queue already takes no further place in it.
      const known = await knownNotifications(store, receiver.name, rows);
      const fresh = rows.filter(({ dedupe }) => !known.has(dedupe));
      const room = Math.max(0, limits.maxWaiting - (await countWaiting(store, receiver.name)));
      await insertNotifications(store, fresh.slice(0, room));
      const dropped = fresh.length - room;
      if (dropped > 0) {
        note({
          type: 'notification.failed',
          receiver: receiver.name,
          dropped,
          reason: `more than ${limits.maxWaiting} wait`,
        });
      }
    }
  }

  #wants({ events, match }: NotificationConfiguration, { event, connection, connections }: Occurrence): boolean {
    if (events !== undefined && !events.includes(event)) return false;
    const wanted = Object.entries(match.labels);
    if (wanted.length === 0) return true;
    // A change of the rules is told where any connection that it touches matches.
    return (connections ?? (connection === undefined ? [] : [connection])).some((place) => {
      const labels = this.#options.labelsOf(place);
      return (
        labels !== undefined && wanted.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
      );
    });
  }

  // ---- out of the queue ----

  #start(receiver: NotificationConfiguration): void {
    if (this.#busy.has(receiver.name)) return;
    const work = this.#deliver(receiver)
      .catch(this.#options.onError)
      .finally(() => this.#busy.delete(receiver.name));
    this.#busy.set(receiver.name, work);
  }

  async #deliver(receiver: NotificationConfiguration): Promise<void> {
    const { store, clock, limits } = this.#options;
    while (!this.#closed) {
      const now = clock.now();
      const leaseUntil = new Date(now + messagesAtOnce * limits.timeoutMs + leaseMarginMs);
      const rows = await claimDue(store, receiver.name, new Date(now), leaseUntil, messagesAtOnce);
      for (const [at, row] of rows.entries()) {
        const failure = await this.#deliverOne(receiver, row);
        if (failure === undefined) continue;
        // The receiver is down: the others need not be tried one by one.
        const rest = rows.slice(at + 1).map(({ id }) => id);
        await postpone(store, rest, new Date(clock.now() + this.#retryMs(1)), failure, false);
        return;
      }
      if (rows.length < messagesAtOnce) return;
    }
  }

  /** @returns why nothing more should be tried now */
  async #deliverOne(receiver: NotificationConfiguration, row: NotificationRow): Promise<string | undefined> {
    const { store, clock, limits, publicUrl } = this.#options;
    // A process that ends in the middle of it says no word: what it claimed counts all the same.
    if (row.attempts > limits.attempts) {
      await this.#giveUp(row, 'every attempt at it was broken off');
      return undefined;
    }
    const message = await compose(store, row.message as Occurrence, {
      publicUrl: publicUrl(),
      includeStatement: receiver.includeStatement,
    }).catch(unreadable);
    if (message === 'unreadable') {
      await this.#giveUp(row, 'what it is about cannot be read from the control store');
      return undefined;
    }
    if (message === undefined) {
      // Its entry is in the log a moment before its row is in the store; or the transaction was lost, and nothing happened.
      if (row.attempts >= unknownTries) await this.#giveUp(row, 'the control store does not know of it');
      else
        await postpone(
          store,
          [row.id],
          new Date(clock.now() + this.#retryMs(row.attempts)),
          'not in the store yet',
          true,
        );
      return undefined;
    }
    const outcome = await this.#send(receiver, row.recipient ?? undefined, message, row.id);
    if (outcome === undefined) {
      await endNotification(store, row.id, 'sent', undefined, new Date(clock.now()));
      return undefined;
    }
    const isOld = clock.now() - row.created_at.getTime() >= limits.maxAgeMs;
    if (outcome.isFinal || isOld || row.attempts >= limits.attempts) await this.#giveUp(row, outcome.reason);
    else await postpone(store, [row.id], new Date(clock.now() + this.#retryMs(row.attempts)), outcome.reason, true);
    return outcome.isFinal ? undefined : outcome.reason;
  }

  async #giveUp(row: NotificationRow, reason: string): Promise<void> {
    const { store, clock, note } = this.#options;
    await endNotification(store, row.id, 'failed', reason, new Date(clock.now()));
    const { receiver, event, attempts } = row;
    note({ type: 'notification.failed', receiver, event, message: row.id, attempts, reason });
  }

  /** Twice as long each time, and a little by chance, so that what failed together does not come back together. */
  #retryMs(attempts: number): number {
    const ms = Math.min(this.#options.limits.firstRetryMs * 2 ** (attempts - 1), longestRetryMs);
    return Math.round(ms * (1 + Math.random() / 4));
  }

  /** @returns undefined when the receiver took it */
  async #send(
    receiver: NotificationConfiguration,
    recipient: string | undefined,
    message: Message,
    id: string,
  ): Promise<{ readonly reason: string; readonly isFinal: boolean } | undefined> {
    const { limits, clock } = this.#options;
    try {
      if (receiver.kind === 'email') {
        await sendMail(receiver, recipient ?? '', mailText(message), id, limits.timeoutMs);
        return undefined;
      }
      const body = { webhook: webhookBody, slack: slackBody, teams: teamsBody }[receiver.kind](message);
      const headers = receiver.kind === 'webhook' ? signature(receiver, id, new Date(clock.now()), body) : {};
      const { isTaken, isGone, status } = await post(readSecret(receiver.url), headers, body, limits);
      if (isTaken) return undefined;
      const redirect = status >= 300 && status < 400 ? ', and redirects are not followed' : '';
      return { reason: `the receiver answered HTTP ${status}${redirect}`, isFinal: isGone };
    } catch (cause) {
      if (cause instanceof CountersignError) return { reason: cause.message, isFinal: false };
      // Whatever it is, it must not be tried for ever, nor stand in the way of the others.
      this.#options.onError(cause);
      return { reason: 'it could not be sent: the server log says why', isFinal: false };
    }
  }

  #receiver(name: string): NotificationConfiguration | undefined {
    return this.#options.receivers.find((one) => one.name === name);
  }
}

/** What the store knows of its request. The human is whoever asked: they are told of a decision, and asked for none. */
async function withOrigin(store: StoreOrTransaction, one: Occurrence, origin: RequestOrigin): Promise<Occurrence> {
  const { kind, connection, requester_human: human, authors } = origin;
  const connections = kind === 'policy' ? await connectionsOf(store, one.request ?? '') : undefined;
  return { ...one, kind, connection, connections, human, authors: authors.map((author) => author.human) };
}

/** Those that a change of the rules touches; none where its text was changed in the store. */
async function connectionsOf(store: StoreOrTransaction, requestId: string): Promise<string[] | undefined> {
  const request = await findRequest(store, requestId);
  try {
    return request && touchedBy(request);
  } catch (error) {
    if (error instanceof CountersignError) return [];
    throw error;
  }
}

/** A stored text that is no JSON any more; everything else is the store's trouble and not this message's. */
function unreadable(cause: unknown): 'unreadable' {
  if (cause instanceof SyntaxError) return 'unreadable';
  throw cause;
}

function signature(
  receiver: Extract<NotificationConfiguration, { kind: 'webhook' }>,
  id: string,
  at: Date,
  body: string,
) {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(readSecret(receiver.secret)).sign(id, at, body),
  };
}
