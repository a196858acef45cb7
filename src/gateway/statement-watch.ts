/**
 * Ends statements that run for longer than `limits.statementTimeoutMs`, whatever a session has made of its own
 * `statement_timeout` at the target. One coarse timer looks at all sessions; statements leave nothing but counters.
 *
 * What counts is the target's silence about what was sent to it: from the first look that finds it at work to its next
 * answer, so a statement is never cut too early and at most two looks too late. A target answers the statements of one
 * text, and of one batch up to its Sync, together unless they fill its buffer: then they count together. Rows are no
 * answer here: a client that does not read its result holds its statement open, and with it what the statement has locked.
 *
 * States of what is watched: waiting -> running -> cancelled -> ended; each completion goes back to waiting.
 */
import type { Clock } from '../lib/clock.ts';

export interface WatchedSession {
  /** Changes whenever the target has completed something; undefined = it has nothing to do. */
  working(): number | undefined;
  /** CancelRequest. */
  cancel(): void;
  /** The statement was cancelled and goes on all the same. */
  end(): void;
}

interface State {
  /** What it was working on when it was last looked at. */
  work: number | undefined;
  sinceMs: number;
  cancelledAtMs: number | undefined;
  /** Its client has left; the target may still be working. */
  hasLeft: boolean;
}

const shortestLookMs = 50;
const longestLookMs = 1_000;
const looksPerLimit = 8;
const longestGraceMs = 5_000;

export class StatementWatch {
  readonly #limitMs: number;
  readonly #clock: Clock;
  readonly #sessions = new Map<WatchedSession, State>();
  #timer: NodeJS.Timeout | undefined;

  /** @param limitMs 0 = nothing is watched */
  constructor(limitMs: number, clock: Clock) {
    this.#limitMs = limitMs;
    this.#clock = clock;
  }

  add(session: WatchedSession): void {
    if (this.#limitMs === 0) return;
    this.#sessions.set(session, { work: undefined, sinceMs: 0, cancelledAtMs: undefined, hasLeft: false });
    const everyMs = Math.min(longestLookMs, Math.max(shortestLookMs, this.#limitMs / looksPerLimit));
    this.#timer ??= setInterval(() => this.look(), everyMs).unref();
  }

  /** The session is over. What it left running at the target is cancelled in its time. */
  left(session: WatchedSession): void {
    const state = this.#sessions.get(session);
    if (state === undefined) return;
    if (session.working() === undefined) return this.#forget(session);
    state.hasLeft = true;
    if (state.cancelledAtMs === undefined) return;
    // Code at the target can catch one cancellation; it has to catch another one.
    state.cancelledAtMs = undefined;
    state.sinceMs = this.#clock.now();
  }

  close(): void {
    this.#sessions.clear();
    this.#stop();
  }

  look(): void {
    const nowMs = this.#clock.now();
    for (const [session, state] of this.#sessions) this.#lookAt(session, state, nowMs);
  }

  #lookAt(session: WatchedSession, state: State, nowMs: number): void {
    // Nobody hears the answers to a session that has left: what it did last is taken for what it does.
    const work = state.hasLeft ? (state.work ?? -1) : session.working();
    if (work !== state.work || work === undefined) {
      state.work = work;
      state.sinceMs = nowMs;
      state.cancelledAtMs = undefined;
      return;
    }
    if (state.cancelledAtMs === undefined) {
      if (nowMs - state.sinceMs < this.#limitMs) return;
      state.cancelledAtMs = nowMs;
      session.cancel();
      if (state.hasLeft) this.#forget(session);
      return;
    }
    if (nowMs - state.cancelledAtMs >= Math.min(longestGraceMs, this.#limitMs)) session.end();
  }

  #forget(session: WatchedSession): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) this.#stop();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
