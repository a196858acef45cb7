/**
 * Log-in and log-out of the page, outside of /api/v1: these are visited by a browser. Afterwards a cookie proves who
 * asks (`caller.ts`). SAML has routes of its own (`saml.ts`).
 */
import cookie from '@fastify/cookie';
import type { FastifyInstance, FastifyPluginAsync, RouteShorthandOptions } from 'fastify';
import { loginFlowMs } from '../identity/page-login.ts';
import { BrowserLogin, textOf } from './browser-login.ts';
import { sessionCookie } from './caller.ts';
import type { ApiServices } from './services.ts';

const flowCookie = 'countersign-login';

export async function registerCookies(app: FastifyInstance): Promise<void> {
  await app.register(cookie);
}

export const authRoutes =
  (services: ApiServices, perLogin: RouteShorthandOptions): FastifyPluginAsync =>
  async (app) => {
    await Promise.resolve();
    const browser = new BrowserLogin(services);

    app.get<{ Querystring: { provider?: string; return?: string } }>(
      '/auth/login',
      perLogin,
      async (request, reply) => {
        const provider = textOf(request.query.provider);
        const returnTo = textOf(request.query.return);
        if (provider !== undefined && services.samlLogin.has(provider)) {
          const query = returnTo === undefined ? '' : `?return=${encodeURIComponent(returnTo)}`;
          return reply.redirect(`/auth/saml/${provider}/login${query}`, 302);
        }
        try {
          browser.needPrivacy();
          const { url, state } = await services.pageLogin.start(provider, returnTo);
          browser.bind(reply, flowCookie, state, new Date(services.clock.now() + loginFlowMs));
          return await reply.redirect(url.href, 302);
        } catch (cause) {
          return browser.failed(request, reply, cause);
        }
      },
    );

    app.get<{ Params: { provider: string } }>('/auth/callback/:provider', perLogin, async (request, reply) => {
      const query = request.url.split('?')[1] ?? '';
      const state = browser.bindingOf(request, flowCookie);
      browser.unbind(reply, flowCookie);
      try {
        const login = await services.pageLogin.finish(request.params.provider, query, state);
        return await browser.done(request, reply, login);
      } catch (cause) {
        return browser.failed(request, reply, cause);
      }
    });

    app.post('/auth/logout', async (request, reply) => {
      const name = sessionCookie(services.publicUrl());
      const value = request.cookies[name];
      if (value !== undefined && request.headers['x-countersign'] !== undefined) {
        await services.webSessions.end(value);
        void reply.clearCookie(name, { path: '/', secure: browser.isSecure });
      }
      return reply.status(204).send();
    });
  };
