/** The browser's way through a log-in with SAML 2.0: out to the provider, its answer, and back to the page. */
import formbody from '@fastify/formbody';
import type { FastifyPluginAsync, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify';
import type { SamlLoggedIn } from '../identity/saml.ts';
import { BrowserLogin, textOf } from './browser-login.ts';
import type { ApiServices } from './services.ts';

/** Binds a log-in to the browser that began it. Sent when the answer is fetched, not with the provider's form. */
const browserCookie = 'countersign-saml';
const maxFormBytes = 512 * 1024;

interface OfProvider {
  Params: { provider: string };
}

export const samlRoutes =
  (services: ApiServices, perLogin: RouteShorthandOptions): FastifyPluginAsync =>
  async (app) => {
    await app.register(formbody, { bodyLimit: maxFormBytes });
    const browser = new BrowserLogin(services);
    const { samlLogin } = services;

    const enter = async (request: FastifyRequest, reply: FastifyReply, login: SamlLoggedIn) => {
      const principal = await services.enter({ ...login.principal, provider: login.provider });
      const opened = await services.webSessions.open({
        principal,
        provider: login.provider,
        expiresAt: login.expiresAt,
      });
      return browser.done(request, reply, { ...opened, returnTo: login.returnTo });
    };

    app.get<OfProvider & { Querystring: { return?: string } }>(
      '/auth/saml/:provider/login',
      perLogin,
      async (request, reply) => {
        try {
          browser.needPrivacy();
          const before = browser.bindingOf(request, browserCookie);
          const started = await samlLogin.start(request.params.provider, textOf(request.query.return), before);
          browser.bind(reply, browserCookie, started.browser, started.expiresAt);
          return await reply.redirect(started.url, 302);
        } catch (cause) {
          return browser.failed(request, reply, cause);
        }
      },
    );

    app.post<OfProvider & { Body: { SAMLResponse?: unknown; RelayState?: unknown } | undefined }>(
      '/auth/saml/:provider/acs',
      perLogin,
      async (request, reply) => {
        const { provider } = request.params;
        try {
          browser.needPrivacy();
          const answer = await samlLogin.answer(provider, request.body ?? {});
          if (!('code' in answer)) return await enter(request, reply, answer);
          return await reply.redirect(`/auth/saml/${provider}/finish?code=${answer.code}`, 303);
        } catch (cause) {
          return browser.failed(request, reply, cause);
        }
      },
    );

    app.get<OfProvider & { Querystring: { code?: string } }>(
      '/auth/saml/:provider/finish',
      perLogin,
      async (request, reply) => {
        try {
          const { provider } = request.params;
          const login = await samlLogin.finish(
            provider,
            textOf(request.query.code) ?? '',
            browser.bindingOf(request, browserCookie),
          );
          return await enter(request, reply, login);
        } catch (cause) {
          return browser.failed(request, reply, cause);
        }
      },
    );

    app.get<OfProvider>('/auth/saml/:provider/metadata', async (request, reply) => {
      const metadata = samlLogin.metadata(request.params.provider);
      return reply.type('application/samlmetadata+xml').send(metadata);
    });
  };
