/** Randomness that can be repeated: everything that a run does follows from its seed. */

/** The seed of this run: PROPERTY_SEED, or a new one. Whoever fails prints it. */
export function seedOfRun(): number {
  const given = process.env['PROPERTY_SEED'];
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
}

/** How long a property is tried, in milliseconds: PROPERTY_SECONDS for a long run by hand, else `shortMs`. */
export function budgetMs(shortMs: number): number {
  const given = process.env['PROPERTY_SECONDS'];
  return given === undefined ? shortMs : Number(given) * 1000;
}

/** Mulberry32: small, quick, and good enough to choose tests with. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number in [0, below). */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly [T, ...T[]] | readonly T[]): T {
    const chosen = choices[this.below(choices.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }
}

/** One case of a run, by its number, so that a failing one can be repeated by itself. */
export function caseOf(seed: number, index: number): Random {
  return new Random(Math.imul(seed, 2_654_435_761) ^ Math.imul(index + 1, 0x9e3779b1));
}
