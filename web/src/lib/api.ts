/**
 * The one way to the server: typed fetch with the session's cookie. The header `x-countersign` marks what this page's
 * own script sends; the server asks for it wherever something changes, and a foreign page cannot set it.
 */

/** An error as the API says it: what, why, and what to do next. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;
  readonly detail: string | undefined;

  constructor(status: number, said: { code?: string; message?: string; hint?: string; detail?: string }) {
    super(said.message ?? `the server answered with status ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.code = said.code ?? 'unexpected';
    this.hint = said.hint;
    this.detail = said.detail;
  }
}

export interface Ask {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @param path below /api/v1, with a leading slash
 * @returns the JSON of the answer; undefined where there is none
 * @throws ApiError for every status from 400 on, and with code `unreachable` where there was no answer
 */
export async function api<T>(path: string, ask: Ask = {}): Promise<T> {
  const text = await (await send(path, ask)).text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** The answer itself, for what is no JSON (tiles of the log, streams of lines). Errors as with `api`. */
export async function send(path: string, { method = 'GET', body, signal }: Ask = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json', 'x-countersign': '1' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  const response = await fetch(`/api/v1${path}`, {
    method,
    headers,
    credentials: 'same-origin',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  }).catch((cause: unknown) => {
    if (signal?.aborted === true) throw cause;
    throw new ApiError(0, { code: 'unreachable', message: 'the gateway does not answer', hint: 'is it running?' });
  });
  if (!response.ok) throw new ApiError(response.status, await saidBy(response));
  return response;
}

async function saidBy(response: Response): Promise<{ code?: string; message?: string }> {
  try {
    return ((await response.json()) as { error?: { code?: string; message?: string } }).error ?? {};
  } catch {
    return {};
  }
}

/** `/requests?state=pending&limit=50`; members that are undefined or empty are left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const filled = Object.entries(query).flatMap(([name, value]): [string, string][] =>
    value === undefined || value === '' ? [] : [[name, String(value)]],
  );
  return filled.length === 0 ? path : `${path}?${new URLSearchParams(filled).toString()}`;
}
