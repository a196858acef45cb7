/** Runs the attacks one after the other against one gateway, and says of each what came of it. */
import assert from 'node:assert/strict';
import pg from 'pg';
import { startHarness } from '../harness.ts';
import { aftermathScripts } from './aftermath.ts';
import { approvalScripts } from './approvals.ts';
import { World, type Script, type Tapped, type Verdict } from './attack.ts';
import { containerScripts } from './containers.ts';
import { functionAttacks, functionScripts } from './functions.ts';
import { maskScripts } from './masks.ts';
import { predicateAttacks, predicateScripts } from './predicates.ts';
import { protocolScripts } from './protocol.ts';
import { schemaCodeScripts } from './schema-code.ts';
import { bypassColumns, bypassSchema, leaked } from './schema.ts';
import { newProtocolScripts } from './new-protocol.ts';
import { newAttacks } from './new-statements.ts';
import { sizeScripts } from './sizes.ts';
import { sessionStateAttacks, sessionStateScripts } from './session-state.ts';
import { attacks, knownLeaks } from './statements.ts';
import { templateScripts } from './templates.ts';
import type { Attack } from './attack-lists.ts';

/** Code and detail of an answer beside the verdict, for people. */
export interface Observation {
  readonly verdict: Verdict | 'leaked' | 'failed';
  readonly detail: string;
}

export interface RunnableAttack {
  readonly family: string;
  readonly title: string;
  readonly expected: Verdict;
  readonly known: string | undefined;
  readonly run: (world: World) => Promise<Observation>;
}

const ownCodes = /^(42501|0A000|ZC|25001|(42601|42P01|26000) countersign: )/;

/** Every attack, in the order in which they run: what is left behind is looked at last. */
export function allAttacks(): readonly RunnableAttack[] {
  const session: { tapped?: Promise<Tapped> } = {};
  const all = [...attacks, ...newAttacks, ...functionAttacks, ...predicateAttacks, ...sessionStateAttacks];
  const statements = all.map((attack, index) => fromStatement(attack, `attack-${index}-`, session));
  const scripts = [
    protocolScripts,
    newProtocolScripts,
    maskScripts,
    containerScripts,
    sizeScripts,
    schemaCodeScripts,
    functionScripts,
    predicateScripts,
    sessionStateScripts,
    approvalScripts,
    templateScripts,
    aftermathScripts,
  ].flat();
  return [...statements, ...scripts.map(fromScript)];
}

export async function startWorld(): Promise<World> {
  const harness = await startHarness({
    schema: bypassSchema,
    configure: (raw) => {
      const [personal] = raw['masking'] as { columns: unknown[] }[];
      personal?.columns.push(...bypassColumns);
    },
  });
  return new World(harness);
}

/** Runs one attack and searches everything that was received meanwhile. */
export async function observe(attack: RunnableAttack, world: World): Promise<Observation> {
  const observation = await attack.run(world);
  const raw = world.search();
  return raw === undefined ? observation : { verdict: 'leaked', detail: `a raw value was received: ${raw}` };
}

function fromScript({ family, title, expected, known, run }: Script): RunnableAttack {
  return {
    family,
    title,
    expected,
    known,
    run: async (world) => {
      const kept = world.openSessions;
      try {
        await run(world);
        return { verdict: expected, detail: '' };
      } catch (error) {
        const detail = error instanceof Error ? error.message : String(error);
        return { verdict: detail.includes('a raw value') ? 'leaked' : 'failed', detail };
      } finally {
        world.endSessions(kept);
      }
    },
  };
}

function fromStatement(
  [family, text, expected]: Attack,
  marker: string,
  session: { tapped?: Promise<Tapped> },
): RunnableAttack {
  return {
    family,
    title: text,
    expected,
    known: knownLeaks.get(text),
    run: async (world) => {
      session.tapped ??= world.tapped();
      const { client, taken } = await session.tapped;
      const marked = `/*${marker}*/ ${text}`;
      // In the simple protocol as text, and in the extended one with results in binary.
      const queries = [
        { text: marked },
        ...(expected === 'masked' ? [{ text: marked, values: [], binary: true }] : []),
      ];
      let observation: Observation = { verdict: 'failed', detail: 'nothing was asked' };
      for (const query of queries) {
        observation = await (expected === 'masked'
          ? answerTo(client, query)
          : world.unapproved(answerTo(client, query)));
        const raw = leaked(taken());
        if (raw !== undefined) return { verdict: 'leaked', detail: `a raw value was received: ${raw}` };
        if (observation.verdict !== 'masked') break;
      }
      if (ownCodes.test(observation.detail)) world.refused.push({ marker, text });
      return observation;
    },
  };
}

async function answerTo(client: pg.Client, query: pg.QueryConfig): Promise<Observation> {
  try {
    const answer: unknown = await client.query<Record<string, unknown>>(query);
    // Several statements in one text have several results.
    const rows = (Array.isArray(answer) ? answer : [answer]).flatMap(
      (result: pg.QueryResult) => result.rows as unknown[],
    );
    if (rows.length === 0) return { verdict: 'failed', detail: 'no rows' };
    const raw = leaked(JSON.stringify(rows));
    if (raw !== undefined) return { verdict: 'leaked', detail: `a raw value was received: ${raw}` };
    return { verdict: 'masked', detail: `${rows.length} rows` };
  } catch (error) {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    const code = error.code ?? '';
    return { verdict: code === 'ZC001' ? 'held' : 'refused', detail: `${code} ${error.message}` };
  }
}
