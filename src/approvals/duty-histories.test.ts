/**
 * Promise P3 as a property, where one human has several names: people with second accounts, addresses that change, links
 * that come and go, service accounts that change hands, commits with co-authors, two nodes, two things at once. Whatever
 * they do in whatever order: nobody approves or executes what they authored or asked for, nobody counts twice, and in
 * strict mode nobody executes what they approved. The model below knows who is who from what was done, in code of its own.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { everyDuty, jobInput, startServices, type Services } from '../../test/approval-fixtures.ts';
import { startTestStore } from '../../test/control-store.ts';
import { CountersignError } from '../errors.ts';
import { Humans } from '../identity/humans.ts';
import type { Principal } from '../identity/principal.ts';
import { ServiceAccounts } from '../identity/service-accounts.ts';
import { JobRepository } from '../jobs/repository.ts';
import { insertJobVersion } from '../store/jobs.ts';
import { upsertPrincipal } from '../store/principals.ts';
import type { GrantInput } from './digest.ts';
import { defaultWorkflow } from './workflow.ts';

const database = await startTestStore({ maxConnections: 30 });
const root = await mkdtemp(join(tmpdir(), 'countersign-duties-'));
after(async () => {
  await database.stop();
  await rm(root, { recursive: true, force: true });
});
const { store } = database;

const nameCount = 7;
const addressCount = 6;
const accountCount = 2;
const index = (count: number) => fc.nat({ max: count - 1 });
const who = index(nameCount + accountCount);
const name = index(nameCount);
const address = index(addressCount);

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constant('push' as const),
      who,
      author: fc.option(address, { freq: 3 }),
      coAuthors: fc.array(fc.tuple(address, index(6)), { maxLength: 1 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ what: fc.constant('approve' as const), who, request: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constantFrom('break-glass' as const, 'review' as const),
      who,
      request: fc.nat(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ what: fc.constant('claim' as const), who, request: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constantFrom('reject' as const, 'withdraw' as const), who, request: fc.nat() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constantFrom('link' as const, 'unlink' as const),
      a: name,
      b: name,
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('mail' as const), a: name, address }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant('transfer' as const), account: index(accountCount), to: name }),
  },
);
const history = fc.record({
  strict: fc.boolean(),
  count: fc.constantFrom(1, 1, 2),
  /** Addresses that nobody has at first stay unknown until somebody is seen with them. */
  addresses: fc.array(fc.option(address, { freq: 4 }), { minLength: nameCount, maxLength: nameCount }),
  steps: fc.array(fc.record({ step, node: index(2), withNext: fc.boolean() }), { minLength: 12, maxLength: 40 }),
});
type History = typeof history extends fc.Arbitrary<infer T> ? T : never;
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Who did something, and when; through which account. */
interface Deed {
  readonly name: string;
  readonly at: number;
  readonly account: string | undefined;
}

interface Ask {
  readonly id: string;
  readonly input: GrantInput;
  readonly authors: readonly Deed[];
  readonly requester: Deed;
  readonly approvals: Deed[];
  /** Everybody who had a part after the asking: approved, executed, reviewed. */
  readonly parts: Deed[];
  /** Approvals before it do not count. */
  breakGlassAt: number | undefined;
  used: boolean;
}

const seen = new Map<string, number>();
const note = (what: string) => void seen.set(what, (seen.get(what) ?? 0) + 1);

/** What is known of who is who, by what was done; nothing is asked of the code that is tested. */
class Model {
  readonly edges: { a: string; b: string; endedAt: number }[] = [];
  readonly owners = new Map<string, { owner: string; endedAt: number }[]>();
  readonly people = new Set<string>();

  join(a: string, b: string): void {
    this.edges.push({ a, b, endedAt: Number.POSITIVE_INFINITY });
  }

  /** Everything that was connected with this at that time or later. */
  reach(from: string, since: number): Set<string> {
    const found = new Set([from]);
    for (const one of found) {
      for (const { a, b, endedAt } of this.edges) {
        if (endedAt <= since) continue;
        if (a === one) found.add(b);
        if (b === one) found.add(a);
      }
    }
    return found;
  }

  /** Everybody to whom it counts: whoever did it, and who has owned the account since. */
  namesOf(deed: Deed): string[] {
    const owners = deed.account === undefined ? [] : (this.owners.get(deed.account) ?? []);
    return [deed.name, ...owners.filter(({ endedAt }) => endedAt > deed.at).map(({ owner }) => owner)];
  }

  isBy(deed: Deed, human: string): boolean {
    return this.namesOf(deed).some((one) => this.reach(one, deed.at).has(human));
  }

  isKnown(deed: Deed): boolean {
    return this.namesOf(deed).some((one) => [...this.reach(one, deed.at)].some((other) => this.people.has(other)));
  }

  copy(): Model {
    const model = new Model();
    model.edges.push(...this.edges.map((edge) => ({ ...edge })));
    for (const [account, owners] of this.owners)
      model.owners.set(
        account,
        owners.map((one) => ({ ...one })),
      );
    for (const one of this.people) model.people.add(one);
    return model;
  }
}

const spellings: readonly ((address: string) => string)[] = [
  (one) => `Co-authored-by: Somebody <${one}>`,
  (one) => `co-authored-by: ${one}`,
  (one) => `CO-AUTHORED-BY: Somebody\n  <${one.toUpperCase()}>`,
  (one) => `Co-authored-by: Somebody <${one.replace('@', '+git@')}>\n\nMore words.`,
  (one) => `Faster. Co-Authored-By: Somebody <${one}>`,
  (one) => `> Co‑authored‑by : <mailto:${one}>`,
];

interface Act {
  readonly what: 'approve' | 'reject' | 'withdraw' | 'claim' | 'break-glass' | 'review';
  readonly who: number;
  readonly request: number;
}

function isAct(step: Step): step is Step & Act {
  return ['approve', 'reject', 'withdraw', 'claim', 'break-glass', 'review'].includes(step.what);
}

let runs = 0;

class World {
  readonly #tag = `r${++runs}`;
  readonly #one: History;
  readonly #model = new Model();
  readonly #asks: Ask[] = [];
  readonly #commits: Deed[] = [];
  readonly #claims: (() => void)[] = [];
  readonly #admin: Principal;
  readonly #mails: (string | undefined)[];
  #now = Date.parse('2026-01-02T03:04:05Z');
  #nodes: { humans: Humans; accounts: ServiceAccounts; services: Services }[] = [];
  #repository: JobRepository | undefined;

  constructor(one: History) {
    this.#one = one;
    this.#admin = this.#person('root');
    this.#mails = one.addresses.map((at) => (at === null ? undefined : this.#address(at)));
  }

  async open(): Promise<void> {
    const clock = { now: () => this.#now };
    const quiet = () => Promise.resolve();
    const { count, strict } = this.#one;
    const breakGlass = { approvals: 1, reviewers: 1, reviewWithinMs: 3_600_000, duringQuietHours: true };
    const workflows = [{ ...defaultWorkflow, strict, approvals: { count }, breakGlass }];
    this.#nodes = [0, 1].map(() => {
      const humans = new Humans({ store, clock, record: quiet });
      const accounts = new ServiceAccounts({
        store,
        clock,
        random: randomBytes,
        humans,
        record: quiet,
        isAdmin: ({ id }) => id === this.#admin.id,
        keyMaxTtlMs: 1_000,
        endAccess: quiet,
        endRevoked: quiet,
      });
      return { humans, accounts, services: startServices(database, { workflows, humans }) };
    });
    const { humans, accounts } = this.#node(0);
    this.#repository = await JobRepository.open({
      directory: join(root, this.#tag),
      clock,
      humansOf: ({ email }) => humans.humansByEmail(email),
      authorsSince: (authors, at) => humans.authorsSince(authors, at),
    });
    await humans.seen(this.#admin);
    for (let at = 0; at < nameCount; at++) await this.#see(this.#name(at), this.#mails[at]);
    for (let at = 0; at < accountCount; at++) {
      const [account, owner] = [this.#account(at), this.#name(at)];
      await accounts.create(this.#admin, { name: account, owner, groups: [] });
      await accounts.accept(this.#person(owner), account);
      this.#model.owners.set(account, [{ owner, endedAt: Number.POSITIVE_INFINITY }]);
    }
    await this.play({ what: 'push', who: 0, author: null, coAuthors: [] }, 0, this.#model);
  }

  async all(): Promise<void> {
    const { steps } = this.#one;
    for (let at = 0; at < steps.length; at++) {
      const first = steps[at];
      const second = first?.withNext === true ? steps[++at] : undefined;
      if (first === undefined) continue;
      this.#now += 2_000;
      for (const { services } of this.#nodes) services.clock.time = this.#now;
      // Of two things at once, each may have been first: it must be right by what was so before both.
      const before = this.#model.copy();
      const plays = [first, ...(second === undefined ? [] : [second])].map((one) =>
        this.play(one.step, one.node, before),
      );
      for (const { status, ...more } of await Promise.allSettled(plays)) {
        if (status === 'fulfilled') continue;
        const { reason } = more as { reason: unknown };
        if (!(reason instanceof CountersignError)) throw reason;
        note(reason.code);
      }
      for (const judge of this.#claims.splice(0)) judge();
    }
    for (const { services } of this.#nodes) await services.requests.close();
  }

  async play(step: Step, node: number, before: Model): Promise<void> {
    if (step.what === 'push') return this.#push(step, node);
    if (step.what === 'link' || step.what === 'unlink') return this.#link(step, node);
    const { humans, accounts } = this.#node(node);
    if (step.what === 'mail') return this.#see(this.#name(step.a), this.#address(step.address), humans);
    if (isAct(step)) return this.#act(step, node, before);
    if (step.what !== 'transfer') return;
    const [account, to] = [this.#account(step.account), this.#name(step.to)];
    await accounts.offer(this.#admin, account, to);
    await accounts.accept(this.#person(to), account);
    const owners = this.#model.owners.get(account) ?? [];
    const last = owners.at(-1);
    if (last?.owner === to) return;
    if (last !== undefined) last.endedAt = this.#now;
    owners.push({ owner: to, endedAt: Number.POSITIVE_INFINITY });
    note('transfer');
  }

  async #push(step: Step & { what: 'push' }, node: number): Promise<void> {
    const pusher = this.#principal(step.who);
    const repository = this.#repository;
    assert(repository !== undefined);
    const at = this.#now;
    const coAuthors = step.coAuthors.map(([one, spelling]) => spellings[spelling]?.(this.#address(one)) ?? '');
    const author = step.author === null ? undefined : { name: 'Author', email: this.#address(step.author) };
    const job = `${this.#tag}-job`;
    const path = `jobs/${job}.yaml`;
    const content = `job: ${randomBytes(8).toString('hex')}`;
    const message = ['change', ...coAuthors].join('\n\n');
    const account = pusher.kind === 'service' ? pusher.id : undefined;
    const deeds: Deed[] = [
      { name: pusher.human, at, account },
      ...step.coAuthors.map(([one]) => ({ name: this.#address(one), at, account: undefined })),
      ...(author === undefined ? [] : [{ name: author.email, at, account: undefined }]),
    ];
    const { commit, digest } = await repository.push({ path, content, message, pusher, author });
    // Pushes are done one after the other: these are the authors up to this commit.
    this.#commits.push(...deeds);
    const contributors = [...this.#commits];
    const version = await insertJobVersion(store, {
      job,
      path,
      commit,
      contentDigest: digest,
      content,
      connection: 'crm',
      authors: await repository.authorsOf(path, commit),
      pushedBy: pusher.id,
      pushedAt: new Date(at),
    });
    const { authors } = version;
    const input = jobInput({ job: { name: job, path, contentDigest: digest, commit, authors } });
    const ask = { requester: pusher, duties: everyDuty, connection: 'crm', title: job, input };
    const { id } = await this.#node(node).services.requests.create({ ...ask, jobVersion: version.version });
    const requester = { name: pusher.human, at, account };
    this.#asks.push({
      id,
      input,
      authors: contributors,
      requester,
      approvals: [],
      parts: [],
      breakGlassAt: undefined,
      used: false,
    });
    note('push');
  }

  async #link({ what, a, b }: Step & { what: 'link' | 'unlink' }, node: number): Promise<void> {
    const { humans } = this.#node(node);
    if (what === 'link') {
      await humans.link(this.#name(a), this.#name(b), this.#admin, 'because');
      this.#model.join(this.#name(a), this.#name(b));
    } else {
      const links = this.#model.edges.filter((one) => !one.b.includes('@') && one.endedAt > this.#now);
      const edge = links[(a * nameCount + b) % links.length];
      if (edge === undefined) return;
      await humans.unlink(edge.b, edge.a, this.#admin, 'because');
      edge.endedAt = this.#now;
    }
    note(what);
  }

  async #act({ what, who: actor, request }: Act, node: number, before: Model): Promise<void> {
    const { requests, grants } = this.#node(node).services;
    const ask = this.#asks[request % this.#asks.length];
    assert(ask !== undefined);
    // Only whoever asked gets anywhere with break-glass, so mostly they ask.
    const isTheirs = what === 'break-glass' && actor % 4 > 0;
    const principal = isTheirs ? this.#person(ask.requester.name) : this.#principal(actor);
    const { human } = principal;
    const duties = everyDuty;
    const deed = { name: human, at: this.#now, account: principal.kind === 'service' ? principal.id : undefined };
    if (what === 'break-glass') {
      await requests.breakGlass.ask(ask.id, principal, 'because');
      assert(before.isBy(ask.requester, human), `${human} asked for break-glass of ${ask.requester.name}`);
      ask.breakGlassAt = this.#now;
      return note(what);
    }
    if (what === 'review') {
      await requests.breakGlass.review(ask.id, { principal, duties }, 'ok', '');
      this.#judge(before, ask, human, what);
      assert(!before.isBy(ask.requester, human), `${human} reviewed what they asked for`);
      assert(!ask.parts.some((part) => before.isBy(part, human)), `${human} reviewed what they had a part in`);
      return note(what);
    }
    if (what === 'withdraw') return void (await requests.withdraw(ask.id, { principal, duties }));
    if (what === 'claim') {
      await grants.claim({ requestId: ask.id, principal, duties, current: ask.input });
      assert(!ask.used, 'a grant was used twice');
      ask.used = true;
      ask.parts.push(deed);
      this.#judge(before, ask, human, 'executed');
      // An approval at the same time may have been the one before it.
      this.#claims.push(() => {
        const isApprover = ask.approvals.some((deed) => before.isBy(deed, human));
        assert(!this.#one.strict || !isApprover, `${human} executed what they approved`);
        this.#judgeApprovals(before, ask);
      });
      note('claim');
      return;
    }
    await requests.decide(ask.id, principal, duties, what, 'because');
    this.#judge(before, ask, human, what);
    assert(!before.isBy(ask.requester, human), `${human} decided on what they asked for`);
    if (what === 'approve') {
      ask.approvals.push(deed);
      ask.parts.push(deed);
    }
    note(what);
  }

  #judge(model: Model, ask: Ask, human: string, did: string): void {
    for (const deed of ask.authors) {
      assert(!model.isBy(deed, human), `${human} ${did} what ${deed.name} authored`);
      if (did !== 'reject') assert(model.isKnown(deed), `${human} ${did} the work of ${deed.name}, whom nobody knows`);
    }
  }

  /** So many humans, none of whom is another one, an author or the requester. */
  #judgeApprovals(model: Model, ask: Ask): void {
    const { authors, requester, approvals, breakGlassAt } = ask;
    const count = breakGlassAt === undefined ? this.#one.count : 1;
    const independent = approvals.filter(
      ({ name: one, at }) =>
        at >= (breakGlassAt ?? 0) && !authors.some((deed) => model.isBy(deed, one)) && !model.isBy(requester, one),
    );
    const humans = new Set(independent.map(({ name: one }) => [...model.reach(one, requester.at)].toSorted().join()));
    assert(
      humans.size >= count,
      `${humans.size} of ${count} humans were enough: ${JSON.stringify({ ...ask, input: undefined, edges: model.edges })}`,
    );
  }

  async #see(human: string, email: string | undefined, humans = this.#node(0).humans): Promise<void> {
    const principal = { ...this.#person(human), email };
    await humans.seen(principal);
    await upsertPrincipal(
      store,
      { ...principal, provider: 'default', groupsAt: new Date(this.#now) },
      new Date(this.#now),
    );
    this.#model.people.add(human);
    if (email !== undefined) this.#model.join(human, email);
  }

  #principal(at: number): Principal {
    if (at < nameCount) return this.#person(this.#name(at));
    const id = this.#account(at - nameCount);
    const human = this.#model.owners.get(id)?.at(-1)?.owner ?? '';
    return { id, human, kind: 'service', displayName: id, email: undefined, groups: [] };
  }

  #node(at: number) {
    const node = this.#nodes[at];
    assert(node !== undefined);
    return node;
  }

  #name(at: number): string {
    return `${this.#tag}-person${at}`;
  }

  #account(at: number): string {
    return `${this.#tag}-etl${at}`;
  }

  #address(at: number): string {
    return `${this.#tag}.mail${at}@example.test`;
  }

  #person(id: string): Principal {
    return { id, human: id, kind: 'person', displayName: id, email: undefined, groups: [] };
  }
}

void test('no history of people, accounts and links puts one human into two conflicting duties', {
  timeout: 300_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(history, async (one) => {
      const world = new World(one);
      await world.open();
      await world.all();
    }),
    { numRuns: 50 },
  );
  // The property says something only if all of this happens.
  for (const what of [
    'push',
    'approve',
    'claim',
    'link',
    'unlink',
    'transfer',
    'break-glass',
    'duty_conflict',
    'grant_missing',
  ]) {
    assert((seen.get(what) ?? 0) > 0, `${what} never happened`);
  }
});
