/**
 * Log-ins of the page with SAML 2.0 (Web Browser SSO Profile): we are the service provider. A log-in begins here with an
 * AuthnRequest (HTTP-Redirect), is answered once with a signed assertion (HTTP-POST), and ends in the browser that began.
 *
 * The answer comes by a form of another site, without our cookies. So it only leaves what it proved in the store, under
 * a code, and the browser fetches that with its cookie: nobody logs another's browser in as themselves.
 *
 * Not for: HTTP (`api/saml.ts`); what a response must be (`saml-response.ts`); XML signatures (`@node-saml/node-saml`).
 */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { generateServiceProviderMetadata, SAML, ValidateInResponseTo } from '@node-saml/node-saml';
import type { SamlProviderConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import type { Store } from '../store/database.ts';
import {
  answerSamlRequest,
  deleteExpiredSaml,
  insertSamlAssertion,
  insertSamlRequest,
  isOpenSamlRequest,
  takeSamlAnswer,
} from '../store/saml.ts';
import { localPath } from './page-login.ts';
import type { Principal } from './principal.ts';
import { samlPrincipal } from './saml-principal.ts';
import { checkShape, readAssertion, type SamlAssertion, type SamlExpectation } from './saml-response.ts';
import { parseXml } from './saml-xml.ts';

export interface SamlEvent {
  readonly type: 'saml.login';
  readonly [member: string]: Json | undefined;
}

export interface SamlLoginOptions {
  readonly providers: readonly SamlProviderConfiguration[];
  /** The text of a certificate file. */
  readonly readFile: (file: string) => string;
  readonly store: Store;
  readonly record: (event: SamlEvent) => Promise<void>;
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  /** The address that people use, without a slash at its end. */
  readonly publicUrl: () => string;
}

/** Somebody has proved who they are. */
export interface SamlLoggedIn {
  readonly principal: Principal;
  readonly provider: string;
  readonly returnTo: string;
  /** When the provider wants the log-in to end. */
  readonly expiresAt: Date | undefined;
}

interface Provider {
  readonly configuration: SamlProviderConfiguration;
  readonly certificates: readonly string[];
}

const idBytes = 20;
const codeBytes = 32;
const maxResponseBytes = 256 * 1024;
const base64 = /^[A-Za-z0-9+/]+={0,2}$/;

export class SamlLogin {
  readonly #options: SamlLoginOptions;
  readonly #providers: ReadonlyMap<string, Provider>;

  /** @throws CountersignError `configuration_invalid` for a certificate that cannot be used */
  constructor(options: SamlLoginOptions) {
    this.#options = options;
    this.#providers = new Map(
      options.providers.map((configuration) => [
        configuration.name,
        { configuration, certificates: configuration.idpCertFiles.map((file) => certificateOf(options, file)) },
      ]),
    );
  }

  /** For the log-in page. */
  get providers(): { readonly name: string; readonly title: string; readonly kind: 'saml' }[] {
    return this.#options.providers.map(({ name, title }) => ({ name, title: title ?? name, kind: 'saml' }));
  }

  /** Where browsers are sent. */
  get entryPoints(): string[] {
    return this.#options.providers.map(({ entryPoint }) => entryPoint);
  }

  has(name: string): boolean {
    return this.#providers.has(name);
  }

  /**
   * @param browser what this browser was given when it began another log-in that is not over
   * @returns where to send the browser, and what it must keep in a cookie
   * @throws CountersignError `not_found`
   */
  async start(
    name: string,
    returnTo: string | undefined,
    browser: string | undefined,
  ): Promise<{ readonly url: string; readonly browser: string; readonly expiresAt: Date }> {
    const { store, clock, random } = this.#options;
    const provider = this.#provider(name);
    const id = `_${random(idBytes).toString('hex')}`;
    const url = await this.#saml(provider, id).getAuthorizeUrlAsync(id, undefined, {});
    // Several log-ins of one browser (tabs) share its cookie.
    const kept =
      browser !== undefined && /^[\w-]{43}$/.test(browser) ? browser : random(codeBytes).toString('base64url');
    const expiresAt = new Date(clock.now() + provider.configuration.loginTimeoutMs);
    const request = { id, provider: name, browserHash: hashOf(kept), returnTo: localPath(returnTo), expiresAt };
    await insertSamlRequest(store, request);
    return { url, browser: kept, expiresAt };
  }

  /**
   * Takes a response, once.
   * @returns the code for `finish`; for a log-in that began at the provider (if they are allowed) who it is
   * @throws CountersignError `saml_response_invalid`, `authentication_failed`, `groups_claim_missing`, `not_found`
   */
  async answer(
    name: string,
    form: { readonly SAMLResponse?: unknown; readonly RelayState?: unknown },
  ): Promise<{ readonly code: string } | SamlLoggedIn> {
    const { store, clock, random, record } = this.#options;
    const provider = this.#provider(name);
    const { configuration } = provider;
    const { encoded, text } = responseText(form.SAMLResponse);
    const response = parseXml(text);
    const inResponseTo = response.attributes.get('InResponseTo');
    if (inResponseTo === undefined && !configuration.allowUnsolicited) {
      throw invalid('it answers no log-in that began here', 'begin the log-in on the page of Countersign');
    }
    const isOpen =
      inResponseTo === undefined ||
      (form.RelayState === inResponseTo && (await isOpenSamlRequest(store, inResponseTo, name, new Date(clock.now()))));
    if (!isOpen) throw tooLate();
    const expected = this.#expectation(provider, inResponseTo);
    const assertionId = checkShape(response, expected);
    const assertion = await this.#verified(provider, encoded, assertionId, expected);
    const principal = samlPrincipal(configuration, assertion);
    const { nameId: subject, sessionExpiresAt } = assertion;
    const isFirst = await store.transaction().execute(async (transaction) => {
      const taken = { provider: name, id: assertion.id, expiresAt: assertion.rememberUntil };
      if (!(await insertSamlAssertion(transaction, taken))) return false;
      await record({ type: 'saml.login', provider: name, principal: principal.id, subject, assertion: assertion.id });
      return true;
    });
    if (!isFirst) throw invalid('its assertion was used before');
    if (inResponseTo === undefined) {
      return { principal, provider: name, returnTo: '/', expiresAt: sessionExpiresAt };
    }
    const code = random(codeBytes).toString('base64url');
    const answer = { codeHash: hashOf(code), principalJson: JSON.stringify(principal), sessionExpiresAt };
    if (!(await answerSamlRequest(store, inResponseTo, answer, new Date(clock.now())))) throw tooLate();
    return { code };
  }

  /**
   * The last step, in the browser that began.
   * @throws CountersignError `authentication_failed`
   */
  async finish(name: string, code: string, browser: string | undefined): Promise<SamlLoggedIn> {
    const { store, clock } = this.#options;
    const taken = await takeSamlAnswer(store, hashOf(code));
    const isOurs =
      taken?.provider === name &&
      taken.expiresAt.getTime() > clock.now() &&
      timingSafeEqual(taken.browserHash, hashOf(browser ?? ''));
    if (!isOurs) {
      throw new CountersignError('authentication_failed', 'this is no answer to a log-in that began in this browser', {
        hint: 'log in again',
      });
    }
    const principal = JSON.parse(taken.principalJson) as Principal;
    return { principal, provider: name, returnTo: taken.returnTo, expiresAt: taken.sessionExpiresAt };
  }

  /** Our metadata: what the provider has to know of us. */
  metadata(name: string): string {
    const provider = this.#provider(name);
    const { entityId, acsUrl } = this.#addresses(provider);
    return generateServiceProviderMetadata({
      issuer: entityId,
      callbackUrl: acsUrl,
      identifierFormat: null,
      wantAssertionsSigned: true,
      generateUniqueId: () => `_${createHash('sha256').update(entityId).digest('hex').slice(0, 40)}`,
    });
  }

  async sweep(): Promise<void> {
    await deleteExpiredSaml(this.#options.store, new Date(this.#options.clock.now()));
  }

  /** The signature holds, and the values come from the bytes that it covers. */
  async #verified(
    provider: Provider,
    encoded: string,
    assertionId: string,
    expected: SamlExpectation,
  ): Promise<SamlAssertion> {
    let xml: string | undefined;
    try {
      const { profile } = await this.#saml(provider, '').validatePostResponseAsync({ SAMLResponse: encoded });
      xml = profile?.getAssertionXml?.();
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message.slice(0, 200) : undefined;
      throw invalid('its signature or its conditions do not hold', undefined, { cause, detail });
    }
    const assertion = xml === undefined ? undefined : readAssertion(parseXml(xml), expected);
    if (assertion?.id !== assertionId) throw invalid('what is signed is not its assertion');
    return assertion;
  }

  /** The library's part: requests, signatures, and its own checks in addition to ours. */
  #saml(provider: Provider, requestId: string): SAML {
    const { configuration, certificates } = provider;
    const { entityId, acsUrl, audience } = this.#addresses(provider);
    return new SAML({
      entryPoint: configuration.entryPoint,
      idpIssuer: configuration.idpIssuer,
      idpCert: [...certificates],
      issuer: entityId,
      callbackUrl: acsUrl,
      audience,
      wantAssertionsSigned: true,
      wantAuthnResponseSigned: false,
      acceptedClockSkewMs: configuration.clockToleranceMs,
      // Ours is in the store and takes each once, on every node.
      validateInResponseTo: ValidateInResponseTo.never,
      // How the provider makes sure of a person (a password, a second factor) is its own policy.
      disableRequestedAuthnContext: true,
      identifierFormat: null,
      generateUniqueId: () => requestId,
    });
  }

  #expectation(provider: Provider, inResponseTo: string | undefined): SamlExpectation {
    const { idpIssuer, clockToleranceMs } = provider.configuration;
    const { acsUrl, audience } = this.#addresses(provider);
    return { idpIssuer, audience, acsUrl, inResponseTo, nowMs: this.#options.clock.now(), clockToleranceMs };
  }

  #addresses({ configuration: { name, spEntityId, audience } }: Provider) {
    const base = `${this.#options.publicUrl()}/auth/saml/${name}`;
    const entityId = spEntityId ?? `${base}/metadata`;
    return { entityId, acsUrl: `${base}/acs`, audience: audience ?? entityId };
  }

  #provider(name: string): Provider {
    const found = this.#providers.get(name);
    if (found !== undefined) return found;
    throw new CountersignError('not_found', `there is no SAML provider ${JSON.stringify(name.slice(0, 100))}`);
  }
}

function responseText(value: unknown): { readonly encoded: string; readonly text: string } {
  const encoded = typeof value === 'string' ? value.replace(/\s/g, '') : '';
  if (encoded.length > maxResponseBytes * (4 / 3)) throw invalid(`it is longer than ${maxResponseBytes} bytes`);
  if (!base64.test(encoded)) throw invalid('SAMLResponse is missing, or no base64');
  try {
    return { encoded, text: new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64')) };
  } catch (cause) {
    throw invalid('it is no UTF-8', undefined, { cause });
  }
}

/** xml-crypto verifies RSA only. */
function certificateOf({ readFile }: SamlLoginOptions, file: string): string {
  const text = readFile(file);
  const [pem, ...more] = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const key = pem === undefined || more.length > 0 ? undefined : new X509Certificate(pem).publicKey;
    const bits = key?.asymmetricKeyDetails?.modulusLength ?? 0;
    if (pem !== undefined && key?.asymmetricKeyType === 'rsa' && bits >= 2_048) return pem;
  } catch {
    // Told below.
  }
  throw new CountersignError(
    'configuration_invalid',
    `identity.providers: ${file} must hold one PEM certificate with an RSA key of at least 2048 bits`,
  );
}

function tooLate(): CountersignError {
  return invalid('it answers no log-in that is under way', 'log in again; each log-in is answered once and in time');
}

function invalid(problem: string, hint?: string, more: { cause?: unknown; detail?: string | undefined } = {}) {
  return new CountersignError('saml_response_invalid', `the SAML response is refused: ${problem}`, { hint, ...more });
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
