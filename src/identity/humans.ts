/**
 * One human is one person (promise P3). A human's names are connected by the same verified e-mail address (also one that
 * they had earlier) and by links that the configuration or an admin made. Everything that is connected is one person.
 *
 * Connections are only ever used to refuse: two people who are taken for one can do less, never more. So they are added
 * generously and end late: a link that is taken away still counts for every request and every commit that was there
 * before it ended.
 *
 * `keysFor` is for decisions: it reads the store inside the deciding transaction and keeps writers out until that has
 * committed. `keyOf` is for everything else; it is as old as `refresh`, which `start` calls every second.
 * Not for: what follows from being the same (`policy/duty.ts`), and who somebody is (`oidc.ts`).
 */
import { domainToASCII } from 'node:url';
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Json } from '../lib/canonical-json.ts';
import { humanKey } from '../policy/entities.ts';
import type { AuthorRecord, Database, Store, StoreOrTransaction } from '../store/database.ts';
import {
  addEmail,
  addHuman,
  changeHumans,
  currentOwner,
  endLink,
  hasEmail,
  hasLinkEndedAfter,
  holdHumans,
  humansVersion,
  insertLink,
  isHumanKnown,
  listEmails,
  listHumans,
  listLinks,
  ownersSince,
  reach,
  setOwner,
  type HumanLink,
} from '../store/humans.ts';
import { listPrincipals } from '../store/principals.ts';
import type { Principal } from './principal.ts';

/** Who is who, for one decision; it never changes. */
export interface HumanKeys {
  /** Equal exactly when two names are one human. Empty: nobody who was ever seen. */
  readonly keyOf: (human: string) => string;
  /** Everybody who has owned this service account since the time that was asked for; empty for a person. */
  readonly ownersOf: (principalId: string) => readonly string[];
}

export interface HumanQuestion {
  readonly names: readonly string[];
  /** Ids of principals whose owners count. */
  readonly accounts: readonly string[];
  /** When the request was made: a link that ended before it does not count. */
  readonly since: Date;
}

/** What approvals need of this. */
export interface HumanSource {
  keysFor(store: StoreOrTransaction, question: HumanQuestion): Promise<HumanKeys>;
}

export interface PeopleEvent {
  readonly type: 'people.linked' | 'people.unlinked' | 'people.same-email';
  readonly [member: string]: Json | undefined;
}

export interface HumansOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Rejects when the log cannot be written; then nothing was changed. */
  readonly record: (event: PeopleEvent) => Promise<void>;
}

const refreshMs = 1_000;
const maxReasonLength = 1_000;

/**
 * The form in which e-mail addresses are compared: as `humanKey`, with the domain in ASCII (RFC 5890) and without the
 * detail of a sub-address (RFC 5233): `Ann+git@Bücher.example` is `ann@xn--bcher-kva.example`.
 */
export function emailKey(email: string): string {
  const text = humanKey(email);
  const at = text.lastIndexOf('@');
  if (at < 1) return text;
  const local = text.slice(0, at).replace(/^"(.*)"$/, '$1');
  const domain = text.slice(at + 1).replace(/\.$/, '');
  return `${local.replace(/(?<=.)\+.*$/, '')}@${domainToASCII(domain) || domain}`;
}

/**
 * The addresses of somebody, in the form in which they are compared: what the provider tells, and the subject where it is an
 * address itself (some providers use it), whatever provider's name stands before it.
 */
function addressesOf({ human, email }: Pick<Principal, 'human' | 'email'>): string[] {
  const subject = human.includes('@') ? human.replace(/^[^@]*:/, '') : undefined;
  return [...new Set([email, subject].filter((one) => one !== undefined).map(emailKey))];
}

/** A name of the graph: a human's, or an address. */
function nodeOf(text: string): string {
  return text.includes('@') ? emailKey(text) : humanKey(text);
}

export class Humans implements HumanSource {
  readonly #options: HumansOptions;
  #keys = new Map<string, string>();
  /** Address -> humans who have or had it. */
  #emails = new Map<string, string[]>();
  #version = -1;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HumansOptions) {
    this.#options = options;
  }

  /** Looks for changes of other nodes every second, until `close`. */
  start(onError: (error: unknown) => unknown): void {
    this.#timer = setInterval(() => void this.refresh().catch(onError), refreshMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /**
   * Remembers who was seen. Wait for it before the principal is let in: what it says counts from the next decision on.
   * Call it for every verified token; it writes only what is new.
   */
  async seen(principal: Pick<Principal, 'id' | 'human' | 'kind' | 'email'>): Promise<void> {
    const { store, clock } = this.#options;
    const human = humanKey(principal.human);
    if (human === '') return;
    const addresses = addressesOf({ human, email: principal.email });
    const isService = principal.kind === 'service';
    const knows = async (store: StoreOrTransaction) => {
      if (!(await isHumanKnown(store, human))) return false;
      for (const email of addresses) if (!(await hasEmail(store, email, human))) return false;
      return !isService || (await currentOwner(store, principal.id)) === human;
    };
    if (await knows(store)) return;
    const now = new Date(clock.now());
    await changeHumans(store, async (transaction) => {
      await addHuman(transaction, human, now);
      if (isService) await setOwner(transaction, principal.id, human, now);
      for (const email of addresses) await this.#addAddress(transaction, email, human, now);
    });
    await this.refresh();
  }

  async #addAddress(transaction: Transaction<Database>, email: string, human: string, at: Date): Promise<void> {
    if (await hasEmail(transaction, email, human)) return;
    const others = (await reach(transaction, [{ root: email, name: email }], at)).filter(({ known }) => known);
    await addEmail(transaction, email, human, at);
    const names = others.map(({ name }) => name).filter((name) => name !== human);
    if (names.length > 0) await this.#options.record({ type: 'people.same-email', human, same: names });
  }

  /** Everybody whom an older version of the gateway has seen, and the links of the configuration. At start. */
  async adopt(links: readonly (readonly [string, string])[]): Promise<void> {
    const { store, clock } = this.#options;
    const names = new Set(await listHumans(store));
    const known = new Set((await listEmails(store)).map(({ email, human }) => JSON.stringify([email, human])));
    for (const principal of await listPrincipals(store)) {
      const human = humanKey(principal.human);
      const addresses = addressesOf({ human, email: principal.email });
      const hasAddresses = addresses.every((one) => known.has(JSON.stringify([one, human])));
      if (principal.kind === 'service' || !names.has(human) || !hasAddresses) await this.seen(principal);
    }
    const wanted = new Map(links.map(([a, b]) => [JSON.stringify(pairOf(a, b)), pairOf(a, b)]));
    const existing = (await listLinks(store)).filter((one) => one.source === 'configuration' && isOpen(one));
    const had = new Set(existing.map(({ a, b }) => JSON.stringify({ a, b })));
    const at = new Date(clock.now());
    for (const [key, pair] of wanted) {
      if (!had.has(key))
        await this.#insert({ ...pair, source: 'configuration', reason: 'identity.links', by: 'countersign', at });
    }
    for (const { a, b } of existing) {
      if (wanted.has(JSON.stringify({ a, b }))) continue;
      await this.#end(
        { a, b, source: 'configuration' },
        { by: 'countersign', at, reason: 'no longer in identity.links' },
      );
    }
    await this.refresh();
  }

  /**
   * Says that two names are one human. One may be an e-mail address, or a name that stands in a commit.
   * @throws input_invalid (no reason, twice the same, neither is known), log_unavailable
   */
  async link(a: string, b: string, by: Principal, reason: string): Promise<void> {
    const { store, clock } = this.#options;
    const pair = pairOf(a, b);
    const text = reasonOf(reason);
    if (pair.a === pair.b) throw new CountersignError('input_invalid', `${a} and ${b} are the same name already`);
    // The other one may be a name or an address that stands in a commit.
    if (!(await isHumanKnown(store, pair.a)) && !(await isHumanKnown(store, pair.b))) {
      throw new CountersignError('input_invalid', `nobody was ever seen by the name ${pair.a} or ${pair.b}`, {
        hint: "'countersign people list' shows the names",
      });
    }
    const ask = { ...pair, source: 'admin' as const, reason: text, by: by.id, at: new Date(clock.now()) };
    if (!(await this.#insert(ask))) throw new CountersignError('input_invalid', `${a} and ${b} are linked already`);
    await this.refresh();
  }

  /**
   * Ends a link for everything that comes later; requests and commits that were there keep it.
   * @throws not_found; duty_conflict when it would make two of whoever asks; input_invalid; log_unavailable
   */
  async unlink(a: string, b: string, by: Principal, reason: string): Promise<void> {
    const { store, clock } = this.#options;
    const pair = pairOf(a, b);
    const text = reasonOf(reason);
    const now = new Date(clock.now());
    const own = await this.keysFor(store, { names: [by.human, pair.a, pair.b], accounts: [], since: now });
    const key = own.keyOf(by.human);
    if (key === '' || [pair.a, pair.b].some((name) => own.keyOf(name) === key)) {
      throw new CountersignError('duty_conflict', 'nobody makes two people of themselves', {
        hint: 'another admin has to end this link',
      });
    }
    if (!(await this.#end({ ...pair, source: 'admin' }, { by: by.id, at: now, reason: text }))) {
      throw new CountersignError('not_found', `an admin has not linked ${pair.a} and ${pair.b}`, {
        hint: 'links of identity.links end when they are taken out of the configuration; an e-mail address stays with whom it was seen',
      });
    }
    await this.refresh();
  }

  /** As of the last `refresh`: never for a decision. Equal exactly when two names are one human. */
  keyOf(human: string): string {
    const key = humanKey(human);
    return this.#keys.get(key) ?? this.#keys.get(nodeOf(key)) ?? key;
  }

  /** Everybody who was ever seen with this address, as of the last `refresh`. */
  humansByEmail(email: string): readonly string[] {
    return this.#emails.get(emailKey(email)) ?? [];
  }

  /** Who is who at this moment; in a transaction it stays so until the end of it. */
  async keysFor(store: StoreOrTransaction, { names, accounts, since }: HumanQuestion): Promise<HumanKeys> {
    await holdHumans(store);
    const owners = Map.groupBy(await ownersSince(store, [...new Set(accounts)], since), ({ account }) => account);
    const all = [...names, ...[...owners.values()].flat().map(({ owner }) => owner)];
    const roots = [...new Set(all.map(humanKey))].filter((name) => name !== '');
    const starts = roots.flatMap((root) =>
      nodeOf(root) === root ? [{ root, name: root }] : [root, nodeOf(root)].map((name) => ({ root, name })),
    );
    const found = Map.groupBy(await reach(store, starts, since), ({ root }) => root);
    const keys = new Map<string, string>([['', '']]);
    for (const [root, reached] of found) {
      const isKnown = reached.some(({ known }) => known);
      keys.set(root, isKnown ? least(reached.map(({ name }) => name)) : '');
    }
    return {
      keyOf: (human) => {
        const key = keys.get(humanKey(human));
        if (key === undefined) throw new Error('a human was compared who was not asked for');
        return key;
      },
      ownersOf: (principalId) => (owners.get(principalId) ?? []).map(({ owner }) => owner),
    };
  }

  /**
   * The authors of a commit, and everybody who counted or counts as one of them since: by a link that has ended, or as
   * an owner of the service account that was used.
   */
  async authorsSince(authors: readonly AuthorRecord[], at: Date): Promise<AuthorRecord[]> {
    const { store, clock } = this.#options;
    const accounts = authors.flatMap(({ principal }) => (principal === undefined ? [] : [principal]));
    const owners = await ownersSince(store, accounts, at);
    const all = authors.flatMap((author) => [
      author,
      ...owners
        .filter(({ account, owner }) => account === author.principal && owner !== humanKey(author.human))
        .map(({ owner }) => ({ ...author, human: owner })),
    ]);
    if (!(await hasLinkEndedAfter(store, at))) return all;
    const starts = [...new Set(all.map(({ human }) => humanKey(human)))].map((root) => ({ root, name: nodeOf(root) }));
    const before = await reach(store, starts, at);
    const now = await reach(store, starts, new Date(clock.now()));
    const still = new Set(now.map(({ root, name }) => JSON.stringify([root, name])));
    const formerly = before.filter(({ root, name, known }) => known && !still.has(JSON.stringify([root, name])));
    return all.flatMap((author) => [
      author,
      ...formerly.filter(({ root }) => root === humanKey(author.human)).map(({ name }) => ({ ...author, human: name })),
    ]);
  }

  /** Every person with all their names and addresses, and every link there was. */
  async list(): Promise<{ people: { key: string; names: string[]; emails: string[] }[]; links: HumanLink[] }> {
    const { store } = this.#options;
    await this.refresh();
    const emails = await listEmails(store);
    const people = [...Map.groupBy(await listHumans(store), (name) => this.keyOf(name))].map(([key, names]) => ({
      key,
      names,
      emails: [...new Set(emails.filter(({ human }) => names.includes(human)).map(({ email }) => email))],
    }));
    return { people, links: await listLinks(store) };
  }

  /** Reads who is who, if something has changed. */
  async refresh(): Promise<void> {
    const { store } = this.#options;
    const version = await humansVersion(store);
    if (version === this.#version) return;
    const [emails, links] = [await listEmails(store), await listLinks(store)];
    const edges = [
      ...emails.map(({ email, human }) => [email, human] as const),
      ...links.filter(isOpen).map(({ a, b }) => [a, b] as const),
    ];
    this.#keys = components(edges);
    this.#emails = new Map(
      [...Map.groupBy(emails, ({ email }) => email)].map(([email, rows]) => [email, rows.map(({ human }) => human)]),
    );
    // What was read may hold a change after `version`; then it is read once more, which does no harm.
    this.#version = version;
  }

  async #insert(ask: {
    a: string;
    b: string;
    source: HumanLink['source'];
    reason: string;
    by: string;
    at: Date;
  }): Promise<boolean> {
    const { store, record } = this.#options;
    const { a, b, source, reason, by, at } = ask;
    return changeHumans(store, async (transaction) => {
      const isNew = await insertLink(transaction, { a, b, source, reason, linkedBy: by, linkedAt: at });
      if (isNew) await record({ type: 'people.linked', names: [a, b], source, reason, by });
      return isNew;
    });
  }

  async #end(
    link: Pick<HumanLink, 'a' | 'b' | 'source'>,
    end: { readonly by: string; readonly at: Date; readonly reason: string },
  ): Promise<boolean> {
    const { store, record } = this.#options;
    const { a, b, source } = link;
    return changeHumans(store, async (transaction) => {
      const isEnded = await endLink(transaction, link, end);
      if (isEnded) await record({ type: 'people.unlinked', names: [a, b], source, reason: end.reason, by: end.by });
      return isEnded;
    });
  }
}

function isOpen(link: HumanLink): boolean {
  return link.unlinkedAt === undefined;
}

/** In order, because a link has no direction. @throws input_invalid */
function pairOf(a: string, b: string): { a: string; b: string } {
  const names = [nodeOf(a), nodeOf(b)].toSorted(byCodePoints);
  const [first = '', second = ''] = names;
  if (first !== '' && names.every((name) => name.length <= 255)) return { a: first, b: second };
  throw new CountersignError('input_invalid', 'a link is between two names of 1 to 255 characters');
}

function reasonOf(text: string): string {
  const reason = text.trim();
  if (reason !== '' && reason.length <= maxReasonLength && !reason.includes('\0')) return reason;
  throw new CountersignError('input_invalid', `say why, in 1 to ${maxReasonLength} characters`);
}

function byCodePoints(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function least(names: readonly string[]): string {
  return names.toSorted(byCodePoints)[0] ?? '';
}

/** Union-find: every name -> the least name that it is connected with. */
function components(edges: readonly (readonly [string, string])[]): Map<string, string> {
  const parents = new Map<string, string>();
  const find = (name: string): string => {
    let root = name;
    for (let next = parents.get(root); next !== undefined && next !== root; next = parents.get(root)) root = next;
    for (let at = name; at !== root; ) {
      const next = parents.get(at) ?? root;
      parents.set(at, root);
      at = next;
    }
    return root;
  };
  for (const [a, b] of edges) {
    const [low = a, high = b] = [find(a), find(b)].toSorted(byCodePoints);
    parents.set(low, low);
    parents.set(high, low);
  }
  return new Map([...parents.keys()].map((name) => [name, find(name)]));
}
