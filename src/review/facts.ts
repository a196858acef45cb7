/** Access as it is at one moment: lines, conflicts, accounts, executions and what became of earlier revocations. */
import type { Duty, Principal } from '../identity/principal.ts';
import type { Clock } from '../lib/clock.ts';
import { heldSince, newestUses, noteHoldings, revokedBefore, type UnreviewedRow } from '../store/access.ts';
import type { Store } from '../store/database.ts';
import type { ServiceAccountRecord } from '../store/service-accounts.ts';
import {
  holdingsOf,
  isUnused,
  revocationOf,
  type AccessWorld,
  type DutyUse,
  type Holding,
  type ReviewedPrincipal,
} from './access.ts';
import { aloneConflicts, pairConflicts, type AloneConflict, type PairConflict } from './conflicts.ts';
import type { ExecutionReport } from './executions.ts';
import type { Finding } from './finding.ts';

export interface AccessViewOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly keyOf: (human: string) => string;
  readonly world: () => Promise<Pick<AccessWorld, 'principals' | 'bindings' | 'connections'>>;
  readonly executions: (ask: { from: Date; connections: readonly string[] }) => Promise<ExecutionReport>;
  /** Chunking commands that the policies let a principal run without an approval, with the rules that do. */
  readonly unapproved: (
    principal: Principal,
    connection: string,
  ) => readonly { action: string; policies: readonly string[] }[];
  /** Database accounts that can do more than their duty needs. */
  readonly accounts: (connections: readonly string[]) => Promise<readonly Finding[]>;
  /** Break-glass uses that wait for their review. */
  readonly breakGlass?: ((connections: readonly string[]) => Promise<readonly UnreviewedRow[]>) | undefined;
  readonly unusedAfterMs: number;
}

export interface BreakGlassUse extends Omit<UnreviewedRow, 'hadPart'> {
  /** Humans who hold a duty that reviews and had no part in it, at most `maxReviewers`; who they are is asked again then. */
  readonly mayReview: readonly string[];
}

export interface ReviewedLine extends Holding {
  readonly unused: boolean;
  readonly heldSince: string | undefined;
}

export interface Unapproved {
  readonly connection: string;
  readonly humans: readonly string[];
  readonly action: string;
  readonly policies: readonly string[];
}

/** A `revoke` of an earlier review, and what became of it. */
export interface FollowUp {
  readonly review: string;
  readonly line: string;
  readonly principal: string;
  readonly connection: string;
  readonly duty: string;
  readonly reviewer: string;
  readonly decidedAt: string;
  readonly state: 'done' | 'still-held';
  readonly remedy: string;
}

/** Everything beside the lines, as it is at one moment. */
export interface AccessFacts {
  readonly connections: readonly string[];
  readonly alone: readonly AloneConflict[];
  readonly pairs: readonly PairConflict[];
  readonly unapproved: readonly Unapproved[];
  readonly accounts: readonly Finding[];
  readonly executions: Pick<
    ExecutionReport,
    'complete' | 'executions' | 'approved' | 'exceptions' | 'exceptionCount' | 'allowedByRule'
  >;
  /** ISO 8601: executions from here on. */
  readonly executionsSince: string;
  readonly followUps: readonly FollowUp[];
  /** Absent where there is no break-glass workflow. */
  readonly breakGlass?: readonly BreakGlassUse[] | undefined;
}

const maxUnapproved = 1_000;
const maxReviewers = 50;
const reviewing: readonly Duty[] = ['approver', 'auditor', 'admin'];

export class AccessView {
  readonly #options: AccessViewOptions;

  constructor(options: AccessViewOptions) {
    this.#options = options;
  }

  /** Notes since when each duty is held. Call it now and then: `unused` counts from there. */
  async observe(): Promise<void> {
    const { store, clock } = this.#options;
    const held = holdingsOf(await this.world()).map((holding) => holding.line);
    await noteHoldings(store, held, new Date(clock.now()));
  }

  async world(): Promise<AccessWorld> {
    const { store, keyOf, world } = this.#options;
    const uses = (await newestUses(store)).map(
      (row): DutyUse => ({
        principal: row.principal_id,
        connection: row.connection,
        duty: row.duty as Duty,
        kind: row.kind as DutyUse['kind'],
        at: row.at,
      }),
    );
    return { ...(await world()), uses, keyOf };
  }

  async lines(world: AccessWorld): Promise<ReviewedLine[]> {
    const { store, clock, unusedAfterMs } = this.#options;
    const since = await heldSince(store);
    return holdingsOf(world).map((holding) => {
      const held = since.get(holding.line);
      const unused = isUnused(holding, held, clock.now(), unusedAfterMs);
      return { ...holding, heldSince: held?.toISOString(), unused };
    });
  }

  async facts(whole: AccessWorld, connections: readonly string[]): Promise<AccessFacts> {
    const { clock, unusedAfterMs, executions, accounts, breakGlass } = this.#options;
    const world = { ...whole, connections: whole.connections.filter(({ name }) => connections.includes(name)) };
    const from = new Date(clock.now() - unusedAfterMs);
    const report = await executions({ from, connections });
    const broken = await breakGlass?.(connections);
    return {
      connections,
      alone: aloneConflicts(world),
      pairs: pairConflicts(world),
      unapproved: this.#unapproved(world),
      accounts: await accounts(connections),
      executions: {
        complete: report.complete,
        executions: report.executions,
        approved: report.approved,
        exceptions: report.exceptions,
        exceptionCount: report.exceptionCount,
        allowedByRule: report.allowedByRule,
      },
      executionsSince: from.toISOString(),
      followUps: await this.#followUps(world),
      ...(broken === undefined ? {} : { breakGlass: withReviewers(broken, world) }),
    };
  }

  #unapproved(world: AccessWorld): Unapproved[] {
    const found = new Map<string, { readonly one: Omit<Unapproved, 'humans'>; readonly humans: Set<string> }>();
    for (const { name } of world.connections) {
      for (const principal of world.principals) {
        for (const { action, policies } of this.#options.unapproved(principal, name)) {
          const one = { connection: name, action, policies };
          const key = JSON.stringify(one);
          const known = found.get(key) ?? { one, humans: new Set<string>() };
          known.humans.add(principal.human);
          found.set(key, known);
        }
      }
    }
    return [...found.values()].map(({ one, humans }) => ({
      ...one,
      humans: [...humans].toSorted().slice(0, maxUnapproved),
    }));
  }

  async #followUps(world: AccessWorld): Promise<FollowUp[]> {
    const { store, clock } = this.#options;
    const held = new Map(holdingsOf(world).map((holding) => [holding.line, holding]));
    const names = new Set(world.connections.map(({ name }) => name));
    const rows = await revokedBefore(store, new Date(clock.now() + 1));
    return rows
      .filter((row) => names.has(row.connection))
      .map((row) => {
        const now = held.get(row.line);
        return {
          review: row.review_id,
          line: row.line,
          principal: row.principal_id,
          connection: row.connection,
          duty: row.duty,
          reviewer: row.reviewer_id ?? '',
          decidedAt: row.decided_at?.toISOString() ?? '',
          state: now === undefined ? 'done' : 'still-held',
          remedy: now === undefined ? '' : revocationOf(now, world.bindings),
        };
      });
  }
}

function withReviewers(uses: readonly UnreviewedRow[], world: AccessWorld): BreakGlassUse[] {
  const holdings = uses.length === 0 ? [] : holdingsOf(world).filter(({ duty }) => reviewing.includes(duty));
  return uses.map(({ hadPart, ...use }) => {
    const parts = new Set(hadPart.map(world.keyOf));
    const others = holdings
      .filter(({ connection, human }) => connection === use.connection && !parts.has(world.keyOf(human)))
      .map(({ human }) => human);
    return { ...use, mayReview: [...new Set(others)].toSorted().slice(0, maxReviewers) };
  });
}

/** Everybody who could come in: who was ever seen, and service accounts that never were; without leavers and dead accounts. */
export function everybody(
  seen: readonly ReviewedPrincipal[],
  configured: readonly {
    readonly name: string;
    readonly owner: string;
    readonly groups?: readonly string[] | undefined;
  }[],
  stored: readonly ServiceAccountRecord[],
  removed: { readonly ids: ReadonlySet<string>; readonly keys: ReadonlySet<string> },
  keyOf: (human: string) => string,
  now: number,
): ReviewedPrincipal[] {
  const works = ({ owner, disabledAt, expiresAt }: ServiceAccountRecord) =>
    owner !== undefined && disabledAt === undefined && (expiresAt === undefined || expiresAt.getTime() > now);
  const dead = new Set(stored.filter((account) => !works(account)).map(({ name }) => name));
  const known = new Set(seen.map(({ id }) => id));
  const own = new Set(configured.map(({ name }) => name));
  const unseen = [...configured, ...stored.filter(({ name }) => !own.has(name))]
    .filter(({ name }) => !known.has(name))
    .map(
      ({ name, owner = '', groups }): ReviewedPrincipal => ({
        id: name,
        human: owner,
        kind: 'service',
        displayName: name,
        email: undefined,
        groups: groups ?? [],
        lastSeenAt: undefined,
      }),
    );
  const gone = new Set([...removed.keys].map(keyOf));
  return [...seen, ...unseen].filter(
    ({ id, human }) => !removed.ids.has(id) && !gone.has(keyOf(human)) && !dead.has(id),
  );
}
