/**
 * Log-in and log-out of the page, outside of /api/v1: these are visited by a browser. Afterwards a cookie proves who
 * asks (`caller.ts`). Both cookies are out of reach of scripts; the one with the problem of a failed log-in is not, and
 * holds nothing but its words.
 */
import cookie from '@fastify/cookie';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { asCountersignError, CountersignError } from '../errors.ts';
import { loginFlowMs } from '../identity/page-login.ts';
import { isLoopback } from '../lib/loopback.ts';
import { sessionCookie } from './caller.ts';
import type { ApiServices } from './services.ts';

const flowCookie = 'countersign-login';
const problemCookie = 'countersign-login-problem';
const problemSeconds = 60;

export async function registerCookies(app: FastifyInstance): Promise<void> {
  await app.register(cookie);
}

export const authRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (app) => {
    await Promise.resolve();
    const isSecure = () => services.publicUrl().startsWith('https:');
    const keep = (reply: FastifyReply, name: string, value: string, expires: Date, httpOnly = true) =>
      reply.setCookie(name, value, { path: '/', httpOnly, secure: isSecure(), sameSite: 'lax', expires });

    /** A person's cookie must not travel where others can read it. */
    const needPrivacy = () => {
      const url = new URL(services.publicUrl());
      if (url.protocol === 'https:' || isLoopback(url.hostname)) return;
      throw new CountersignError('tls_required', 'the page is only for https (or for this machine itself)', {
        hint: 'set api.tls, or api.publicUrl to the https address in front of it',
      });
    };

    const failed = (request: FastifyRequest, reply: FastifyReply, cause: unknown) => {
      const known = cause instanceof CountersignError ? cause : asCountersignError(services.onError(cause));
      const { code, message, hint, detail } = known;
      services.note({
        type: 'login.refused',
        at: new Date(services.clock.now()).toISOString(),
        node: services.node,
        code,
        message,
        address: request.ip,
      });
      const problem = Buffer.from(JSON.stringify({ code, message, hint, detail })).toString('base64url');
      const expires = new Date(services.clock.now() + problemSeconds * 1_000);
      // What went wrong travels in a cookie, not in the address: nobody can make a link that says something here.
      return keep(reply, problemCookie, problem.slice(0, 3_500), expires, false).redirect('/login?failed', 303);
    };

    app.get<{ Querystring: { provider?: string; return?: string } }>('/auth/login', async (request, reply) => {
      try {
        needPrivacy();
        const { url, state } = await services.pageLogin.start(request.query.provider, request.query.return);
        keep(reply, flowCookie, state, new Date(services.clock.now() + loginFlowMs));
        return await reply.redirect(url.href, 302);
      } catch (cause) {
        return failed(request, reply, cause);
      }
    });

    app.get<{ Params: { provider: string } }>('/auth/callback/:provider', async (request, reply) => {
      const query = request.url.split('?')[1] ?? '';
      const state = request.cookies[flowCookie];
      void reply.clearCookie(flowCookie, { path: '/' });
      try {
        const login = await services.pageLogin.finish(request.params.provider, query, state);
        keep(reply, sessionCookie(services.publicUrl()), login.cookie, login.expiresAt);
        return await reply.redirect(login.returnTo, 303);
      } catch (cause) {
        return failed(request, reply, cause);
      }
    });

    app.post('/auth/logout', async (request, reply) => {
      const name = sessionCookie(services.publicUrl());
      const value = request.cookies[name];
      if (value !== undefined && request.headers['x-countersign'] !== undefined) {
        await services.webSessions.end(value);
        void reply.clearCookie(name, { path: '/', secure: isSecure() });
      }
      return reply.status(204).send();
    });
  };
