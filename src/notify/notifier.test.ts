import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { makeCertificate } from '../../demo/certificate.ts';
import { startHttpSink } from '../../test/http-sink.ts';
import { literal, notifierBench, secret } from '../../test/notifier-bench.ts';
import { startSmtpSink, type SmtpSink } from '../../test/smtp-sink.ts';
import { CountersignError } from '../errors.ts';
import type { Notifier } from './notifier.ts';

const bench = notifierBench();
const webhook = (more: object = {}) => bench.webhook(more);
const append = (event: object) => bench.append(event);
const held = (more: Parameters<typeof bench.held>[0] = {}) => bench.held(more);
const turn = (notifier: Notifier) => bench.turn(notifier);
const bodies = () => bench.bodies();
const notifierOf = (receivers: readonly object[]) => bench.notifierOf(receivers);
const { withNotifier }: Pick<typeof bench, 'withNotifier'> = {
  withNotifier: (receivers, work, limits) => bench.withNotifier(receivers, work, limits),
};

void describe('a webhook', () => {
  it('hears of what happens from then on, signed, once, with a link and without the statement', async () => {
    await held();
    await withNotifier([webhook()], async (notifier) => {
      await turn(notifier);
      assert.equal(bench.sink.posts.length, 0, 'what was before is not told');
      const id = await held();
      await bench.close(id, 'approved');
      await bench.breakGlass(id);
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
      const [first] = bench.sink.posts;
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
      assert.ok(bench.sink.posts.every(({ body }) => !body.includes(literal) && !body.includes('select')));
    });
  });

  it('gets the statement where it asks for it, and no literal of it', async () => {
    await withNotifier([webhook({ includeStatement: true })], async (notifier) => {
      await held();
      await turn(notifier);
      assert.match(bench.sink.posts[0]?.body ?? '', /select \* from customers where ssn = '…'/);
      assert.ok(!bench.sink.posts[0]?.body.includes(literal));
    });
  });

  it('hears of its events and labels only', async () => {
    const receivers = [
      webhook({ name: 'one', url: `${bench.sink.url}/one`, events: ['request.decided'] }),
      webhook({ name: 'two', url: `${bench.sink.url}/two`, match: { labels: { env: 'test' } } }),
      webhook({ name: 'three', url: `${bench.sink.url}/three`, match: { labels: { env: 'prod' } } }),
    ];
    await withNotifier(receivers, async (notifier) => {
      const id = await held();
      await bench.close(id, 'rejected');
      await turn(notifier);
      assert.deepEqual(bench.sink.posts.map((one) => one.path).toSorted(), ['/one', '/three', '/three']);
    });
  });

  it('that fails gets the same message again, later and later, until it is given up', async () => {
    await withNotifier(
      [webhook()],
      async (notifier) => {
        bench.sink.answer = 500;
        await held();
        await held();
        await turn(notifier);
        assert.equal(bench.sink.posts.length, 1, 'while it is down the others are not tried');
        await turn(notifier);
        assert.equal(bench.sink.posts.length, 1, 'nor is it tried at once');
        for (const waitMs of [1_250, 2_500]) {
          bench.clock.time += waitMs;
          await turn(notifier);
        }
        const ids = bench.sink.posts.map(({ headers }) => headers['webhook-id']);
        assert.ok(bench.sink.posts.length >= 3);
        bench.clock.time += 60_000;
        bench.sink.answer = 200;
        await turn(notifier);
        await turn(notifier);
        const taken = bench.sink.posts.slice(ids.length).map(({ headers }) => headers['webhook-id']);
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
        bench.sink.answer = 503;
        await held();
        for (let tries = 0; tries < 3; tries++) {
          await turn(notifier);
          bench.clock.time += 3_600_000;
        }
        assert.equal(bench.sink.posts.length, 2);
        assert.deepEqual(
          bench.notes.map((note) => ({ ...note, message: undefined })),
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
      bench.sink.answer = 410;
      await held();
      await turn(notifier);
      bench.clock.time += 3_600_000;
      await turn(notifier);
      assert.equal(bench.sink.posts.length, 1);
      assert.equal(bench.notes.length, 1);
    });
  });

  it('that hangs holds up nobody else', async () => {
    const hanging = await startHttpSink();
    hanging.answer = 'hang';
    try {
      await withNotifier([{ name: 'slow', kind: 'teams', url: hanging.url }, webhook()], async (notifier) => {
        await held();
        await notifier.work();
        for (let tries = 0; tries < 200 && bench.sink.posts.length === 0; tries++) await sleep(5);
        assert.equal(bench.sink.posts.length, 1);
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
    bench.sink.answer = 500;
    const first = notifierOf([webhook()]);
    await first.work();
    await held();
    await turn(first);
    await first.close();
    bench.sink.answer = 200;
    bench.sink.posts.splice(0);
    await held();
    bench.clock.time += 3_600_000;
    const [one, other] = [notifierOf([webhook()]), notifierOf([webhook()])];
    await Promise.all([turn(one), turn(other)]);
    await Promise.all([turn(one), turn(other)]);
    assert.deepEqual(
      bodies().map(({ data }) => data['request']),
      [`req_${bench.requests - 1}`, `req_${bench.requests}`],
    );
    await Promise.all([one.close(), other.close()]);
    await bench.log.close();
  });

  it('hears of nothing that the store does not have', async () => {
    await withNotifier([webhook()], async (notifier) => {
      await held({ inStore: false });
      for (let tries = 0; tries < 7; tries++) {
        await turn(notifier);
        bench.clock.time += 3_600_000;
      }
      assert.equal(bench.sink.posts.length, 0);
      assert.match(JSON.stringify(bench.notes), /does not know of it/);
    });
  });

  it('hears of an escalation and of a late review once each, and of rules where a connection that they touch matches', async () => {
    await withNotifier([webhook({ match: { labels: { env: 'prod' } } })], async (notifier) => {
      const id = await held();
      await bench.breakGlass(id);
      await bench.database.store
        .updateTable('requests')
        .set((row) => ({ escalated_steps: 1, break_glass: row.val(JSON.stringify({ lateAt: 'now' })) }))
        .where('id', '=', id)
        .execute();
      for (let twice = 0; twice < 2; twice++) {
        append({ type: 'request.escalated', request: id, step: 1, groups: ['leads'], decide: false });
        append({ type: 'request.review-late', request: id, reviewers: 2, given: 0 });
      }
      append({ type: 'request.escalated', request: id, step: 2, groups: ['leads'], decide: false });
      await turn(notifier);
      const types = bodies().map(({ type }) => type);
      assert.deepEqual(types, ['request.created', 'break-glass', 'request.escalated', 'request.review-late']);
      const rules = { type: 'request.created', kind: 'policy', connection: '', authors: [], human: 'dora' };
      append({ ...rules, request: 'req_rules', connections: ['hr', 'crm'] });
      append({ ...rules, request: 'req_other', connections: ['hr'] });
      await turn(notifier);
      assert.equal((await notifier.status())[0]?.waiting, 2, 'one of the rules, and the step that did not wait');
    });
  });

  it('is about people who may do something now', async () => {
    const of = (more: object, removed: string[] = []) =>
      bench
        .people(removed)
        .concerned({ event: 'request.created', key: 'k', at: '', connection: '', human: 'dora', ...more });
    const [ann, bob, aud] = ['ann@example.test', 'bob@example.test', 'aud@example.test'];
    assert.deepEqual((await of({ connections: ['crm'] })).toSorted(), [ann, bob]);
    assert.deepEqual(await of({ connections: ['crm', 'hr'] }), [bob]);
    assert.deepEqual(await of({ connections: ['crm'] }, ['bob']), [ann]);
    const late = { event: 'request.escalated', connection: 'crm' };
    assert.deepEqual(await of({ ...late, decide: true, groups: ['leads', 'auditors'] }), [bob]);
    assert.deepEqual((await of({ ...late, decide: false, groups: ['leads', 'auditors'] })).toSorted(), [aud, bob]);
    bench.mayReview = (_, { principal }) => Promise.resolve(principal.id !== 'bob');
    assert.deepEqual((await of({ event: 'request.review-late', connection: 'crm' })).toSorted(), [ann, aud]);
  });

  it('has a queue with an end', async () => {
    await withNotifier(
      [webhook()],
      async (notifier) => {
        bench.sink.answer = 500;
        for (let n = 0; n < 4; n++) await held();
        await turn(notifier);
        assert.deepEqual(bench.notes, [
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
      assert.equal(bench.sink.posts.length, 0);
      bench.clock.time += 50_000;
      await turn(notifier);
      await turn(notifier);
      assert.deepEqual(
        bodies().map(({ data }) => data['request']),
        [short],
      );
      bench.clock.time += 86_400_000 - 50_000 - 1_800_000;
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
      bench.sink.answer = 404;
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
    caFile = path.join(bench.home, 'ca.crt');
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
        await bench.close(id, 'approved');
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
    await bench.openLog();
    await withSink(true, (server) =>
      withNotifier([mail(server, { to: ['ops@example.test'] }, { caFile: undefined })], async (notifier) => {
        await assert.rejects(notifier.test('mail', undefined), /did not take it/);
        assert.equal(server.mails.length, 0);
      }),
    );
  });
});
