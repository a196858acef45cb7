/** The log's signature and its continuity, checked in this browser, and what this browser remembers of it. */
import { api, ApiError, send } from './api.ts';
import { parseVerifierKey, verifyCheckpoint, type Checkpoint } from './checkpoint.ts';
import { LogTree, verifyConsistency, type ReadLogFile } from './tlog.ts';

export interface CheckedLog {
  readonly checkpoint: Checkpoint;
  readonly tree: LogTree;
  readonly verifierKey: string;
  /** Node whose log it is. */
  readonly node: string;
  /** What this browser had seen before; undefined = this is the first time. */
  readonly known: Checkpoint | undefined;
}

const rememberedKey = 'countersign.log';

interface Remembered {
  readonly verifierKey: string;
  readonly note: string;
}

function remembered(): Remembered | undefined {
  try {
    const text = localStorage.getItem(rememberedKey);
    return text === null ? undefined : (JSON.parse(text) as Remembered);
  } catch {
    return undefined;
  }
}

export function forgetLog(): void {
  localStorage.removeItem(rememberedKey);
}

async function text(path: string): Promise<string> {
  return (await send(path)).text();
}

const readFile: ReadLogFile = async (path) => {
  try {
    return new Uint8Array(await (await send(`/log/${path}`)).arrayBuffer());
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
};

/**
 * Takes the newest checkpoint, checks its signature and that it continues what this browser saw last, and remembers it.
 * @throws Error saying what does not hold: nothing is remembered then
 */
export async function checkLog(): Promise<CheckedLog> {
  if (typeof crypto === 'undefined' || (crypto.subtle as SubtleCrypto | undefined) === undefined)
    throw new Error('this browser has no WebCrypto here: it needs https, or the address 127.0.0.1');
  const before = remembered();
  const verifierKey = (await text('/log/key')).trim();
  if (before !== undefined && before.verifierKey !== verifierKey)
    throw new Error(
      `the log's public key is another one than this browser saw last: it was ${before.verifierKey}, it is ${verifierKey}`,
    );
  const key = await parseVerifierKey(verifierKey);
  const checkpoint = await verifyCheckpoint(await text('/log/checkpoint'), key);
  const tree = new LogTree(readFile, checkpoint.size);
  const known = before === undefined ? undefined : await verifyCheckpoint(before.note, key);
  if (known !== undefined) await checkContinuity(known, checkpoint, tree);
  const { node } = await api<{ node: string }>('/health');
  localStorage.setItem(rememberedKey, JSON.stringify({ verifierKey, note: checkpoint.note } satisfies Remembered));
  return { checkpoint, tree, verifierKey, node, known };
}

async function checkContinuity(known: Checkpoint, now: Checkpoint, tree: LogTree): Promise<void> {
  if (known.size > now.size)
    throw new Error(`the log has ${now.size} entries, but had ${known.size} when this browser saw it last: it was cut`);
  const proof = await tree.consistencyProof(known.size);
  if (!(await verifyConsistency(known.size, now.size, proof, known.root, now.root)))
    throw new Error(`the first ${known.size} entries are not those that this browser saw: the log was rewritten`);
}
