/**
 * Does the log prove that an execution passed an approval? Checked in this browser from the log's own entries: each is in
 * the signed tree, and together they say that somebody who is neither author nor requester approved exactly this before
 * it ran. The gateway's list of executions is only where to look.
 */
import type { Execution, LogPlace } from './audit.ts';
import { leafHash, verifyInclusion, type Hash, type LogTree } from './tlog.ts';

type Entry = Readonly<Record<string, unknown>>;

export interface ApprovalCheck {
  readonly execution: Execution;
  /** What does not hold; empty = proved. */
  readonly problems: readonly string[];
  /** The entries that were proved to be in the log, by what they say. */
  readonly steps: readonly { readonly what: string; readonly index: number; readonly entry: Entry }[];
}

/** Reads entries with their proofs, each once. */
export class ProvenEntries {
  readonly #tree: LogTree;
  readonly #root: Hash;
  /** Node whose log this is. */
  readonly #node: string;
  readonly #entries = new Map<number, Promise<Entry>>();

  constructor(tree: LogTree, root: Hash, node: string) {
    this.#tree = tree;
    this.#root = root;
    this.#node = node;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @throws Error when the entry is of another log, missing, or not in the signed tree */
  async at({ node, index }: LogPlace): Promise<Entry> {
    if (node !== this.#node)
      throw new Error(`entry ${index} is in the log of node ${node}, which this gateway does not serve`);
    let entry = this.#entries.get(index);
    if (entry === undefined) {
      entry = this.#prove(index);
      this.#entries.set(index, entry);
    }
    return entry;
  }

  async #prove(index: number): Promise<Entry> {
    if (index >= this.#tree.size) throw new Error(`entry ${index} is beyond the signed tree of ${this.#tree.size}`);
    const bytes = await this.#tree.entry(index);
    const proof = await this.#tree.inclusionProof(index);
    if (!(await verifyInclusion(await leafHash(bytes), index, this.#tree.size, proof, this.#root)))
      throw new Error(`entry ${index} is not the one that was signed`);
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Entry;
  }
}

export async function checkApproval(execution: Execution, entries: Pick<ProvenEntries, 'at'>): Promise<ApprovalCheck> {
  const problems: string[] = [];
  const steps: ApprovalCheck['steps'][number][] = [];
  const read = async (what: string, type: string, place: LogPlace | undefined): Promise<Entry | undefined> => {
    if (place === undefined) {
      problems.push(`the log has no entry for: ${what}`);
      return undefined;
    }
    try {
      const entry = await entries.at(place);
      if (entry['type'] !== type) problems.push(`entry ${place.index} is ${String(entry['type'])}, not ${type}`);
      steps.push({ what, index: place.index, entry });
      return entry;
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  const { proof } = execution;
  const request = await read('it was asked for', 'request.created', proof.request);
  const decisions: (Entry | undefined)[] = [];
  for (const place of proof.decisions) decisions.push(await read('it was decided', 'request.decided', place));
  const grant = await read('a grant was made', 'grant.created', proof.grant);
  const consumption = await read('the grant was used up', 'grant.consumed', proof.consumption);
  const session = await read('the session began', 'session.opened', proof.session);
  const intent = await read('it was about to run', 'statement.intent', proof.intent);
  if (request && grant && consumption && intent && session) {
    problems.push(...contradictions({ request, decisions, grant, consumption, intent, session, proof }));
  }
  return { execution, problems, steps };
}

interface Story {
  readonly request: Entry;
  readonly decisions: readonly (Entry | undefined)[];
  readonly grant: Entry;
  readonly consumption: Entry;
  readonly intent: Entry;
  readonly session: Entry;
  readonly proof: Execution['proof'];
}

function* contradictions(story: Story): Generator<string> {
  const { request, grant, consumption, intent, session, proof } = story;
  const same = (one: unknown, other: unknown) => typeof one === 'string' && one !== '' && one === other;
  if (!same(intent['grant'], grant['grant'])) yield 'what ran names another grant';
  if (!same(consumption['grant'], grant['grant'])) yield 'another grant was used up';
  if (!same(grant['request'], request['request'])) yield 'the grant is of another request';
  if (!same(grant['digest'], request['digest'])) yield 'the grant is for something else than was asked for';
  if (!same(consumption['digest'], request['digest'])) yield 'what was used is not what was asked for';
  if (!same(intent['session'], session['session'])) yield 'the session is another one';
  if (!same(consumption['human'], session['human'])) yield 'somebody else used the grant than ran under it';
  if (!same(session['connection'], request['connection'])) yield 'it ran on another connection than was asked for';
  const order = [proof.request, proof.grant, proof.consumption, proof.intent].map((place) => place?.index ?? -1);
  if (order.some((index, at) => at > 0 && index <= (order[at - 1] ?? -1))) yield 'the entries stand in the wrong order';
  yield* approvals(story);
}

/** Names are compared as they stand in the log; which names are one human is the gateway's word. */
function* approvals({ request, decisions, consumption, proof }: Story): Generator<string> {
  const authors = Array.isArray(request['authors']) ? (request['authors'] as readonly { human?: unknown }[]) : [];
  const own = new Set([request['human'], ...authors.map((author) => author.human)].map(String));
  const before = decisions.filter(
    (entry, at): entry is Entry =>
      entry !== undefined && (proof.decisions[at]?.index ?? Infinity) < (proof.consumption?.index ?? -1),
  );
  const ofThis = before.filter((entry) => entry['request'] === request['request']);
  if (ofThis.some((entry) => entry['verdict'] !== 'approve')) yield 'the request was rejected';
  const good = ofThis.filter((entry) => entry['verdict'] === 'approve' && entry['digest'] === request['digest']);
  if (!good.some((entry) => !own.has(String(entry['human']))))
    yield 'nobody but its authors approved exactly this before it ran';
  const isAuthor = authors.some((author) => author.human === consumption['human']);
  if (request['kind'] === 'job' && isAuthor) yield 'an author ran it';
}
