import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import fastify, { type FastifyInstance } from 'fastify';
import { contentSecurityPolicy, isForPage, page, pageRoutes } from './page.ts';

const script = 'console.log("the page");'.repeat(100);
const logInOrigins = ['https://login.example.com'];

let directory: string;
let app: FastifyInstance;

before(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'countersign-page-'));
  mkdirSync(path.join(directory, 'assets'));
  writeFileSync(path.join(directory, 'index.html'), '<meta nonce="NONCE-OF-THIS-RESPONSE"><div id="root"></div>');
  writeFileSync(path.join(directory, 'assets/main-abc.js'), script);
  writeFileSync(path.join(directory, 'assets/main-abc.js.br'), brotliCompressSync(script));
  writeFileSync(path.join(directory, 'secret.txt'), 'beside the assets');
  app = fastify();
  await app.register(page({ directory, logInOrigins }));
});

after(async () => {
  await app.close();
  rmSync(directory, { recursive: true });
});

void describe('the document', () => {
  it('is the same at every address of the page, with a nonce of its own each time', async () => {
    const nonces = new Set<string>();
    for (const route of pageRoutes) {
      const answer = await app.inject({ url: route.replaceAll(/:\w+/g, 'some-id') });
      assert.equal(answer.statusCode, 200, route);
      assert.match(String(answer.headers['content-type']), /^text\/html/);
      assert.equal(answer.headers['cache-control'], 'no-store');
      const nonce = /<meta nonce="([\w+/=]{24})">/.exec(answer.body)?.[1] ?? '';
      assert.equal(answer.headers['content-security-policy'], contentSecurityPolicy(nonce, logInOrigins));
      nonces.add(nonce);
    }
    assert.equal(nonces.size, pageRoutes.length);
  });

  it('lets only files of this gateway run, and nothing in the text of the document', () => {
    const policy = new Map(
      contentSecurityPolicy('abc', logInOrigins)
        .split('; ')
        .map((directive) => {
          const [name = '', ...sources] = directive.split(' ');
          return [name, sources] as const;
        }),
    );
    assert.deepEqual(policy.get('default-src'), ["'none'"]);
    assert.deepEqual(policy.get('script-src'), ["'self'"]);
    assert.deepEqual(policy.get('style-src'), ["'self'", "'nonce-abc'"]);
    assert.deepEqual(policy.get('frame-ancestors'), ["'none'"]);
    assert.deepEqual(policy.get('base-uri'), ["'none'"]);
    assert.deepEqual(policy.get('form-action'), ["'self'", 'https://login.example.com']);
    assert.doesNotMatch([...policy.values()].flat().join(' '), /unsafe|\*/);
  });

  it('has no script and no style of its own, as it is in the sources', () => {
    const source = readFileSync(fileURLToPath(new URL('../../web/index.html', import.meta.url)), 'utf8');
    assert.doesNotMatch(source, /\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)/i);
  });

  it('has the addresses that the page draws', () => {
    const routes = readFileSync(fileURLToPath(new URL('../../web/src/routes.tsx', import.meta.url)), 'utf8');
    const drawn = [...routes.matchAll(/(?:page\(|path: )'(\/[^']*)'/g)].map(([, route = '']) => route);
    assert.deepEqual(new Set(drawn), new Set<string>(pageRoutes));
    assert.equal(drawn.length, pageRoutes.length);
  });
});

void describe('the files of the page', () => {
  it('may be kept for ever, and come compressed to whoever takes that', async () => {
    const plain = await app.inject({ url: '/assets/main-abc.js' });
    assert.equal(plain.body, script);
    assert.equal(plain.headers['cache-control'], 'public, max-age=31536000, immutable');
    const compressed = await app.inject({ url: '/assets/main-abc.js', headers: { 'accept-encoding': 'br' } });
    assert.equal(compressed.headers['content-encoding'], 'br');
    assert.ok(compressed.rawPayload.length < plain.rawPayload.length);
  });

  it('are all that is served: no list, nothing beside them', async () => {
    for (const url of [
      '/assets/',
      '/assets',
      '/assets/..%2fsecret.txt',
      '/assets/../secret.txt',
      '/assets/%2e%2e/secret.txt',
      '/secret.txt',
    ]) {
      const answer = await app.inject({ url });
      assert.ok(answer.statusCode >= 400, `${url}: ${answer.statusCode}`);
      assert.doesNotMatch(answer.body, /beside the assets|main-abc/);
    }
  });
});

void describe('an address that is nothing', () => {
  const asked = (url: string, accept: string, method = 'GET') =>
    isForPage({ url, method, headers: { accept } } as unknown as Parameters<typeof isForPage>[0]);

  it('is answered by the page only to a browser, and never below the API', () => {
    assert.equal(asked('/nowhere', 'text/html,*/*'), true);
    assert.equal(asked('/nowhere', 'application/json'), false);
    assert.equal(asked('/nowhere', 'text/html', 'POST'), false);
    for (const url of ['/api/v1/nowhere', '/auth/nowhere', '/assets/nowhere.js', '/scim/v2/Users', '/saml/x']) {
      assert.equal(asked(url, 'text/html'), false, url);
    }
  });
});
