/**
 * One registered connection as the gate sees it: labels, masking rules, and the newest picture of the target's
 * catalogue together with everything that was worked out from it. A new catalogue is a new snapshot, so nothing
 * derived from an old one can be used by accident.
 */
import type { Clock } from '../lib/clock.ts';
import type { ConnectionMasking } from '../masking/policy.ts';
import { buildMaskIndex, type MaskIndex } from '../masking/mask-index.ts';
import { viewLineage } from '../sql/lineage.ts';
import type { Catalogue } from '../sql/statement.ts';

export interface CatalogueSource {
  /** A short text that changes whenever the catalogue may have changed. Cheap. */
  fingerprint(): Promise<string>;
  load(): Promise<Catalogue>;
}

export interface CatalogueSnapshot {
  readonly catalogue: Catalogue;
  readonly maskIndex: MaskIndex;
  /** No column is masked, and no detector is configured. */
  readonly nothingMasked: boolean;
  /** Caches of whoever works on this snapshot, by a key of theirs. They die with it. */
  readonly caches: Map<string, Map<string, unknown>>;
}

export interface GateConnectionOptions {
  readonly name: string;
  readonly engine: 'postgres';
  readonly labels: Readonly<Record<string, string>>;
  readonly masking: ConnectionMasking;
  readonly source: CatalogueSource;
  readonly clock: Clock;
  readonly catalogueTtlMs: number;
  /** Tells whoever else has a picture of this catalogue that it has changed. */
  readonly onChanged?: (() => void) | undefined;
}

const shortestWatchMs = 200;

export class GateConnection {
  readonly name: string;
  readonly engine: 'postgres';
  readonly labels: Readonly<Record<string, string>>;
  #masking: ConnectionMasking;
  readonly #source: CatalogueSource;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #onChanged: (() => void) | undefined;
  #snapshot: CatalogueSnapshot | undefined;
  #fingerprint: string | undefined;
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<CatalogueSnapshot> | undefined;
  readonly #waiting = new Set<() => void>();
  #watch: NodeJS.Timeout | undefined;

  constructor(options: GateConnectionOptions) {
    this.name = options.name;
    this.engine = options.engine;
    this.labels = options.labels;
    this.#masking = options.masking;
    this.#source = options.source;
    this.#clock = options.clock;
    this.#ttlMs = options.catalogueTtlMs;
    this.#onChanged = options.onChanged;
  }

  get masking(): ConnectionMasking {
    return this.#masking;
  }

  /** New rules: everything that was worked out under the old ones is dropped. */
  setMasking(masking: ConnectionMasking): void {
    if (masking.digest === this.#masking.digest) return;
    this.#masking = masking;
    this.#snapshot = undefined;
    this.#fingerprint = undefined;
    this.#checkedAtMs = Number.NEGATIVE_INFINITY;
    if (this.#waiting.size > 0) this.#look();
  }

  /**
   * Calls back once when something is masked, or when that cannot be told any more. As long as somebody waits, the
   * target is asked as often as a snapshot grows too old. Returns what ends the wait.
   */
  whenMasked(callback: () => void): () => void {
    this.#waiting.add(callback);
    this.#watch ??= setInterval(() => this.#look(), Math.max(this.#ttlMs, shortestWatchMs)).unref();
    return () => {
      this.#waiting.delete(callback);
      this.#stopWatching();
    };
  }

  #look(): void {
    this.refresh().catch(() => this.#callWaiting());
  }

  #callWaiting(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#stopWatching();
    for (const callback of waiting) callback();
  }

  #stopWatching(): void {
    if (this.#waiting.size > 0) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** The newest snapshot, however old. The caller has waited for one before. */
  current(): CatalogueSnapshot {
    if (this.#snapshot === undefined) throw new Error(`connection ${this.name}: its catalogue was never read`);
    return this.#snapshot;
  }

  /**
   * The snapshot if it is young enough to decide with, else undefined (then `refresh`). Past half of its life it is
   * renewed in the background, so that a busy connection never waits.
   */
  fresh(): CatalogueSnapshot | undefined {
    const ageMs = this.#clock.now() - this.#checkedAtMs;
    if (ageMs > this.#ttlMs) return undefined;
    // A failing refresh is reported by whoever waits for one; a background one only lets the age grow.
    if (ageMs > this.#ttlMs / 2) this.refresh().catch(() => undefined);
    return this.#snapshot;
  }

  /** Asks the target now. Concurrent callers share one question. @throws what the source throws */
  refresh(): Promise<CatalogueSnapshot> {
    this.#refreshing ??= this.#load().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** DDL went through here: the next statement asks the target. */
  changed(): void {
    this.expire();
    this.#onChanged?.();
  }

  /** Forgets how old the snapshot is. */
  expire(): void {
    this.#checkedAtMs = Number.NEGATIVE_INFINITY;
  }

  async #load(): Promise<CatalogueSnapshot> {
    const askedAtMs = this.#clock.now();
    const masking = this.#masking;
    const fingerprint = await this.#source.fingerprint();
    if (this.#snapshot === undefined || fingerprint !== this.#fingerprint) {
      const catalogue = await this.#source.load();
      // The rules changed while we waited: this answer belongs to nobody.
      if (masking !== this.#masking) return this.#load();
      const maskIndex = buildMaskIndex(this.#masking, catalogue, (relation) => viewLineage(catalogue, relation));
      this.#snapshot = {
        catalogue,
        maskIndex,
        nothingMasked:
          this.#masking.detectors.names.length === 0 &&
          !catalogue.relations.some((relation) => maskIndex.touches(relation.oid)),
        caches: new Map(),
      };
      this.#fingerprint = fingerprint;
    }
    this.#checkedAtMs = askedAtMs;
    if (!this.#snapshot.nothingMasked) this.#callWaiting();
    return this.#snapshot;
  }
}
