import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startHttpSink, type HttpSink } from '../../test/http-sink.ts';
import { CountersignError } from '../errors.ts';
import { post, type PostLimits } from './post.ts';

const closed: PostLimits = { timeoutMs: 2_000, allowLoopback: false, allowPrivate: false };
const onlyHere: PostLimits = { ...closed, allowLoopback: true };

async function refusal(address: string, limits: PostLimits): Promise<string> {
  try {
    await post(address, {}, '{}', limits);
  } catch (error) {
    assert.ok(error instanceof CountersignError && error.code === 'notification_failed', String(error));
    return error.message;
  }
  throw new Error(`${address} was reached`);
}

void describe('posting to a receiver', () => {
  let sink: HttpSink;
  before(async () => {
    sink = await startHttpSink();
  });
  after(() => sink.close());

  it('goes to this machine only where that is allowed', async () => {
    const { port } = new URL(sink.url);
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '2130706433', '0x7f.1']) {
      assert.match(await refusal(`http://${host}:${port}/`, closed), /https/);
      assert.match(await refusal(`https://${host}:${port}/`, closed), /this machine itself/);
    }
    assert.equal(sink.posts.length, 0, 'no byte came');
    const taken = await post(`${sink.url}/hook`, { 'x-a': 'b' }, '{"é":1}', onlyHere);
    assert.deepEqual(taken, { isTaken: true, isGone: false, status: 200 });
    const [arrived] = sink.posts.splice(0);
    assert.deepEqual([arrived?.path, arrived?.headers['x-a'], arrived?.body], ['/hook', 'b', '{"é":1}']);
  });

  it('goes to no private network, by address or by name, unless that is allowed', async () => {
    for (const host of ['10.0.0.1', '169.254.169.254', '192.168.1.1', '[fd00::1]', '0.0.0.0', '[::ffff:10.0.0.1]']) {
      assert.match(await refusal(`https://${host}/`, onlyHere), /private network/, host);
    }
    // With loopback allowed, plain HTTP is for loopback alone.
    assert.match(await refusal('http://10.0.0.1/', { ...onlyHere, allowPrivate: true }), /https/);
  });

  it('takes no address that is none, and names no more of it than its host', async () => {
    assert.match(await refusal('ftp://example.com/', closed), /no https address/);
    assert.match(await refusal('nonsense', closed), /no https address/);
    const message = await refusal('https://user:pw@127.0.0.1/secret-token', onlyHere);
    assert.doesNotMatch(message, /pw|secret-token/);
  });

  it('follows no redirect', async () => {
    sink.answer = 302;
    assert.deepEqual(await post(`${sink.url}/a`, {}, '{}', onlyHere), { isTaken: false, isGone: false, status: 302 });
    assert.deepEqual(
      sink.posts.splice(0).map(({ path }) => path),
      ['/a'],
    );
    sink.answer = 410;
    assert.equal((await post(sink.url, {}, '{}', onlyHere)).isGone, true);
    sink.answer = 200;
    sink.posts.splice(0);
  });

  it('does not wait for ever', async () => {
    sink.answer = 'hang';
    assert.match(await refusal(sink.url, { ...onlyHere, timeoutMs: 100 }), /did not answer within 100 ms/);
    sink.answer = 200;
    sink.posts.splice(0);
  });
});
