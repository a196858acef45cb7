/** The command line's side of the HTTP API: one call, its token, and errors as the server meant them. */
import { readFileSync } from 'node:fs';
import { CountersignError, errorTable, type ErrorCode } from '../errors.ts';
import { loadToken } from './login.ts';

export interface ClientOptions {
  /** Base address, e.g. http://127.0.0.1:6480 */
  readonly server: string;
}

export class ApiClient {
  readonly server: string;
  #token: string | undefined;

  constructor(options: ClientOptions) {
    this.server = options.server.replace(/\/+$/, '');
  }

  get<T>(path: string): Promise<T> {
    return this.call<T>('GET', path);
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.call<T>('POST', path, body);
  }

  /** @throws CountersignError with the server's own code, message, hint and detail */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.open(method, path, body);
    if (response.status === 204) return undefined as T;
    const type = response.headers.get('content-type') ?? '';
    return (type.includes('json') ? await response.json() : await response.text()) as T;
  }

  /** The response itself, for streams; it is a success. */
  async open(
    method: string,
    path: string,
    body?: unknown,
    options: { readonly anonymous?: boolean } = {},
  ): Promise<Response> {
    const token = options.anonymous === true ? undefined : await this.#accessToken();
    const response = await this.#send(method, path, body, token);
    if (response.ok) return response;
    const error = await serverError(response);
    const renewed = await this.#renewed(error.code, token);
    if (renewed === undefined) throw error;
    const again = await this.#send(method, path, body, renewed);
    if (again.ok) return again;
    throw await serverError(again);
  }

  async #send(method: string, path: string, body: unknown, token: string | undefined): Promise<Response> {
    const headers: Record<string, string> = {};
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    try {
      return await fetch(`${this.server}/api/v1${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw new CountersignError('target_unreachable', `cannot reach the Countersign server at ${this.server}`, {
        hint: 'name it with --server, or set COUNTERSIGN_SERVER',
        cause: error,
      });
    }
  }

  /** Another token in place of one that is too old, or has ended; undefined where there is none to be had. */
  async #renewed(code: ErrorCode, token: string | undefined): Promise<string | undefined> {
    if (token === undefined || (code !== 'groups_stale' && code !== 'token_expired')) return undefined;
    if (process.env['COUNTERSIGN_TOKEN'] !== undefined) return undefined;
    const file = process.env['COUNTERSIGN_TOKEN_FILE'];
    const found =
      file === undefined
        ? (await loadToken(this.server, { tooOld: token }).catch(() => undefined))?.accessToken
        : readFileSync(file, 'utf8').trim();
    if (found === undefined || found === token) return undefined;
    this.#token = found;
    return found;
  }

  async #accessToken(): Promise<string> {
    if (this.#token !== undefined) return this.#token;
    const given = process.env['COUNTERSIGN_TOKEN'];
    const file = process.env['COUNTERSIGN_TOKEN_FILE'];
    if (given !== undefined) this.#token = given;
    else if (file !== undefined) this.#token = readFileSync(file, 'utf8').trim();
    else this.#token = (await loadToken(this.server))?.accessToken;
    if (this.#token === undefined) {
      throw new CountersignError('token_invalid', `you are not logged in to ${this.server}`, {
        hint: 'countersign login',
      });
    }
    return this.#token;
  }
}

async function serverError(response: Response): Promise<CountersignError> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string; hint?: string; detail?: string } };
    const code = Object.hasOwn(errorTable, error.code) ? (error.code as ErrorCode) : 'internal';
    return new CountersignError(code, error.message, { hint: error.hint, detail: error.detail });
  } catch {
    return new CountersignError('internal', `the server answered ${response.status}: ${text.slice(0, 200)}`);
  }
}
