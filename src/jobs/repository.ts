/**
 * The job repository: a bare git repository that the gateway owns, one file per job under `jobs/`. A push is a commit on
 * `main`; nothing is rewritten. Who contributed to a version is read from the commits themselves, and is counted
 * generously: everybody in any commit that touched the file, because an author who is missed could approve their own work.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import git, { type CommitObject } from 'isomorphic-git';
import { CountersignError } from '../errors.ts';
import { emailKey } from '../identity/humans.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import type { AuthorRecord } from '../store/database.ts';
import { coAuthorsIn, everyAddress, type NameAndEmail } from './co-authors.ts';
import { maxDefinitionBytes } from './definition.ts';

/** Who pushes; a `Principal` is one. */
export interface Pusher {
  readonly id: string;
  readonly human: string;
  readonly displayName: string;
  readonly email: string | undefined;
}

/** The humans behind a name and e-mail in a commit; none if nobody is known by it. */
export type HumanResolver = (who: NameAndEmail) => readonly string[];
/** A commit's authors, and everybody who has counted as one of them since that time. */
export type AuthorsSince = (authors: readonly AuthorRecord[], at: Date) => Promise<readonly AuthorRecord[]>;

export interface JobRepositoryOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly humansOf: HumanResolver;
  readonly authorsSince: AuthorsSince;
}

export interface JobPush {
  /** `jobs/<name>.yaml` */
  readonly path: string;
  readonly content: string;
  readonly message: string;
  readonly pusher: Pusher;
  /** Who wrote it, if not the pusher. */
  readonly author?: NameAndEmail | undefined;
  readonly coAuthors?: readonly NameAndEmail[] | undefined;
  /** The newest commit of this file that the pusher has seen; null = the file is new. Left out: whatever is there is replaced. */
  readonly expectedParent?: string | null | undefined;
}

export interface JobCommit {
  readonly commit: string;
  /** SHA-256 of the content, hex. */
  readonly digest: string;
  /** False when the file already had exactly this content; the commit is then the one that gave it. */
  readonly changed: boolean;
}

export interface JobHistoryEntry {
  readonly commit: string;
  readonly authors: readonly AuthorRecord[];
  readonly message: string;
  readonly at: Date;
}

const branch = 'refs/heads/main';
const pathPattern = /^jobs\/[a-z0-9][a-z0-9_-]{0,62}\.yaml$/;
const pusherTrailer = 'Countersign-Pusher';
const staleLockMs = 30_000;
const lockWaitMs = 5_000;

interface TouchingCommit {
  readonly oid: string;
  readonly commit: CommitObject;
}

export class JobRepository {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #humansOf: HumanResolver;
  readonly #authorsSince: AuthorsSince;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor({ directory, clock, humansOf, authorsSince }: JobRepositoryOptions) {
    this.#directory = directory;
    this.#clock = clock;
    this.#humansOf = humansOf;
    this.#authorsSince = authorsSince;
  }

  /** Opens the bare repository in that directory; an empty or missing one is made. */
  static async open(options: JobRepositoryOptions): Promise<JobRepository> {
    const { directory } = options;
    await fs.promises.mkdir(directory, { recursive: true });
    const isRepository = await fs.promises.stat(join(directory, 'HEAD')).catch(() => undefined);
    if (isRepository === undefined) await git.init({ fs, gitdir: directory, bare: true, defaultBranch: 'main' });
    return new JobRepository(options);
  }

  /**
   * Commits a new content of one job. Pushes are done one after the other, also across processes.
   * @throws CountersignError `input_invalid` (path, size, names), `job_conflict` (somebody else pushed in between)
   */
  push(push: JobPush): Promise<JobCommit> {
    checkPush(push);
    const turn = this.#queue.then(() => this.#locked(() => this.#commit(push)));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** The content at a commit, or the newest; undefined if the file is not there. @throws CountersignError `job_unknown` for an unknown commit */
  async read(path: string, commit?: string): Promise<string | undefined> {
    checkPath(path);
    const from = commit ?? (await this.#head());
    const oid = from === undefined ? undefined : await this.#blobOid(await this.#treeOf(from), path);
    if (oid === undefined) return undefined;
    const { blob } = await git.readBlob({ fs, gitdir: this.#directory, oid });
    return Buffer.from(blob).toString('utf8');
  }

  /** Every commit that touched the file, newest first. */
  async history(path: string, commit?: string): Promise<JobHistoryEntry[]> {
    checkPath(path);
    const from = commit ?? (await this.#head());
    if (from === undefined) return [];
    if (commit !== undefined) await this.#treeOf(commit);
    return (await this.#touching(path, from)).map(({ oid, commit: object }) => ({
      commit: oid,
      authors: this.#authorsOf(object),
      message: object.message.trimEnd(),
      at: new Date(object.committer.timestamp * 1_000),
    }));
  }

  /** Everybody in any commit that touched the file, up to that commit; each human and role once. @throws CountersignError `job_unknown` */
  async authorsOf(path: string, commit: string): Promise<AuthorRecord[]> {
    const history = await this.history(path, commit);
    if (history.length === 0) throw jobUnknown(path, commit);
    const seen = new Map<string, AuthorRecord>();
    for (const { authors, at } of history) {
      for (const author of await this.#authorsSince(authors, at)) {
        const key = JSON.stringify([author.role, author.human, author.principal ?? '']);
        if (!seen.has(key)) seen.set(key, author);
      }
    }
    return [...seen.values()];
  }

  /** Paths of the jobs at the newest commit. */
  async list(): Promise<string[]> {
    const head = await this.#head();
    if (head === undefined) return [];
    const folder = await this.#entry(await this.#treeOf(head), 'jobs');
    if (folder === undefined) return [];
    const { tree } = await git.readTree({ fs, gitdir: this.#directory, oid: folder });
    return tree.map((entry) => `jobs/${entry.path}`).filter((path) => pathPattern.test(path));
  }

  async #commit(push: JobPush): Promise<JobCommit> {
    const gitdir = this.#directory;
    const head = await this.#head();
    const rootTree = head === undefined ? undefined : await this.#treeOf(head);
    const previous = head === undefined ? [] : await this.#touching(push.path, head);
    const parent = previous[0]?.oid ?? null;
    if (push.expectedParent !== undefined && push.expectedParent !== parent) {
      throw new CountersignError('job_conflict', `${push.path} was pushed by somebody else in between`, {
        detail: `expected ${push.expectedParent ?? 'no earlier version'}, found ${parent ?? 'no earlier version'}`,
        hint: 'read the newest version, bring your change into it and push again',
      });
    }
    const content = Buffer.from(push.content, 'utf8');
    const digest = sha256Hex(content);
    const blob = await git.writeBlob({ fs, gitdir, blob: content });
    const existing = rootTree === undefined ? undefined : await this.#blobOid(rootTree, push.path);
    if (existing === blob && parent !== null) return { commit: parent, digest, changed: false };

    const fileName = push.path.slice('jobs/'.length);
    const folder = rootTree === undefined ? undefined : await this.#entry(rootTree, 'jobs');
    const jobs = await this.#treeWith(folder, { mode: '100644', path: fileName, oid: blob, type: 'blob' });
    const tree = await this.#treeWith(rootTree, { mode: '040000', path: 'jobs', oid: jobs, type: 'tree' });
    const timestamp = Math.floor(this.#clock.now() / 1_000);
    const committer = { ...identityOf(push.pusher), timestamp, timezoneOffset: 0 };
    const author = push.author === undefined ? committer : { ...push.author, timestamp, timezoneOffset: 0 };
    const parents = head === undefined ? [] : [head];
    const commit = await git.writeCommit({
      fs,
      gitdir,
      commit: { message: messageOf(push), tree, parent: parents, author, committer },
    });
    await git.writeRef({ fs, gitdir, ref: branch, value: commit, force: true });
    return { commit, digest, changed: true };
  }

  async #treeWith(
    tree: string | undefined,
    entry: { mode: string; path: string; oid: string; type: 'blob' | 'tree' },
  ): Promise<string> {
    const gitdir = this.#directory;
    const entries = tree === undefined ? [] : (await git.readTree({ fs, gitdir, oid: tree })).tree;
    const others = entries.filter((one) => one.path !== entry.path);
    return git.writeTree({ fs, gitdir, tree: [...others, entry] });
  }

  async #head(): Promise<string | undefined> {
    return git.resolveRef({ fs, gitdir: this.#directory, ref: branch }).catch((error: unknown) => {
      if (error instanceof git.Errors.NotFoundError) return undefined;
      throw error;
    });
  }

  async #treeOf(commit: string): Promise<string> {
    const found = await git.readCommit({ fs, gitdir: this.#directory, oid: commit }).catch((cause: unknown) => {
      throw new CountersignError('job_unknown', `the job repository has no commit ${commit}`, { cause });
    });
    return found.commit.tree;
  }

  async #entry(tree: string, name: string): Promise<string | undefined> {
    const { tree: entries } = await git.readTree({ fs, gitdir: this.#directory, oid: tree });
    return entries.find((entry) => entry.path === name)?.oid;
  }

  async #blobOid(tree: string, path: string): Promise<string | undefined> {
    const folder = await this.#entry(tree, 'jobs');
    return folder === undefined ? undefined : this.#entry(folder, path.slice('jobs/'.length));
  }

  /** Commits reachable from `from` whose file differs from that of some parent (so merges and deletions count), newest first. */
  async #touching(path: string, from: string): Promise<TouchingCommit[]> {
    const gitdir = this.#directory;
    const blobs = new Map<string, string | undefined>();
    const blobAt = async (oid: string) => {
      if (!blobs.has(oid)) blobs.set(oid, await this.#blobOid(await this.#treeOf(oid), path));
      return blobs.get(oid);
    };
    const touching: TouchingCommit[] = [];
    for (const { oid, commit } of await git.log({ fs, gitdir, ref: from })) {
      const own = await blobAt(oid);
      const before = await Promise.all(commit.parent.map(blobAt));
      const differs = before.length === 0 ? own !== undefined : before.some((other) => other !== own);
      if (differs) touching.push({ oid, commit });
    }
    return touching;
  }

  #authorsOf(commit: CommitObject): AuthorRecord[] {
    const pushers = trailerPushers(commit.message);
    const records: AuthorRecord[] = pushers.map(({ author }) => ({ ...author, role: 'pusher' }));
    const add = (who: NameAndEmail, role: AuthorRecord['role']) => {
      const pusher = pushers.find(({ id }) => ownAddress(id) === who.email);
      // An address that several humans use makes authors of them all; one that nobody is known by counts as itself.
      const known = pusher === undefined ? this.#humansOf(who) : [];
      const humans = known.length === 0 ? [emailKey(who.email) || who.name] : known;
      if (pusher !== undefined) records.push({ ...pusher.author, role });
      else for (const human of humans) records.push({ human, name: who.name, role });
    };
    for (const who of everyAddress(commit.author)) add(who, 'author');
    for (const who of everyAddress(commit.committer)) add(who, 'committer');
    for (const who of coAuthorsIn(commit.message)) add(who, 'co-author');
    return records;
  }

  /** Between processes: a lock file that only its maker removes, unless its maker died. */
  async #locked<T>(work: () => Promise<T>): Promise<T> {
    const path = join(this.#directory, 'countersign-push.lock');
    const deadline = Date.now() + lockWaitMs;
    for (;;) {
      const made = await fs.promises.writeFile(path, String(process.pid), { flag: 'wx' }).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return false;
          throw error;
        },
      );
      if (made) break;
      await removeIfStale(path);
      if (Date.now() > deadline) {
        throw new CountersignError('job_conflict', 'another push to the job repository is going on', {
          hint: 'push again',
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    try {
      return await work();
    } finally {
      await fs.promises.rm(path, { force: true });
    }
  }
}

/** Of several that see the stale lock, one renames it away. */
async function removeIfStale(path: string): Promise<void> {
  const found = await fs.promises.stat(path).catch(() => undefined);
  if (found === undefined || Date.now() - found.mtimeMs < staleLockMs) return;
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  await fs.promises.rename(path, aside).catch(() => undefined);
  await fs.promises.rm(aside, { force: true });
}

function checkPath(path: string): void {
  if (pathPattern.test(path)) return;
  throw new CountersignError('input_invalid', 'a job lives at jobs/<name>.yaml', {
    hint: 'the name is 1 to 63 lower-case letters, digits, - and _',
  });
}

function checkPush(push: JobPush): void {
  checkPath(push.path);
  if (Buffer.byteLength(push.content) > maxDefinitionBytes) {
    throw new CountersignError('input_invalid', `a job file has at most ${maxDefinitionBytes} bytes`);
  }
  if (!push.content.isWellFormed() || push.content.includes('\0')) {
    throw new CountersignError('input_invalid', 'a job file is UTF-8 text without NUL');
  }
  if (push.message.trim() === '' || push.message.length > 8_192 || push.message.includes('\0')) {
    throw new CountersignError('input_invalid', 'a push needs a message of 1 to 8192 characters');
  }
  for (const who of [push.author, ...(push.coAuthors ?? [])]) {
    if (who === undefined) continue;
    const clean = /^[^<>\n\r\0]{1,200}$/;
    if (!clean.test(who.name) || !clean.test(who.email)) {
      throw new CountersignError(
        'input_invalid',
        'an author has a name and an e-mail address without < > and line breaks',
      );
    }
  }
}

/** Git headers cannot hold these characters; the exact pusher is in the trailer. */
function identityOf(pusher: Pusher): NameAndEmail {
  const clean = (text: string) => text.replace(/[<>\n\r\0]/g, ' ').trim();
  return {
    name: clean(pusher.displayName) || clean(pusher.id) || 'unknown',
    email: clean(pusher.email ?? '') || ownAddress(pusher.id),
  };
}

/** Of a pusher without an address: it says nothing that the trailer does not say. */
function ownAddress(id: string): string {
  return `${encodeURIComponent(id)}@principal.invalid`;
}

function messageOf(push: JobPush): string {
  const { id, human, displayName } = push.pusher;
  const trailers = (push.coAuthors ?? []).map((who) => `Co-authored-by: ${who.name} <${who.email}>`);
  trailers.push(`${pusherTrailer}: ${JSON.stringify({ id, human, name: displayName })}`);
  return `${push.message.trim()}\n\n${trailers.join('\n')}\n`;
}

function trailerPushers(message: string): { id: string; author: Omit<AuthorRecord, 'role'> }[] {
  return [...message.matchAll(new RegExp(`^${pusherTrailer}: (\\{.*\\})$`, 'gm'))].flatMap((match) => {
    try {
      const value = JSON.parse(match[1] ?? '') as { id?: unknown; human?: unknown; name?: unknown };
      const { id, human } = value;
      const name = typeof value.name === 'string' ? value.name : '';
      if (typeof human !== 'string') return [];
      // A person is their own principal; anything else is an account that may change hands.
      const isAccount = typeof id === 'string' && id !== human;
      const author = { human, name, ...(isAccount ? { principal: id } : {}) };
      return [{ id: typeof id === 'string' ? id : '', author }];
    } catch {
      // Somebody's own text that only looks like ours; the commit's author and committer still count.
      return [];
    }
  });
}

function jobUnknown(path: string, commit: string | undefined): CountersignError {
  return new CountersignError(
    'job_unknown',
    `there is no ${path}${commit === undefined ? '' : ` at commit ${commit}`}`,
  );
}
