/**
 * A session recorded between the gate and a real target, and played again without the target: each piece of the target's
 * bytes comes when as many bytes were forwarded as when it came first.
 */
import type { GateConnection } from '../../src/gate/connection.ts';
import type { PolicySet } from '../../src/policy/engine.ts';
import { Gate, type GateWorld } from './gate-world.ts';
import type { Step } from './transcripts.ts';

export interface RecordedStep {
  readonly client: Buffer;
  readonly target: readonly { readonly afterForwarded: number; readonly bytes: Buffer }[];
}

export interface Recorded {
  readonly steps: readonly RecordedStep[];
  readonly forwarded: Buffer;
  readonly delivered: Buffer;
}

const patienceMs = 5_000;

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Counts messages by type in a stream of backend messages. */
export function countMessages(bytes: Buffer, type: string): number {
  let count = 0;
  for (let at = 0; at + 5 <= bytes.length; at += bytes.readInt32BE(at + 1) + 1) {
    if (bytes[at] === type.charCodeAt(0)) count++;
  }
  return count;
}

export async function record(world: GateWorld, database: string, steps: readonly Step[]): Promise<Recorded> {
  const upstream = await world.upstream(database);
  const forwarded: Buffer[] = [];
  let forwardedBytes = 0;
  let target: { afterForwarded: number; bytes: Buffer }[] = [];
  const gate = new Gate({
    connection: world.connection(database),
    policies: world.policies,
    forward: (bytes) => {
      forwarded.push(Buffer.from(bytes));
      forwardedBytes += bytes.length;
      upstream.write(bytes);
    },
  });
  upstream.attach(
    (buffer, start, end) => {
      target.push({ afterForwarded: forwardedBytes, bytes: Buffer.from(buffer.subarray(start, end)) });
      gate.session.fromTarget(buffer, start, end);
    },
    () => undefined,
    () => undefined,
  );
  const recorded: RecordedStep[] = [];
  try {
    for (const { send, until } of steps) {
      const [type, count] = until;
      const wanted = countMessages(gate.delivered, type) + count;
      const deadline = performance.now() + patienceMs;
      gate.session.fromClient(Buffer.from(send));
      while (countMessages(gate.delivered, type) < wanted) {
        if (performance.now() > deadline || gate.endedBy !== undefined) {
          throw new Error(
            `step ${recorded.length}: no ${count} ${type}; ended: ${gate.endedBy}; ${gate.delivered.toString('latin1')}`,
          );
        }
        await turn();
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
      recorded.push({ client: send, target });
      target = [];
    }
  } finally {
    upstream.destroy();
  }
  return { steps: recorded, forwarded: Buffer.concat(forwarded), delivered: gate.delivered };
}

export interface Cut {
  /** The pieces in which one chunk arrives. */
  readonly client: (chunk: Buffer) => readonly Buffer[];
  readonly target: (chunk: Buffer) => readonly Buffer[];
  /** Whether the gate's own work may go on between two pieces. */
  readonly waits: boolean;
}

export const whole: Cut = { client: (chunk) => [chunk], target: (chunk) => [chunk], waits: false };

export interface Replay {
  readonly gate: Gate;
  readonly forwarded: Buffer;
}

export async function replay(
  recorded: Pick<Recorded, 'steps'>,
  connection: GateConnection,
  policies: PolicySet,
  cut: Cut,
  maxRowBytes?: number,
): Promise<Replay> {
  const forwarded: Buffer[] = [];
  let forwardedBytes = 0;
  const gate = new Gate({
    connection,
    policies,
    forward: (bytes) => {
      forwarded.push(Buffer.from(bytes));
      forwardedBytes += bytes.length;
    },
    ...(maxRowBytes === undefined ? {} : { maxRowBytes }),
  });
  for (const { client, target } of recorded.steps) {
    for (const piece of cut.client(client)) {
      gate.session.fromClient(Buffer.from(piece));
      if (cut.waits) await turn();
    }
    await turn();
    for (const { afterForwarded, bytes } of target) {
      // What the gate forwards may wait for its own decisions, which take turns of the event loop.
      for (let turns = 0; turns < 20; turns++) {
        if (forwardedBytes >= afterForwarded) break;
        await turn();
      }
      for (const piece of cut.target(bytes)) {
        const own = Buffer.from(piece);
        gate.session.fromTarget(own, 0, own.length);
        // A target's bytes are consumed before the call returns: whoever keeps them sees rubbish.
        own.fill(0x5a);
        if (cut.waits) await turn();
      }
      if (!cut.waits) await Promise.resolve();
    }
    await turn();
  }
  await turn();
  return { gate, forwarded: Buffer.concat(forwarded) };
}
