/** Spreads rows over time: no more than so many per second, over all workers of a run together. */
export class Throttle {
  readonly #rowsPerSecond: number;
  readonly #nowMs: () => number;
  readonly #sleep: (ms: number) => Promise<void>;
  /** When the rows taken so far will have been paid for. */
  #paidUntilMs: number;

  constructor(rowsPerSecond: number, nowMs: () => number, sleep: (ms: number) => Promise<void>) {
    this.#rowsPerSecond = rowsPerSecond;
    this.#nowMs = nowMs;
    this.#sleep = sleep;
    this.#paidUntilMs = nowMs();
  }

  /** Waits until `rows` rows fit into the rate. Waiters are served in the order of their calls. */
  async take(rows: number): Promise<void> {
    const now = this.#nowMs();
    const from = Math.max(now, this.#paidUntilMs);
    this.#paidUntilMs = from + (rows * 1_000) / this.#rowsPerSecond;
    if (from > now) await this.#sleep(from - now);
  }
}
