/** A notifier with a store, a log, people and receivers of its own, for one file of tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach } from 'node:test';
import { grantInputJson } from '../src/approvals/digest.ts';
import type { Asker } from '../src/approvals/standing.ts';
import { encodeEntry, type LogEvent } from '../src/audit/events.ts';
import { logOptions } from '../src/audit/fixtures.ts';
import { TransparencyLog } from '../src/audit/log.ts';
import { readerFor } from '../src/audit/verify.ts';
import { notification, notificationLimits } from '../src/config/review-settings.ts';
import type { NotificationConfiguration, NotificationLimits } from '../src/config/schema.ts';
import { sha256Hex } from '../src/lib/canonical-json.ts';
import { Notifier } from '../src/notify/notifier.ts';
import { peopleOf, type People } from '../src/notify/people.ts';
import { humanKey } from '../src/policy/entities.ts';
import type { RequestState } from '../src/store/database.ts';
import { listPrincipals, upsertPrincipal } from '../src/store/principals.ts';
import { decisionsOf, insertRequest } from '../src/store/requests.ts';
import { person, serviceOf, statementInput, TestClock } from './approval-fixtures.ts';
import { startTestStore, type TestStore } from './control-store.ts';
import { startHttpSink, type HttpSink } from './http-sink.ts';

export const secret = `whsec_${Buffer.from('a secret of thirty-two bytes ...').toString('base64')}`;
/** What a held statement says, and no message may. */
export const literal = '123-45-6789';

/** Connections, and what they are labelled with. */
const places: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  crm: { env: 'prod' },
  hr: { env: 'test' },
};

export class NotifierBench {
  database!: TestStore;
  home!: string;
  sink!: HttpSink;
  clock = new TestClock();
  log!: TransparencyLog;
  notes: object[] = [];
  errors: unknown[] = [];
  requests = 0;
  /** Groups that decide. */
  decidingGroups: readonly string[] | undefined = undefined;
  mayReview: (requestId: string, asker: Asker) => Promise<boolean> = () => Promise.resolve(true);

  async openLog(): Promise<void> {
    this.log = await TransparencyLog.open(logOptions(await mkdtemp(path.join(this.home, 'log-'))));
  }

  async withNotifier(
    receivers: readonly object[],
    work: (notifier: Notifier) => Promise<void>,
    limits: Partial<NotificationLimits> = {},
  ): Promise<void> {
    const notifier = this.notifierOf(receivers, limits);
    try {
      await notifier.work();
      await work(notifier);
    } finally {
      await notifier.close();
      await this.log.close();
    }
  }

  people(removed: readonly string[] = []): People {
    return peopleOf({
      principals: () => listPrincipals(this.database.store),
      removed: () => Promise.resolve(({ id }) => removed.includes(id)),
      bindings: () => [
        { group: 'approvers', duties: ['approver'], labels: { env: 'prod' } },
        { group: 'leads', duties: ['approver'] },
        { group: 'auditors', duties: ['auditor'] },
      ],
      labelsOf: (name) => places[name],
      decidingGroups: () => Promise.resolve(this.decidingGroups),
      decided: async (id) => (await decisionsOf(this.database.store, id)).map(({ human }) => human),
      mayReview: (id, asker) => this.mayReview(id, asker),
      keyOf: humanKey,
      executorOf: () => Promise.resolve('ann'),
    });
  }

  notifierOf(receivers: readonly object[], limits: Partial<NotificationLimits> = {}): Notifier {
    const { log } = this;
    return new Notifier({
      store: this.database.store,
      log: {
        checkpoint: () => log.checkpoint(),
        get publishedSize() {
          return log.publishedSize;
        },
        read: readerFor(log.directory),
      },
      node: 'n1',
      clock: this.clock,
      receivers: receivers.map((one): NotificationConfiguration => notification.parse(one)),
      limits: notificationLimits.parse({ allowLoopback: true, timeoutMs: 1_000, ...limits }),
      labelsOf: (name) => places[name],
      people: this.people(),
      publicUrl: () => 'https://countersign.example.com',
      note: (event) => this.notes.push(event),
      onError: (cause) => this.errors.push(cause),
    });
  }

  webhook(more: object = {}): object {
    return { name: 'hook', kind: 'webhook', url: `${this.sink.url}/hook`, secret, ...more };
  }

  append(event: object): void {
    const at = new Date(this.clock.now()).toISOString();
    this.log.append(encodeEntry({ at, node: 'n1', ...event } as unknown as LogEvent));
  }

  /** A held statement on crm, of dora unless it is said, in the store and in the log. */
  async held(
    more: { expiresMs?: number; inStore?: boolean; who?: string; title?: string; text?: string } = {},
  ): Promise<string> {
    const id = `req_${++this.requests}`;
    const { who = 'dora', text = `select * from customers where ssn = '${literal}'` } = more;
    const digestInputJson = grantInputJson(statementInput(text));
    const createdAt = new Date(this.clock.now());
    const request = {
      id,
      kind: 'statement' as const,
      state: 'pending' as const,
      connection: 'crm',
      title: more.title ?? 'SELECT on customers <!channel>',
      requesterId: who,
      requesterHuman: who,
      authors: [{ human: who, name: who, role: 'requester' as const }],
      job: undefined,
      jobVersion: undefined,
      sessionId: 'ses_1',
      digest: sha256Hex(digestInputJson),
      digestInputJson,
      evidence: {},
      createdAt,
      expiresAt: new Date(createdAt.getTime() + (more.expiresMs ?? 86_400_000)),
      closedAt: undefined,
      stepDueAt: undefined,
      escalatedSteps: 0,
      breakGlass: undefined,
      reviewDueAt: undefined,
      confirmedAt: undefined,
    };
    if (more.inStore !== false) {
      await this.database.store.transaction().execute((transaction) => insertRequest(transaction, request));
    }
    const { kind, connection, authors } = request;
    this.append({ type: 'request.created', request: id, kind, connection, authors, principal: who, human: who });
    return id;
  }

  /** Closed by ann, in the store and in the log. */
  async close(id: string, state: Exclude<RequestState, 'pending'>): Promise<void> {
    await this.database.store.updateTable('requests').set({ state }).where('id', '=', id).execute();
    this.append({ type: 'request.closed', request: id, state, principal: 'ann', human: 'ann' });
  }

  /** Break-glass, asked for by its requester, in the store and in the log. */
  async breakGlass(id: string): Promise<void> {
    const terms = { approvals: 1, reviewers: 2, reviewWithinMs: 3_600_000, duringQuietHours: false };
    const asked = { ...terms, principal: 'dora', human: 'dora', reason: 'fire', at: new Date(0).toISOString() };
    const break_glass = JSON.stringify(asked);
    await this.database.store.updateTable('requests').set({ break_glass }).where('id', '=', id).execute();
    this.append({ type: 'request.break-glass', request: id, reason: 'fire', principal: 'dora', human: 'dora' });
  }

  async turn(notifier: Notifier): Promise<void> {
    await notifier.work();
    await notifier.settled();
  }

  bodies(): { type: string; data: Record<string, unknown> }[] {
    return this.sink.posts.map(({ body }) => JSON.parse(body) as { type: string; data: Record<string, unknown> });
  }
}

/** dora asks; ann, bob (a lead, too) and ann's second account approve; aud audits. */
export function notifierBench(): NotifierBench {
  const bench = new NotifierBench();
  before(async () => {
    bench.database = await startTestStore();
    bench.home = await mkdtemp(path.join(tmpdir(), 'countersign-notify-'));
    bench.sink = await startHttpSink();
    const people = [
      person('dora', ['designers']),
      person('ann', ['approvers']),
      person('bob', ['approvers', 'leads']),
      { ...person('ann2', ['approvers']), human: 'ANN', email: 'ann@example.test' },
      serviceOf('bob', 'bot', ['approvers']),
      person('aud', ['auditors']),
    ];
    for (const one of people) await upsertPrincipal(bench.database.store, one, new Date());
  });
  after(async () => {
    await bench.sink?.close();
    await bench.database?.stop();
    await rm(bench.home, { recursive: true, force: true });
  });
  beforeEach(async () => {
    bench.clock.time = new TestClock().time;
    bench.notes = [];
    bench.errors = [];
    bench.decidingGroups = undefined;
    bench.mayReview = () => Promise.resolve(true);
    bench.sink.posts.splice(0);
    bench.sink.answer = 200;
    for (const table of ['notifications', 'log_cursors', 'grants', 'decisions', 'reviews', 'requests'] as const)
      await bench.database.store.deleteFrom(table).execute();
    await bench.openLog();
  });
  return bench;
}
