import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fs from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';
import git from 'isomorphic-git';
import { CountersignError } from '../errors.ts';
import type { NameAndEmail } from './co-authors.ts';
import { JobRepository, type AuthorsSince, type JobPush, type Pusher } from './repository.ts';

const dora: Pusher = { id: 'dora', human: 'dora', displayName: 'Dora', email: 'dora@example.test' };
const robot: Pusher = { id: 'etl-designer', human: 'dora', displayName: 'ETL', email: undefined };
const erik: Pusher = { id: 'erik', human: 'erik', displayName: 'Erik', email: 'erik@example.test' };
const path = 'jobs/export.yaml';

const people = new Map([
  ['dora@example.test', 'dora'],
  ['d.alias@example.test', 'dora'],
  ['erik@example.test', 'erik'],
]);
const humansOf = ({ email }: NameAndEmail) => {
  const human = people.get(email.toLowerCase());
  return human === undefined ? [] : [human];
};

const authorsSince: AuthorsSince = (authors) => Promise.resolve(authors);

function refusal(code: string) {
  return (error: unknown) => error instanceof CountersignError && error.code === code;
}

void describe('job repository', () => {
  let root: string;
  let directory: string;
  let repository: JobRepository;
  let now = 1_700_000_000_000;
  const clock = { now: () => now };
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'countersign-jobs-'));
  });
  after(() => rm(root, { recursive: true, force: true }));
  beforeEach(async () => {
    directory = await mkdtemp(join(root, 'repo-'));
    now = 1_700_000_000_000;
    repository = await JobRepository.open({ directory, clock, humansOf, authorsSince });
  });
  const push = (content: string, more: Partial<JobPush> = {}) =>
    repository.push({ path, content, message: 'change', pusher: dora, ...more });

  void test('keeps every version, readable by git', async () => {
    const first = await push('a: 1\n');
    const second = await push('a: 2\n');
    assert.notEqual(first.commit, second.commit);
    assert.equal(await repository.read(path), 'a: 2\n');
    assert.equal(await repository.read(path, first.commit), 'a: 1\n');
    assert.equal(await repository.read('jobs/other.yaml'), undefined);
    const log = await git.log({ fs, gitdir: directory, ref: 'main' });
    assert.deepEqual(
      log.map((entry) => [entry.oid, entry.commit.author.email]),
      [
        [second.commit, 'dora@example.test'],
        [first.commit, 'dora@example.test'],
      ],
    );
  });

  void test('jobs do not disturb each other', async () => {
    await push('a: 1\n');
    await repository.push({ path: 'jobs/other.yaml', content: 'b: 1\n', message: 'other', pusher: erik });
    assert.equal(await repository.read(path), 'a: 1\n');
    assert.deepEqual(await repository.list(), ['jobs/export.yaml', 'jobs/other.yaml']);
    assert.deepEqual(
      (await repository.history(path)).map((entry) => entry.authors.map((one) => one.human)),
      [['dora', 'dora', 'dora']],
    );
  });

  void test('the same content again is no new version', async () => {
    const first = await push('a: 1\n');
    const again = await push('a: 1\n', { pusher: erik });
    assert.deepEqual([again.commit, again.changed], [first.commit, false]);
  });

  void test('an open repository is opened again with its history', async () => {
    const first = await push('a: 1\n');
    const again = await JobRepository.open({ directory, clock, humansOf, authorsSince });
    assert.equal((await again.history(path))[0]?.commit, first.commit);
  });

  void describe('authors', () => {
    const authorsAt = async (commit: string) =>
      (await repository.authorsOf(path, commit)).map(({ human, role }) => `${role} ${human}`).sort();

    void test('are pusher, commit author, committer and co-authors', async () => {
      const { commit } = await push('a: 1\n', {
        pusher: robot,
        author: { name: 'Erik', email: 'Erik@example.test' },
        coAuthors: [{ name: 'Nobody', email: 'Who@Example.test' }],
      });
      assert.deepEqual(await authorsAt(commit), [
        'author erik',
        'co-author who@example.test',
        'committer dora',
        'pusher dora',
      ]);
    });

    void test('count over all commits of the file up to that version', async () => {
      const first = await push('a: 1\n', { pusher: erik });
      const second = await push('a: 2\n');
      assert.deepEqual(await authorsAt(first.commit), ['author erik', 'committer erik', 'pusher erik']);
      assert.ok((await authorsAt(second.commit)).includes('pusher erik'));
      assert.ok((await authorsAt(second.commit)).includes('pusher dora'));
    });

    void test('stay authors when the file is deleted and made again', async () => {
      const first = await push('a: 1\n', { pusher: erik });
      const tree = await git.writeTree({ fs, gitdir: directory, tree: [] });
      const someone = { name: 'S', email: 's@example.test', timestamp: 1_700_000_001, timezoneOffset: 0 };
      const removed = { message: 'remove', tree, parent: [first.commit], author: someone, committer: someone };
      const commit = await git.writeCommit({ fs, gitdir: directory, commit: removed });
      await git.writeRef({ fs, gitdir: directory, ref: 'refs/heads/main', value: commit, force: true });
      const again = await push('a: 2\n');
      assert.ok((await authorsAt(again.commit)).includes('pusher erik'));
      assert.ok((await authorsAt(again.commit)).includes('author s@example.test'));
    });

    void test('of a merged side branch count', async () => {
      const first = await push('a: 1\n');
      const gitdir = directory;
      const person = (email: string) => ({ name: email, email, timestamp: 1_700_000_002, timezoneOffset: 0 });
      const treeWith = async (content: string) => {
        const blob = await git.writeBlob({ fs, gitdir, blob: Buffer.from(content) });
        const jobs = await git.writeTree({
          fs,
          gitdir,
          tree: [{ mode: '100644', path: 'export.yaml', oid: blob, type: 'blob' }],
        });
        return git.writeTree({ fs, gitdir, tree: [{ mode: '040000', path: 'jobs', oid: jobs, type: 'tree' }] });
      };
      const commitOf = async (content: string, email: string, parent: string[]) =>
        git.writeCommit({
          fs,
          gitdir,
          commit: {
            message: 'm',
            tree: await treeWith(content),
            parent,
            author: person(email),
            committer: person(email),
          },
        });
      const side = await commitOf('a: side\n', 'side@example.test', [first.commit]);
      // The merge takes the side's content, so it differs from its first parent only.
      const merge = await commitOf('a: side\n', 'merger@example.test', [first.commit, side]);
      await git.writeRef({ fs, gitdir, ref: 'refs/heads/main', value: merge, force: true });
      const authors = await authorsAt(merge);
      for (const human of ['side@example.test', 'merger@example.test', 'dora']) {
        assert.ok(authors.includes(`author ${human}`), `${human} in ${authors.join()}`);
      }
    });

    void test('trailers count wherever they stand in the message', async () => {
      const message = 'Subject\n\nco-authored-by:  Dora Two <D.Alias@example.test>\n\nMore text.';
      const { commit } = await push('a: 1\n', { pusher: erik, message });
      assert.ok((await authorsAt(commit)).includes('co-author dora'));
    });

    void test('a forged pusher trailer adds, and takes nobody away', async () => {
      const message = 'x\n\nCountersign-Pusher: {"human":"erik","id":"erik","name":"E"}';
      const { commit } = await push('a: 1\n', { message });
      const authors = await authorsAt(commit);
      assert.ok(authors.includes('pusher dora') && authors.includes('pusher erik'));
    });

    void test('a name cannot break out of its commit header', async () => {
      const evil = { ...dora, displayName: 'x>\nauthor Erik <erik@example.test> 1 +0000', email: undefined };
      const { commit } = await push('a: 1\n', { pusher: evil });
      const [entry] = await git.log({ fs, gitdir: directory, ref: commit });
      assert.deepEqual(
        [entry?.commit.author.email, entry?.commit.committer.email],
        ['dora@principal.invalid', 'dora@principal.invalid'],
      );
      const authors = await authorsAt(commit);
      for (const one of ['author dora', 'committer dora', 'pusher dora']) assert.ok(authors.includes(one), one);
    });
  });

  void describe('concurrency', () => {
    void test('of two pushes from one parent, one is told of the conflict', async () => {
      const { commit } = await push('a: 1\n');
      const other = await JobRepository.open({ directory, clock, humansOf, authorsSince });
      const results = await Promise.allSettled([
        push('a: 2\n', { expectedParent: commit }),
        other.push({ path, content: 'a: 3\n', message: 'm', pusher: erik, expectedParent: commit }),
      ]);
      const refused = results.filter((result) => result.status === 'rejected');
      assert.equal(refused.length, 1);
      assert.ok(refusal('job_conflict')(refused[0]?.reason));
    });

    void test('a new file may not be there already', async () => {
      await push('a: 1\n');
      await assert.rejects(push('a: 2\n', { expectedParent: null }), refusal('job_conflict'));
    });

    void test('many pushes at once lose nothing', async () => {
      const second = await JobRepository.open({ directory, clock, humansOf, authorsSince });
      await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          (index % 2 === 0 ? repository : second).push({
            path: `jobs/j${index}.yaml`,
            content: `a: ${index}\n`,
            message: 'm',
            pusher: dora,
          }),
        ),
      );
      assert.equal((await repository.list()).length, 10);
      assert.equal((await git.log({ fs, gitdir: directory, ref: 'main' })).length, 10);
    });

    void test('a lock that a crash left is taken over', async () => {
      const lock = join(directory, 'countersign-push.lock');
      fs.writeFileSync(lock, '1');
      fs.utimesSync(lock, 1, 1);
      await push('a: 1\n');
      assert.equal(fs.existsSync(lock), false);
    });
  });

  const badPaths = [
    '../x.yaml',
    'jobs/../x.yaml',
    '/jobs/x.yaml',
    'jobs/x.yml',
    'jobs/a/b.yaml',
    'jobs/.yaml',
    'jobs/X.yaml',
    'jobs/x.yaml\n',
  ];
  for (const bad of badPaths) {
    void test(`refuses the path ${JSON.stringify(bad)}`, async () => {
      await assert.rejects(async () => push('a: 1\n', { path: bad }), refusal('input_invalid'));
      await assert.rejects(repository.read(bad), refusal('input_invalid'));
    });
  }

  void test('an unknown commit is an error, not an empty history', async () => {
    await push('a: 1\n');
    await assert.rejects(repository.authorsOf(path, '0'.repeat(40)), CountersignError);
  });
});
