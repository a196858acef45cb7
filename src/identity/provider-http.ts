/** Questions to an identity provider over HTTP: a time limit, a size limit, no redirects, https unless it is this machine. */
import { CountersignError } from '../errors.ts';

const fetchTimeoutMs = 5_000;
const maxDocumentBytes = 1024 * 1024;

export interface ProviderAsk {
  readonly address: string;
  /** The issuer, for messages. */
  readonly issuer: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Makes it a POST of a form. */
  readonly form?: URLSearchParams | undefined;
  /** Statuses besides 200 that are an answer, too. */
  readonly alsoTaken?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ProviderAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

/** The whole answer. @throws CountersignError `identity_provider_unreachable` for anything but a status that was asked for */
export async function askProvider(ask: ProviderAsk): Promise<ProviderAnswer> {
  const { address, issuer, headers, form, alsoTaken = [], signal = AbortSignal.timeout(fetchTimeoutMs) } = ask;
  const send = () =>
    fetch(address, {
      redirect: 'manual',
      signal,
      headers: { accept: 'application/json', ...headers },
      ...(form === undefined ? {} : { method: 'POST', body: form }),
    });
  try {
    // Once more, for a kept connection that the provider closed in the meantime.
    const response = await send().catch((error: unknown) => {
      if (signal.aborted) throw error;
      return send();
    });
    if (response.status !== 200 && !alsoTaken.includes(response.status)) {
      await response.body?.cancel();
      throw unusable(issuer, `${address} answered with status ${response.status}`);
    }
    const text = await boundedText(response, maxDocumentBytes);
    if (text === undefined) throw unusable(issuer, `${address} answered with more than ${maxDocumentBytes} bytes`);
    return { status: response.status, contentType: response.headers.get('content-type') ?? '', text };
  } catch (error) {
    if (error instanceof CountersignError) throw error;
    throw unusable(issuer, `${address} does not answer`, { cause: error });
  }
}

/** A JSON object. @throws CountersignError `identity_provider_unreachable` */
export function objectIn(answer: ProviderAnswer, ask: ProviderAsk): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(answer.text);
  } catch (error) {
    throw unusable(ask.issuer, `${ask.address} does not answer with JSON`, { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw unusable(ask.issuer, `${ask.address} does not answer with a JSON object`);
}

export function unusable(
  issuer: string,
  detail: string,
  more: { hint?: string; cause?: unknown } = {},
): CountersignError {
  return new CountersignError(
    'identity_provider_unreachable',
    `tokens cannot be checked: the identity provider ${issuer} cannot be used`,
    { detail, hint: more.hint ?? 'the token may be good; try again when the provider answers', cause: more.cause },
  );
}

/** Whether nobody on the way can answer in its place. */
export function isTrustworthy(address: string): boolean {
  const url = URL.parse(address);
  if (url === null) return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
}

async function boundedText(response: Response, maxBytes: number): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > maxBytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
