import { CountersignError } from '../errors.ts';

/** Whoever counts sessions; it may be in another process. */
export interface SeatKeeper {
  /** @throws (rejects) CountersignError `too_many_sessions` */
  check(): Promise<void>;
  /** @returns gives the seat back @throws (rejects) CountersignError `too_many_sessions` */
  take(principalId: string): Promise<() => void>;
}

/** How many sessions there may be, in all and of one principal. A seat is taken before a target is reached. */
export class Seats {
  readonly #limits: { readonly maxSessions: number; readonly maxSessionsPerPrincipal: number };
  readonly #taken = new Map<string, number>();
  #total = 0;

  constructor(limits: { readonly maxSessions: number; readonly maxSessionsPerPrincipal: number }) {
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** @throws CountersignError `too_many_sessions` */
  check(): void {
    if (this.#total < this.#limits.maxSessions) return;
    throw tooMany('too many sessions are open', 'maxSessions');
  }

  /**
   * @returns gives the seat back; further calls do nothing
   * @throws CountersignError `too_many_sessions`
   */
  take(principalId: string): () => void {
    this.check();
    const own = this.#taken.get(principalId) ?? 0;
    if (own >= this.#limits.maxSessionsPerPrincipal) {
      throw tooMany(`${principalId} already has ${own} sessions`, 'maxSessionsPerPrincipal');
    }
    this.#taken.set(principalId, own + 1);
    this.#total++;
    let isGivenBack = false;
    return () => {
      if (isGivenBack) return;
      isGivenBack = true;
      this.#total--;
      const left = (this.#taken.get(principalId) ?? 1) - 1;
      if (left === 0) this.#taken.delete(principalId);
      else this.#taken.set(principalId, left);
    };
  }
}

/** The seats of this very process. */
export function seatKeeper(seats: Seats): SeatKeeper {
  return {
    check: async () => seats.check(),
    take: async (principalId) => seats.take(principalId),
  };
}

export function tooMany(what: string, limit: string): CountersignError {
  return new CountersignError('too_many_sessions', `countersign: ${what}`, {
    hint: `close sessions, try again later, or raise gateway.limits.${limit}`,
  });
}
