/** Whoever carries the sessions: this process itself, or its workers. */
import type net from 'node:net';
import type { TransparencyLog } from '../audit/log.ts';
import type { Configuration } from '../config/schema.ts';
import type { CountersignError } from '../errors.ts';
import { DataPlane, type DataPlaneOptions } from '../gateway/data-plane.ts';
import type { SessionMatch } from '../gateway/postgres.ts';
import { Seats, seatKeeper } from '../gateway/seats.ts';
import { WorkerPool, type WorkerPoolOptions } from '../workers/pool.ts';

export interface Carrier {
  accept(socket: net.Socket, isLocal: boolean): void;
  /** Resolves when they are over. */
  endSessions(match: SessionMatch, error: CountersignError): Promise<void>;
  reload(configuration: Configuration): void;
  readonly workers: readonly number[];
  close(): Promise<void>;
}

type CarrierParts = Omit<DataPlaneOptions, 'seats' | 'cancelElsewhere' | 'log'> & {
  readonly log: TransparencyLog;
  readonly onLost: WorkerPoolOptions['onLost'];
};

export async function startCarrier(parts: CarrierParts): Promise<Carrier> {
  const { workers, limits } = parts.configuration.gateway;
  const seats = new Seats(limits);
  if (workers === 1) {
    const plane = await DataPlane.start({ ...parts, seats: seatKeeper(seats), cancelElsewhere: () => undefined });
    return {
      accept: (socket, isLocal) => plane.listener.accept(socket, isLocal),
      endSessions: async (match, error) => void plane.listener.endSessions(match, error),
      reload: () => plane.listener.endWithoutDuty(),
      workers: [],
      close: () => plane.close(),
    };
  }
  const pool = await WorkerPool.start({ ...parts, workers, seats });
  return {
    accept: (socket, isLocal) => pool.accept({ socket, isLocal }),
    endSessions: (match, error) => pool.endSessions(match, error),
    reload: (configuration) => pool.reload(configuration),
    get workers() {
      return pool.pids;
    },
    close: () => pool.close(),
  };
}
