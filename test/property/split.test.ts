/**
 * However the network cuts a session's bytes, in either direction, the gate forwards and delivers the same bytes.
 * Sessions are recorded against a real target first, then played again, cut at every byte boundary.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startGateWorld, type GateWorld } from './gate-world.ts';
import { record, replay, whole, type Cut, type Recorded } from './recording.ts';
import { propertyData, propertyMasking, propertySchema, rawValueIn } from './schema.ts';
import { largeRowLimit, largeRows, transcripts } from './transcripts.ts';

let world: GateWorld;

before(async () => {
  world = await startGateWorld({
    databases: ['one'],
    schema: propertySchema,
    masking: propertyMasking,
    data: propertyData,
  });
});

after(async () => {
  await world?.close();
});

const piecesOf =
  (size: number) =>
  (chunk: Buffer): Buffer[] =>
    Array.from({ length: Math.ceil(chunk.length / size) }, (_, index) =>
      chunk.subarray(index * size, (index + 1) * size),
    );
const twoPieces =
  (at: number) =>
  (chunk: Buffer): Buffer[] =>
    at < chunk.length ? [chunk.subarray(0, at), chunk.subarray(at)] : [chunk];

/** Every boundary by itself (the same one in every chunk), then every boundary at once, then larger pieces. */
function cutsOf(recorded: Recorded): Cut[] {
  const longest = (chunks: readonly Buffer[]): number => Math.max(0, ...chunks.map((chunk) => chunk.length));
  const client = longest(recorded.steps.map((step) => step.client));
  const target = longest(recorded.steps.flatMap((step) => step.target.map(({ bytes }) => bytes)));
  const single = Array.from({ length: Math.max(client, target) - 1 }, (_, index) => index + 1);
  return [
    ...single.flatMap((at) => [
      ...(at < client ? [{ ...whole, client: twoPieces(at), waits: at % 2 === 0 }] : []),
      ...(at < target ? [{ ...whole, target: twoPieces(at), waits: at % 2 === 1 }] : []),
    ]),
    ...[1, 2, 3, 5, 7, 64].flatMap((size) => [
      { client: piecesOf(size), target: piecesOf(size), waits: false },
      { client: piecesOf(size), target: piecesOf(size), waits: true },
    ]),
  ];
}

describe('a session cut at every byte boundary', () => {
  for (const [name, steps] of transcripts) {
    it(name, async () => {
      const recorded = await record(world, 'one', steps);
      assert.equal(rawValueIn(recorded.delivered), undefined, 'a raw value was delivered');
      for (const [index, cut] of [whole, ...cutsOf(recorded)].entries()) {
        const { gate, forwarded } = await replay(recorded, world.connection('one'), world.policies, cut);
        assert.equal(gate.endedBy, undefined, `cut ${index} ended the session`);
        assert.deepEqual(gate.surprises, []);
        assert.equal(forwarded.toString('latin1'), recorded.forwarded.toString('latin1'), `forwarded, cut ${index}`);
        assert.equal(
          gate.delivered.toString('latin1'),
          recorded.delivered.toString('latin1'),
          `delivered, cut ${index}`,
        );
        assert.equal(gate.recorded.compare(gate.delivered), 0, 'what is recorded is what is delivered');
      }
    });
  }
});

describe('rows beyond the limit, which are read as streams', () => {
  for (const [name, steps] of largeRows) {
    it(name, async () => {
      const recorded = await record(world, 'one', steps);
      assert.equal(rawValueIn(recorded.delivered), undefined, 'a raw value was delivered');
      const longest = Math.max(...recorded.steps.flatMap((step) => step.target.map(({ bytes }) => bytes.length)));
      assert.ok(longest > largeRowLimit, 'nothing of it is large');
      const single = Array.from({ length: Math.ceil(longest / 7) }, (_, index) => 1 + index * 7);
      const cuts: Cut[] = [
        whole,
        ...single.map((at) => ({ ...whole, target: twoPieces(at) })),
        ...[1, 2, 3, 64].map((size) => ({ ...whole, target: piecesOf(size), waits: size > 2 })),
      ];
      for (const cut of cuts) {
        const { gate } = await replay(recorded, world.connection('one'), world.policies, cut, largeRowLimit);
        assert.equal(gate.endedBy, undefined);
        assert.deepEqual(gate.surprises, []);
        assert.equal(gate.delivered.toString('latin1'), recorded.delivered.toString('latin1'));
        assert.equal(gate.recorded.compare(gate.delivered), 0);
      }
    });
  }
});
