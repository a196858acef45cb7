/** The stream of changes: heard by whoever is logged in, bounded, ended with the log-in, and holding no data. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';
import { PageVisitor } from './page-visitor.ts';

let harness: Harness;

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    configure: (raw) => {
      Object.assign(raw['api'] as object, { maxEventStreams: 3 });
      (raw['bindings'] as object[]).push({ group: 'readers', duties: ['admin'] });
    },
  });
});

after(() => harness?.close());

class Listener {
  readonly status: number;
  readonly type: string;
  text = '';
  isOver = false;
  readonly #abort: AbortController;

  constructor(response: Response, abort: AbortController) {
    this.status = response.status;
    this.type = response.headers.get('content-type') ?? '';
    this.#abort = abort;
    void this.#read(response);
  }

  static async open(headers: Record<string, string>): Promise<Listener> {
    const abort = new AbortController();
    const response = await fetch(`${harness.app.apiUrl}/api/v1/events`, { headers, signal: abort.signal });
    return new Listener(response, abort);
  }

  async until(isThere: () => boolean, attempts = 200): Promise<void> {
    for (let attempt = 0; attempt < attempts && !isThere(); attempt++)
      await new Promise((resolve) => setTimeout(resolve, 25));
    assert.ok(isThere(), `not heard; so far: ${JSON.stringify(this.text)}`);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.until(() => this.isOver);
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const bytes of response.body ?? []) this.text += decoder.decode(bytes as Uint8Array, { stream: true });
    } catch {
      // It was closed.
    }
    this.isOver = true;
  }
}

const listen = async (who: Who) => Listener.open({ authorization: `Bearer ${await harness.token(who)}` });

async function push(name: string): Promise<string> {
  const content = `job: ${name}\nconnection: crm\nsource: "select id, ssn from customers"\nchunk: { by: id, rows: 100 }\noutput: { format: ndjson, to: "file://${name}" }\n`;
  const { body } = await harness.api<{ request: string }>('designer', 'POST', '/jobs', { content });
  return body.request;
}

void describe('the stream of changes', () => {
  it('tells of requests and decisions, of sessions and runs, and of nothing in them', async () => {
    const listener = await listen('auditor');
    assert.match(listener.type, /^text\/event-stream/);
    await listener.until(() => listener.text.startsWith(':'));
    const request = await push('told');
    await listener.until(() => listener.text.includes(`{"topic":"requests","id":"${request}"}`));
    const heard = listener.text.length;
    await harness.api('executor', 'POST', `/requests/${request}/approve`, {});
    await listener.until(() => listener.text.slice(heard).includes(request));
    const { body } = await harness.api<{ runId: string }>('executor', 'POST', '/runs', { job: 'told' });
    await listener.until(() => listener.text.includes(`{"topic":"runs","id":"${body.runId}"}`));
    await (await harness.connect('designer')).end();
    await listener.until(() => /\{"topic":"sessions","id":"\w+"\}/.test(listener.text));
    for (const line of listener.text.split('\n').filter((one) => one !== '' && !one.startsWith(':'))) {
      assert.match(line, /^data: \{"topic":"(requests|runs|sessions)"(,"id":"\w+")?\}$/);
    }
    await listener.close();
  });

  it('is for people with a duty', async () => {
    const nobody = await listen('nobody');
    assert.equal(nobody.status, 403);
    const stranger = await Listener.open({});
    assert.equal(stranger.status, 401);
  });

  it('is open so often for one principal, and again when one was closed', async () => {
    const open = await Promise.all([1, 2, 3].map(() => listen('executor')));
    assert.deepEqual(
      open.map(({ status }) => status),
      [200, 200, 200],
    );
    const refused = await listen('executor');
    assert.equal(refused.status, 429);
    await refused.until(() => refused.text.includes('api.maxEventStreams'));
    const other = await listen('executor2');
    assert.equal(other.status, 200, 'another principal has its own');
    await open[0]?.close();
    await other.close();
    let again = await listen('executor');
    for (let attempt = 0; again.status === 429 && attempt < 100; attempt++) again = await listen('executor');
    assert.equal(again.status, 200);
    for (const one of [...open.slice(1), again]) await one.close();
  });

  it('comes to the cookie of the page too', async () => {
    const visitor = new PageVisitor(harness.app.apiUrl);
    await visitor.logIn('eli');
    const cookie = [...visitor.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const listener = await Listener.open({ cookie });
    assert.equal(listener.status, 200);
    const request = await push('cookie');
    await listener.until(() => listener.text.includes(request));
    await listener.close();
  });

  it("ends when its listener is removed, whatever they had shown, and nobody else's does", async () => {
    const visitor = new PageVisitor(harness.app.apiUrl);
    await visitor.logIn('erin');
    const cookie = [...visitor.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const person = await harness.person('erin');
    const gone = [
      await Listener.open({ cookie }),
      await Listener.open({ authorization: `Bearer ${person}` }),
      await listen('executor2'),
    ];
    const stays = await listen('executor');
    assert.deepEqual(
      [...gone, stays].map(({ status }) => status),
      [200, 200, 200, 200],
    );
    await harness.api('reader', 'POST', '/people/erin/remove', { reason: 'left' });
    for (const one of gone) await one.until(() => one.isOver, 800);
    assert.equal(stays.isOver, false);
    await stays.close();
  });
});
