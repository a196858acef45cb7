import { PassThrough } from 'node:stream';
import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import type { Change, ChangeTopic } from '../store/changes.ts';
import { caller, dutiesAnywhere, stillCaller, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

export interface EventOptions {
  /** How often a stream says that it is alive. */
  readonly heartbeatMs: number;
  /** How often is looked at whether its listener may still hear it. */
  readonly lookMs: number;
}

/** A burst is told as one; the first change of it waits this long. */
const gatherMs = 200;
/** More ids than this of one topic are told as "something of this topic". */
const maxIds = 50;

/**
 * What changed, as server-sent events (HTML Living Standard, 9.2): `{ topic, id }`, or `{ topic }` where much changed.
 * No data: whoever listens asks again, and is told only what they may see.
 */
export const eventRoutes =
  (services: ApiServices, options: EventOptions): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const { changes, maxEventStreams } = services;
    const openStreams = new Map<string, number>();
    const streams = new Set<ChangeStream>();
    // A server that closes waits for its answers, and these have no end of their own.
    api.addHook('preClose', (done) => {
      for (const stream of streams) stream.end();
      done();
    });

    api.get('/events', async (request, reply) => {
      const principal = await caller(request, services);
      const duties = ['designer', 'approver', 'executor', 'auditor', 'admin'] as const;
      needDuty(principal, dutiesAnywhere(principal, services), duties, 'listen to changes');
      const open = openStreams.get(principal.id) ?? 0;
      if (open >= maxEventStreams) {
        throw new CountersignError('rate_limited', `${principal.id} has ${open} streams of events open`, {
          hint: 'close one; api.maxEventStreams is the limit',
        });
      }
      openStreams.set(principal.id, open + 1);
      const stream = new ChangeStream();
      streams.add(stream);
      const unsubscribe = changes.subscribe(stream);
      const heartbeat = setInterval(() => stream.beat(), options.heartbeatMs);
      // The log-in, or the right to hear, may end while the stream is open: then the stream ends with it.
      let isLooking = false;
      const look = setInterval(() => {
        if (isLooking) return;
        isLooking = true;
        stillCaller(request, services)
          .then((now) => {
            if (now === undefined || dutiesAnywhere(now, services).size === 0) stream.end();
          })
          .catch(() => stream.end())
          .finally(() => (isLooking = false));
      }, options.lookMs);
      stream.body.once('close', () => {
        clearInterval(heartbeat);
        clearInterval(look);
        unsubscribe();
        streams.delete(stream);
        const left = (openStreams.get(principal.id) ?? 1) - 1;
        if (left === 0) openStreams.delete(principal.id);
        else openStreams.set(principal.id, left);
      });
      return reply
        .headers({
          'content-type': 'text/event-stream; charset=utf-8',
          'cache-control': 'no-store',
          // Proxies that gather answers would hold the events back.
          'x-accel-buffering': 'no',
        })
        .send(stream.body);
    });
  };

/** One listener. What it has not read yet is kept as topics and a few ids, whatever happens meanwhile. */
class ChangeStream {
  readonly body = new PassThrough();
  readonly #pending = new Map<ChangeTopic, Set<string>>();
  #timer: NodeJS.Timeout | undefined;
  #missedBeats = 0;

  constructor() {
    this.body.write(': what changed, not what it is\n\n');
    this.body.on('drain', () => this.#flush());
    this.body.once('close', () => clearTimeout(this.#timer));
  }

  changed({ topic, id }: Change): void {
    let ids = this.#pending.get(topic);
    if (ids === undefined) this.#pending.set(topic, (ids = new Set()));
    if (ids.size <= maxIds) ids.add(id);
    this.#timer ??= setTimeout(() => this.#flush(), gatherMs);
  }

  gap(): void {
    for (const topic of ['requests', 'runs', 'sessions'] as const) this.#pending.set(topic, new Set());
    this.#timer ??= setTimeout(() => this.#flush(), gatherMs);
  }

  /** Who has not read for two heartbeats is gone, or will ask for everything when they are back. */
  beat(): void {
    this.#missedBeats = this.body.writableNeedDrain ? this.#missedBeats + 1 : 0;
    if (this.#missedBeats >= 2) this.end();
    else if (!this.body.writableNeedDrain) this.body.write(':\n\n');
  }

  end(): void {
    this.body.end();
    // What an unread stream still holds would keep it open.
    setTimeout(() => this.body.destroy(), 1_000).unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.body.writableEnded || this.body.writableNeedDrain) return;
    const said = [...this.#pending].flatMap(([topic, ids]) =>
      ids.size === 0 || ids.size > maxIds ? [{ topic }] : [...ids].map((id) => ({ topic, id })),
    );
    this.#pending.clear();
    if (said.length > 0) this.body.write(said.map((one) => `data: ${JSON.stringify(one)}\n\n`).join(''));
  }
}
