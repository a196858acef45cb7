/**
 * What every log-in of a browser has in common: its cookies, and the way back when it fails. The cookies are out of
 * reach of scripts, but for the one with the problem of a failed log-in, which holds nothing but its words.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { asCountersignError, CountersignError } from '../errors.ts';
import { isLoopback } from '../lib/loopback.ts';
import { hostCookie, sessionCookie } from './caller.ts';
import type { ApiServices } from './services.ts';

const problemCookie = 'countersign-login-problem';
const problemSeconds = 60;

export interface LoggedInBrowser {
  /** Of the web session. */
  readonly cookie: string;
  readonly expiresAt: Date;
  readonly returnTo: string;
}

/** A member of a query that stands there once. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export class BrowserLogin {
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  get isSecure(): boolean {
    return this.#services.publicUrl().startsWith('https:');
  }

  /** What binds a log-in that is under way to this browser. */
  bindingOf(request: FastifyRequest, name: string): string | undefined {
    return request.cookies[hostCookie(name, this.#services.publicUrl())];
  }

  bind(reply: FastifyReply, name: string, value: string, expires: Date): void {
    this.keep(reply, hostCookie(name, this.#services.publicUrl()), value, expires);
  }

  unbind(reply: FastifyReply, name: string): void {
    void reply.clearCookie(hostCookie(name, this.#services.publicUrl()), { path: '/', secure: this.isSecure });
  }

  keep(reply: FastifyReply, name: string, value: string, expires: Date, httpOnly = true): FastifyReply {
    return reply.setCookie(name, value, { path: '/', httpOnly, secure: this.isSecure, sameSite: 'lax', expires });
  }

  /** A person's cookie must not travel where others can read it. @throws CountersignError `tls_required` */
  needPrivacy(): void {
    const url = new URL(this.#services.publicUrl());
    if (url.protocol === 'https:' || isLoopback(url.hostname)) return;
    throw new CountersignError('tls_required', 'the page is only for https (or for this machine itself)', {
      hint: 'set api.tls, or api.publicUrl to the https address in front of it',
    });
  }

  /** The browser is logged in; the session that it had before ends. */
  async done(request: FastifyRequest, reply: FastifyReply, login: LoggedInBrowser): Promise<FastifyReply> {
    const name = sessionCookie(this.#services.publicUrl());
    const before = request.cookies[name];
    if (before !== undefined) await this.#services.webSessions.end(before);
    return this.keep(reply, name, login.cookie, login.expiresAt).redirect(login.returnTo, 303);
  }

  failed(request: FastifyRequest, reply: FastifyReply, cause: unknown): FastifyReply {
    const { note, onError, clock, node } = this.#services;
    const known = cause instanceof CountersignError ? cause : asCountersignError(onError(cause));
    const { code, message, hint, detail } = known;
    note({
      type: 'login.refused',
      at: new Date(clock.now()).toISOString(),
      node,
      code,
      message,
      address: request.ip,
    });
    const problem = Buffer.from(JSON.stringify({ code, message, hint, detail })).toString('base64url');
    const expires = new Date(clock.now() + problemSeconds * 1_000);
    // What went wrong travels in a cookie, not in the address: nobody can make a link that says something here.
    return this.keep(reply, problemCookie, problem.slice(0, 3_500), expires, false).redirect('/login?failed', 303);
  }
}
