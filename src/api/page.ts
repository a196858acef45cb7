/**
 * The web page, as `npm run build` made it: one HTML document for every address of the page, and files with a hash in
 * their name, which browsers may keep for ever. The document's policy lets only this gateway's own files run.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { CountersignError } from '../errors.ts';

/** The addresses of the page; web/src/routes.tsx draws them. */
export const pageRoutes = [
  '/',
  '/login',
  '/requests/:id',
  '/jobs',
  '/jobs/:job',
  '/runs',
  '/runs/:id',
  '/sessions',
  '/sessions/:id',
  '/audit',
  '/access',
  '/connections',
  '/connections/:name',
  '/masking',
  '/policies',
] as const;

export interface PageOptions {
  /** With `index.html` and `assets/`. Default: where the build puts it. */
  readonly directory?: string | undefined;
  /** Origins of identity providers, to which a log-in may be sent. */
  readonly logInOrigins: readonly string[];
}

const noncePlace = 'NONCE-OF-THIS-RESPONSE';
const yearMs = 365 * 24 * 60 * 60_000;

/** In a clone the page is in dist/web, in the package beside this folder. */
function builtPage(): string {
  const candidates = ['../web/', '../../dist/web/'].map((place) => fileURLToPath(new URL(place, import.meta.url)));
  return candidates.find((place) => existsSync(path.join(place, 'index.html'))) ?? candidates[1] ?? '';
}

export function contentSecurityPolicy(nonce: string, logInOrigins: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    ["form-action 'self'", ...logInOrigins].join(' '),
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; ');
}

/** What an address outside of the API, asked for by a browser, gets where there is no such page: the page says so. */
export function isForPage(request: FastifyRequest): boolean {
  const isElsewhere = /^\/(api|auth|assets|scim|saml)(\/|$)/.test(request.url);
  return request.method === 'GET' && !isElsewhere && (request.headers.accept ?? '').includes('text/html');
}

export function sendDocument(reply: FastifyReply, options: PageOptions, status: number): FastifyReply {
  const indexFile = path.join(options.directory ?? builtPage(), 'index.html');
  if (!existsSync(indexFile)) {
    throw new CountersignError('not_found', 'the web page has not been built', { hint: 'npm run build' });
  }
  const nonce = randomBytes(16).toString('base64');
  return reply
    .status(status)
    .type('text/html; charset=utf-8')
    .headers({
      'content-security-policy': contentSecurityPolicy(nonce, options.logInOrigins),
      // The nonce is for one response, and the files that the document names change with each version.
      'cache-control': 'no-store',
    })
    .send(readFileSync(indexFile, 'utf8').replaceAll(noncePlace, nonce));
}

export const page =
  (options: PageOptions): FastifyPluginAsync =>
  async (app) => {
    const directory = options.directory ?? builtPage();
    for (const url of pageRoutes) {
      app.get(url, { schema: { hide: true } }, (_request, reply) => sendDocument(reply, options, 200));
    }
    await app.register(fastifyStatic, {
      root: path.join(directory, 'assets'),
      prefix: '/assets/',
      index: false,
      list: false,
      redirect: false,
      decorateReply: false,
      preCompressed: true,
      immutable: true,
      maxAge: yearMs,
      schemaHide: true,
      suppressWarning: true,
    });
  };
