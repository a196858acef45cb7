/**
 * Broken bytes from either side. From a client: no crash, no hang, no raw value, and other sessions go on. From a target:
 * the gate ends the session or goes on, and delivers no raw value.
 *
 * PROPERTY_SECONDS: how long each; PROPERTY_SEED: repeat a run; PROPERTY_CASE: only this case, and print it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decodeDataRow, isWellFormed, messagesOf } from './answers.ts';
import { Gate, startGateWorld, type GateWorld } from './gate-world.ts';
import { byteMutations, frameMutations } from './mutations.ts';
import { budgetMs, caseOf, seedOfRun, type Random } from './random.ts';
import { record, replay, turn, whole, type Recorded } from './recording.ts';
import { propertyData, propertyMasking, propertySchema, rawValueIn } from './schema.ts';
import { transcripts } from './transcripts.ts';
import { frame } from '../bypass/wire.ts';

let world: GateWorld;
const recordings = new Map<string, Recorded>();
const crashes: unknown[] = [];
const onCrash = (error: unknown) => crashes.push(error);

before(async () => {
  process.on('uncaughtException', onCrash);
  process.on('unhandledRejection', onCrash);
  world = await startGateWorld({
    databases: ['one'],
    schema: propertySchema,
    masking: propertyMasking,
    data: propertyData,
  });
  for (const [name, steps] of transcripts) recordings.set(name, await record(world, 'one', steps));
});

after(async () => {
  process.off('uncaughtException', onCrash);
  process.off('unhandledRejection', onCrash);
  await world?.close();
});

interface Case {
  readonly where: string;
  readonly random: Random;
}

async function cases(shortMs: number, run: (one: Case) => Promise<void>): Promise<number> {
  const seed = seedOfRun();
  const only = process.env['PROPERTY_CASE'];
  const end = performance.now() + budgetMs(shortMs);
  const failures: string[] = [];
  const first = only === undefined ? 0 : Number(only);
  let index = first;
  for (; performance.now() < end && failures.length < 10; index++) {
    if (only !== undefined && index > first) break;
    const where = `PROPERTY_SEED=${seed} PROPERTY_CASE=${index}`;
    try {
      await run({ where, random: caseOf(seed, index) });
      assert.deepEqual(crashes, [], 'something was thrown where nobody catches it');
    } catch (error) {
      failures.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  assert.equal(failures.length, 0, failures.join('\n\n'));
  return index;
}

function mutated(
  bytes: Buffer,
  random: Random,
  kinds: typeof byteMutations,
): { readonly bytes: Buffer; readonly names: string } {
  let result = bytes;
  const names: string[] = [];
  for (let count = random.chance(0.7) ? 1 : 2 + random.below(3); count > 0 && result.length > 0; count--) {
    const name = random.pick(Object.keys(kinds));
    const other = random.pick([...recordings.values()]);
    const foreign = Buffer.concat(kinds === byteMutations ? [result] : other.steps.map((step) => step.client));
    result = kinds[name]?.(result, random, foreign) ?? result;
    names.push(name);
  }
  return { bytes: result, names: names.join(', ') };
}

describe('broken bytes of a client', () => {
  it('end in an error, the end of the session or an answer, and show nothing', async () => {
    const bystander = await Bystander.open();
    const count = await cases(9_000, async ({ random }) => {
      const [name, { steps }] = random.pick([...recordings]);
      const all = Buffer.concat(steps.map((step) => step.client));
      const { bytes, names } = mutated(
        all,
        random,
        random.chance(0.6) ? byteMutations : { ...byteMutations, ...frameMutations },
      );
      const upstream = await world.upstream('one');
      let closed = false;
      const gate = new Gate({
        connection: world.connection('one'),
        policies: world.policies,
        forward: (forwarded) => upstream.write(forwarded),
      });
      upstream.attach(
        (buffer, start, end) => gate.session.fromTarget(buffer, start, end),
        () => undefined,
        () => {
          closed = true;
          gate.session.fail(new Error('the target closed the session'));
        },
      );
      try {
        for (let at = 0; at < bytes.length; ) {
          const piece = 1 + random.below(400);
          gate.session.fromClient(Buffer.from(bytes.subarray(at, at + piece)));
          at += piece;
          if (random.chance(0.3)) await turn();
        }
        // A broken stream may leave the target waiting for more, so nothing has to come; what comes is looked at.
        const wanted = messagesOf(all).filter(({ type }) => type === 'Q' || type === 'S').length;
        const end = performance.now() + 60;
        while (performance.now() < end && gate.endedBy === undefined) {
          if (messagesOf(gate.delivered).filter(({ type }) => type === 'Z').length >= wanted) break;
          await turn();
        }
      } finally {
        upstream.destroy();
      }
      const raw = rawValueIn(withoutLengths(gate.delivered)) ?? rawValueIn(withoutLengths(gate.recorded));
      assert.equal(raw, undefined, `${name}: ${names}: a raw value: ${raw}`);
      const surprises = gate.surprises.filter(
        (surprise) => !(closed && String(surprise).includes('the target closed')),
      );
      assert.deepEqual(surprises.map(String), [], `${name}: ${names}`);
      await bystander.check();
    });
    bystander.close();
    process.stderr.write(`broken client streams: ${count}\n`);
  });
});

/** The broken length, which the error quotes, may have the digits of a raw value by chance. */
function withoutLengths(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('latin1').replaceAll(/a length of -?\d+ bytes/g, ''), 'latin1');
}

/** Another session at the same connection, which must not notice anything. */
class Bystander {
  readonly #gate: Gate;
  readonly #close: () => void;
  #asked = 0;

  private constructor(gate: Gate, close: () => void) {
    this.#gate = gate;
    this.#close = close;
  }

  static async open(): Promise<Bystander> {
    const upstream = await world.upstream('one');
    const gate = new Gate({
      connection: world.connection('one'),
      policies: world.policies,
      forward: (bytes) => upstream.write(bytes),
    });
    upstream.attach(
      (buffer, start, end) => gate.session.fromTarget(buffer, start, end),
      () => undefined,
      () => undefined,
    );
    return new Bystander(gate, () => upstream.destroy());
  }

  async check(): Promise<void> {
    if (this.#asked++ % 25 !== 0) return;
    const before = this.#gate.delivered.length;
    this.#gate.session.fromClient(frame.query('select name, ssn from people where id = 1'));
    const end = performance.now() + 5_000;
    for (;;) {
      const answer = this.#gate.delivered.subarray(before);
      const types = messagesOf(answer)
        .map(({ type }) => type)
        .join('');
      if (types.endsWith('Z')) {
        assert.equal(types, 'TDCZ', 'another session got another answer');
        assert.match(answer.toString('latin1'), /name 1.*\[masked\]/s);
        return;
      }
      if (performance.now() > end) throw new Error('another session got no answer');
      await turn();
    }
  }

  close(): void {
    this.#close();
  }
}

describe('broken bytes of a target', () => {
  it('show nothing but what stands in a column that is not masked', async () => {
    const ends = { ended: 0, went_on: 0 };
    const count = await cases(7_000, async ({ random }) => {
      const [name, recorded] = random.pick([...recordings]);
      const steps = recorded.steps.map((step) => ({ ...step, target: [...step.target] }));
      const places = steps.flatMap((step, index) => step.target.map((_, piece) => ({ index, piece })));
      if (places.length === 0) return;
      const { index, piece } = random.pick(places);
      const target = steps[index]?.target;
      const chosen = target?.[piece];
      if (target === undefined || chosen === undefined) return;
      const kinds = { ...byteMutations, ...frameMutations };
      // A row of another statement that is spliced in would be the target's word again.
      const kind = random.pick(Object.keys(kinds).filter((name) => !name.startsWith('splice')));
      const bytes = kinds[kind]?.(chosen.bytes, random, chosen.bytes) ?? chosen.bytes;
      target[piece] = { ...chosen, bytes };
      // A stream that is cut has no more: what came after it would answer for what is gone, which is the target's word again.
      if (kind === 'truncate') {
        target.length = piece + 1;
        for (const later of steps.slice(index + 1)) later.target.length = 0;
      }
      const { gate } = await replay({ steps }, world.connection('one'), world.policies, whole);
      ends[gate.endedBy === undefined ? 'went_on' : 'ended']++;
      const raw = rawValueIn(withoutLengths(withoutOpenCells(gate.delivered)));
      const shown = raw === undefined ? '' : contextOf(gate.delivered, raw);
      assert.equal(raw, undefined, `${name}: ${kind}: a raw value was delivered: ${shown}`);
      assert.equal(gate.recorded.compare(gate.delivered), 0, 'what is recorded is what is delivered');
    });
    process.stderr.write(`broken target streams: ${count} ${JSON.stringify(ends)}\n`);
  });
});

const openColumns = new Set('id name label doc upper place grade num timezone ?column?'.split(' '));

/**
 * The target is believed about what a column holds: when the length of a plain cell is broken, what comes behind it is in
 * that cell. So the cells of columns that are not masked are taken out of what is searched.
 */
function withoutOpenCells(bytes: Buffer): Buffer {
  const kept: Buffer[] = [];
  let open: boolean[] = [];
  let at = 0;
  for (const { type, body } of messagesOf(bytes)) {
    at += 5 + body.length;
    if (type === 'T')
      open = [...body.toString('latin1').matchAll(/([A-Za-z_?]+)\0[^]{18}/g)].map(([, name = '']) =>
        openColumns.has(name.toLowerCase()),
      );
    if (type !== 'D') kept.push(body);
    else {
      // Only where nothing is masked is a row passed on without being read.
      const cells = isWellFormed(body) ? decodeDataRow(body) : [];
      // A statement that nobody described to the client: its first columns are plain in the sessions that are used here.
      const isDescribed = open.length === cells.length;
      cells.forEach((cell, column) => {
        const isOpen = isDescribed ? open[column] : cells.length > 1 && column < 2;
        if (isOpen !== true) kept.push(Buffer.from(`|${cell ?? ''}|`));
      });
    }
  }
  return Buffer.concat([...kept, bytes.subarray(at)]);
}

function contextOf(bytes: Buffer, raw: string): string {
  const text = bytes.toString('latin1');
  const at = Math.max(0, text.indexOf(raw));
  return JSON.stringify(text.slice(Math.max(0, at - 120), at + 60));
}
