import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { makeCertificate } from '../../demo/certificate.ts';
import { person, serviceOf, statementInput, TestClock } from '../../test/approval-fixtures.ts';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { startHttpSink, type HttpSink } from '../../test/http-sink.ts';
import { startSmtpSink, type SmtpSink } from '../../test/smtp-sink.ts';
import { grantInputJson } from '../approvals/digest.ts';
import { encodeEntry, type LogEvent } from '../audit/events.ts';
import { logOptions } from '../audit/fixtures.ts';
import { TransparencyLog } from '../audit/log.ts';
import { readerFor } from '../audit/verify.ts';
import { notification, notificationLimits } from '../config/review-settings.ts';
import type { NotificationConfiguration, NotificationLimits } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { humanKey } from '../policy/entities.ts';
import { upsertPrincipal } from '../store/principals.ts';
import { insertRequest } from '../store/requests.ts';
import { Notifier } from './notifier.ts';
import { peopleOf } from './people.ts';

const secret = `whsec_${Buffer.from('a secret of thirty-two bytes ...').toString('base64')}`;
/** What a held statement says, and no message may. */
const literal = '123-45-6789';

let database: TestStore;
let home: string;
let sink: HttpSink;
let clock: TestClock;
let log: TransparencyLog;
let notes: object[];
let requests = 0;

before(async () => {
  database = await startTestStore();
  home = await mkdtemp(path.join(tmpdir(), 'countersign-notify-'));
  sink = await startHttpSink();
  const people = [
    person('dora', ['designers']),
    person('ann', ['approvers']),
    person('bob', ['approvers', 'leads']),
    { ...person('ann2', ['approvers']), human: 'ANN', email: 'ann@example.test' },
    serviceOf('bob', 'bot', ['approvers']),
    person('aud', ['auditors']),
  ];
  for (const one of people) await upsertPrincipal(database.store, one, new Date());
});

after(async () => {
  await sink?.close();
  await database?.stop();
  await rm(home, { recursive: true, force: true });
});

beforeEach(async () => {
  clock = new TestClock();
  notes = [];
  sink.posts.splice(0);
  sink.answer = 200;
  for (const table of ['notifications', 'log_cursors', 'requests'] as const)
    await database.store.deleteFrom(table).execute();
  log = await TransparencyLog.open(logOptions(await mkdtemp(path.join(home, 'log-'))));
});

async function withNotifier(
  receivers: readonly object[],
  work: (notifier: Notifier) => Promise<void>,
  limits: Partial<NotificationLimits> = {},
): Promise<void> {
  const notifier = notifierOf(receivers, limits);
  try {
    await notifier.work();
    await work(notifier);
  } finally {
    await notifier.close();
    await log.close();
  }
}

function notifierOf(receivers: readonly object[], limits: Partial<NotificationLimits> = {}): Notifier {
  const labelsOf = (name: string) => (name === 'crm' ? { env: 'prod' } : undefined);
  return new Notifier({
    store: database.store,
    log: {
      checkpoint: () => log.checkpoint(),
      get publishedSize() {
        return log.publishedSize;
      },
      read: readerFor(log.directory),
    },
    node: 'n1',
    clock,
    receivers: receivers.map((one): NotificationConfiguration => notification.parse(one)),
    limits: notificationLimits.parse({ allowLoopback: true, timeoutMs: 1_000, ...limits }),
    labelsOf,
    people: peopleOf({
      principals: async () =>
        (await database.store.selectFrom('principals').selectAll().execute()).map((row) => ({
          id: row.id,
          human: row.human,
          kind: row.kind,
          displayName: row.display_name,
          email: row.email ?? undefined,
          groups: row.groups,
        })),
      bindings: () => [
        { group: 'approvers', duties: ['approver'] },
        { group: 'auditors', duties: ['auditor'] },
      ],
      labelsOf,
      connectionNames: () => ['crm'],
      decidingGroups: () => Promise.resolve(undefined),
      keyOf: humanKey,
      executorOf: () => Promise.resolve('ann'),
    }),
    publicUrl: () => 'https://countersign.example.com',
    note: (event) => notes.push(event),
    onError: (cause) => {
      throw cause;
    },
  });
}

const webhook = (more: object = {}) => ({ name: 'hook', kind: 'webhook', url: `${sink.url}/hook`, secret, ...more });

function append(event: object): void {
  const at = new Date(clock.now()).toISOString();
  log.append(encodeEntry({ at, node: 'n1', ...event } as unknown as LogEvent));
}

/** A held statement, of dora unless it is said, in the store and in the log. */
async function held(more: { expiresMs?: number; inStore?: boolean; who?: string } = {}): Promise<string> {
  const id = `req_${++requests}`;
  const { who = 'dora' } = more;
  const digestInputJson = grantInputJson(statementInput(`select * from customers where ssn = '${literal}'`));
  const createdAt = new Date(clock.now());
  const request = {
    id,
    kind: 'statement' as const,
    state: 'pending' as const,
    connection: 'crm',
    title: 'SELECT on customers <!channel>',
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
    await database.store.transaction().execute((transaction) => insertRequest(transaction, request));
  }
  const { kind, connection, authors } = request;
  append({ type: 'request.created', request: id, kind, connection, authors, principal: who, human: who });
  return id;
}

async function turn(notifier: Notifier): Promise<void> {
  await notifier.work();
  await notifier.settled();
}

const bodies = () => sink.posts.map(({ body }) => JSON.parse(body) as { type: string; data: Record<string, string> });

void describe('a webhook', () => {
  it('hears of what happens from then on, signed, once, with a link and without the statement', async () => {
    await held();
    await withNotifier([webhook()], async (notifier) => {
      await turn(notifier);
      assert.equal(sink.posts.length, 0, 'what was before is not told');
      const id = await held();
      append({ type: 'request.closed', request: id, state: 'approved', principal: 'ann', human: 'ann' });
      append({ type: 'request.break-glass', request: id, reason: 'fire', principal: 'dora', human: 'dora' });
      append({ type: 'request.closed', request: id, state: 'withdrawn' });
      append({ type: 'run.completed', run: 'run_1', job: 'export', connection: 'crm', grant: 'g' });
      append({ type: 'run.killed', run: 'run_2', job: 'export', connection: 'crm', grant: 'g' });
      append({ type: 'credential.revoked', user: 'u', principal: 'dora', human: 'dora', by: 'ann' });
      append({
        type: 'credential.revoked',
        user: 'u',
        principal: 'dora',
        human: 'dora',
        by: 'countersign',
        run: 'run_1',
      });
      append({ type: 'review.decided', verdict: 'revoke', holderHuman: 'dora', duty: 'designer', connection: 'crm' });
      append({ type: 'review.decided', verdict: 'keep', holderHuman: 'dora', duty: 'designer', connection: 'crm' });
      await turn(notifier);
      await turn(notifier);
      assert.deepEqual(
        bodies().map(({ type, data }) => [type, data['state']]),
        [
          ['request.created', undefined],
          ['request.decided', 'approved'],
          ['break-glass', undefined],
          ['run.finished', 'completed'],
          ['run.failed', 'killed'],
          ['access.revoked', undefined],
          ['access.revoked', undefined],
        ],
      );
      const [first] = sink.posts;
      assert.ok(first !== undefined);
      const verifier = new Webhook(secret);
      const headers = Object.fromEntries(Object.entries(first.headers).map(([name, value]) => [name, String(value)]));
      const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${first.body}`;
      assert.equal(
        headers['webhook-signature'],
        verifier.sign(
          String(headers['webhook-id']),
          new Date(Number(headers['webhook-timestamp']) * 1_000),
          first.body,
        ),
        signed,
      );
      assert.equal(bodies()[0]?.data['link'], `https://countersign.example.com/requests/${id}`);
      assert.ok(sink.posts.every(({ body }) => !body.includes(literal) && !body.includes('select')));
    });
  });

  it('gets the statement where it asks for it, and no literal of it', async () => {
    await withNotifier([webhook({ includeStatement: true })], async (notifier) => {
      await held();
      await turn(notifier);
      assert.match(sink.posts[0]?.body ?? '', /select \* from customers where ssn = '…'/);
      assert.ok(!sink.posts[0]?.body.includes(literal));
    });
  });

  it('hears of its events and labels only', async () => {
    const receivers = [
      webhook({ name: 'one', url: `${sink.url}/one`, events: ['request.decided'] }),
      webhook({ name: 'two', url: `${sink.url}/two`, match: { labels: { env: 'test' } } }),
      webhook({ name: 'three', url: `${sink.url}/three`, match: { labels: { env: 'prod' } } }),
    ];
    await withNotifier(receivers, async (notifier) => {
      const id = await held();
      append({ type: 'request.closed', request: id, state: 'rejected', principal: 'ann', human: 'ann' });
      await turn(notifier);
      assert.deepEqual(sink.posts.map((one) => one.path).toSorted(), ['/one', '/three', '/three']);
    });
  });

  it('that fails gets the same message again, later and later, until it is given up', async () => {
    await withNotifier(
      [webhook()],
      async (notifier) => {
        sink.answer = 500;
        await held();
        await held();
        await turn(notifier);
        assert.equal(sink.posts.length, 1, 'while it is down the others are not tried');
        await turn(notifier);
        assert.equal(sink.posts.length, 1, 'nor is it tried at once');
        for (const waitMs of [1_250, 2_500]) {
          clock.time += waitMs;
          await turn(notifier);
        }
        const ids = sink.posts.map(({ headers }) => headers['webhook-id']);
        assert.ok(sink.posts.length >= 3);
        clock.time += 60_000;
        sink.answer = 200;
        await turn(notifier);
        await turn(notifier);
        const taken = sink.posts.slice(ids.length).map(({ headers }) => headers['webhook-id']);
        assert.equal(new Set(taken).size, taken.length, 'what was taken is not sent again');
        const [status] = await notifier.status();
        assert.deepEqual([status?.waiting, (status?.sent ?? 0) + (status?.failed ?? 0)], [0, 2]);
      },
      { firstRetryMs: 1_000, attempts: 3 },
    );
  });

  it('that is down for good is given up, and the log knows', async () => {
    await withNotifier(
      [webhook()],
      async (notifier) => {
        sink.answer = 503;
        await held();
        for (let tries = 0; tries < 3; tries++) {
          await turn(notifier);
          clock.time += 3_600_000;
        }
        assert.equal(sink.posts.length, 2);
        assert.deepEqual(
          notes.map((note) => ({ ...note, message: undefined })),
          [
            {
              type: 'notification.failed',
              receiver: 'hook',
              event: 'request.created',
              message: undefined,
              attempts: 2,
              reason: 'the receiver answered HTTP 503',
            },
          ],
        );
      },
      { attempts: 2 },
    );
  });

  it('that is gone (410) is not asked again', async () => {
    await withNotifier([webhook()], async (notifier) => {
      sink.answer = 410;
      await held();
      await turn(notifier);
      clock.time += 3_600_000;
      await turn(notifier);
      assert.equal(sink.posts.length, 1);
      assert.equal(notes.length, 1);
    });
  });

  it('that hangs holds up nobody else', async () => {
    const hanging = await startHttpSink();
    hanging.answer = 'hang';
    try {
      await withNotifier([{ name: 'slow', kind: 'teams', url: hanging.url }, webhook()], async (notifier) => {
        await held();
        await notifier.work();
        for (let tries = 0; tries < 200 && sink.posts.length === 0; tries++) await sleep(5);
        assert.equal(sink.posts.length, 1);
        assert.equal(
          (await notifier.status()).find((one) => one.name === 'slow')?.lastFailure,
          undefined,
          'still waiting',
        );
        await notifier.settled();
        assert.match((await notifier.status()).find((one) => one.name === 'slow')?.lastFailure ?? '', /did not answer/);
      });
    } finally {
      await hanging.close();
    }
  });

  it('loses nothing by a restart, and what another node claimed is its own', async () => {
    sink.answer = 500;
    const first = notifierOf([webhook()]);
    await first.work();
    await held();
    await turn(first);
    await first.close();
    sink.answer = 200;
    sink.posts.splice(0);
    await held();
    clock.time += 3_600_000;
    const [one, other] = [notifierOf([webhook()]), notifierOf([webhook()])];
    await Promise.all([turn(one), turn(other)]);
    await Promise.all([turn(one), turn(other)]);
    assert.deepEqual(
      bodies().map(({ data }) => data['request']),
      [`req_${requests - 1}`, `req_${requests}`],
    );
    await Promise.all([one.close(), other.close()]);
    await log.close();
  });

  it('hears of nothing that the store does not have', async () => {
    await withNotifier([webhook()], async (notifier) => {
      await held({ inStore: false });
      for (let tries = 0; tries < 7; tries++) {
        await turn(notifier);
        clock.time += 3_600_000;
      }
      assert.equal(sink.posts.length, 0);
      assert.match(JSON.stringify(notes), /does not know of it/);
    });
  });

  it('has a queue with an end', async () => {
    await withNotifier(
      [webhook()],
      async (notifier) => {
        sink.answer = 500;
        for (let n = 0; n < 4; n++) await held();
        await turn(notifier);
        assert.deepEqual(notes, [
          { type: 'notification.failed', receiver: 'hook', dropped: 2, reason: 'more than 2 wait' },
        ]);
      },
      { maxWaiting: 2 },
    );
  });

  it('is reminded once of what expires', async () => {
    await withNotifier([webhook({ events: ['request.expiring'] })], async (notifier) => {
      const long = await held({ expiresMs: 86_400_000 });
      const short = await held({ expiresMs: 60_000 });
      await turn(notifier);
      assert.equal(sink.posts.length, 0);
      clock.time += 50_000;
      await turn(notifier);
      await turn(notifier);
      assert.deepEqual(
        bodies().map(({ data }) => data['request']),
        [short],
      );
      clock.time += 86_400_000 - 50_000 - 1_800_000;
      await turn(notifier);
      await turn(notifier);
      assert.deepEqual(
        bodies().map(({ data }) => data['request']),
        [short, long],
      );
    });
  });

  it('can be tried', async () => {
    await withNotifier([webhook(), { name: 'closed', kind: 'slack', url: 'https://10.0.0.1/x' }], async (notifier) => {
      await notifier.test('hook', undefined);
      assert.equal(bodies()[0]?.type, 'test');
      sink.answer = 404;
      await assert.rejects(notifier.test('hook', undefined), /HTTP 404/);
      await assert.rejects(notifier.test('closed', undefined), /private network/);
      await assert.rejects(
        notifier.test('none', undefined),
        (error) => error instanceof CountersignError && error.code === 'not_found',
      );
    });
  });
});

void describe('mail', () => {
  let certificate: Awaited<ReturnType<typeof makeCertificate>>;
  let caFile: string;
  before(async () => {
    certificate = await makeCertificate({ hosts: ['localhost'] });
    caFile = path.join(home, 'ca.crt');
    await writeFile(caFile, certificate.caPem);
  });

  const mail = (server: SmtpSink, more: object = {}, smtp: object = {}) => ({
    name: 'mail',
    kind: 'email',
    from: 'countersign@example.test',
    smtp: { host: 'localhost', port: server.port, caFile, ...smtp },
    ...more,
  });

  async function withSink(offersTls: boolean, work: (server: SmtpSink) => Promise<void>): Promise<void> {
    const tls = { cert: certificate.certPem, key: certificate.keyPem };
    const server = await startSmtpSink(offersTls ? { tls } : {});
    try {
      await work(server);
    } finally {
      await server.close();
    }
  }

  it('goes over TLS to everybody who may decide, each by themselves, and not to who asked', async () => {
    await withSink(true, (server) =>
      withNotifier([mail(server)], async (notifier) => {
        const id = await held();
        await turn(notifier);
        assert.deepEqual(server.mails.map(({ to }) => to).toSorted(), ['ann@example.test', 'bob@example.test']);
        for (const { data, overTls, from } of server.mails) {
          assert.ok(overTls);
          assert.match(from, /countersign@example\.test/);
          assert.ok(data.replaceAll('=\n', '').includes(`/requests/${id}`));
          assert.ok(!data.includes(literal));
          assert.doesNotMatch(data, /<!channel>.*<\/td>/);
        }
        server.mails.splice(0);
        await held({ who: 'BOB' });
        await turn(notifier);
        assert.deepEqual(
          server.mails.splice(0).map(({ to }) => to),
          ['ann@example.test'],
          'an approver who asks is not asked',
        );
        append({ type: 'request.closed', request: id, state: 'approved', principal: 'ann', human: 'ann' });
        append({ type: 'run.completed', run: 'run_1', job: 'export', connection: 'crm', grant: 'g' });
        await turn(notifier);
        assert.deepEqual(
          server.mails.map(({ to }) => to),
          ['dora@example.test', 'ann@example.test'],
        );
      }),
    );
  });

  it('does not go where no TLS is offered, nor to a certificate that nobody trusts', async () => {
    await withSink(false, (server) =>
      withNotifier([mail(server, { to: ['ops@example.test'] })], async (notifier) => {
        await assert.rejects(notifier.test('mail', undefined), /did not take it/);
        assert.equal(server.mails.length, 0);
      }),
    );
    log = await TransparencyLog.open(logOptions(await mkdtemp(path.join(home, 'log-'))));
    await withSink(true, (server) =>
      withNotifier([mail(server, { to: ['ops@example.test'] }, { caFile: undefined })], async (notifier) => {
        await assert.rejects(notifier.test('mail', undefined), /did not take it/);
        assert.equal(server.mails.length, 0);
      }),
    );
  });
});
