/**
 * A small SAML 2.0 identity provider for tests: it answers authentication requests with assertions that it signs, and
 * makes every mistake and every attack that a test asks for.
 */
import { X509Certificate } from 'node:crypto';
import { inflateRawSync } from 'node:zlib';
import { generate } from 'selfsigned';
import { SignedXml } from 'xml-crypto';

export interface SamlKeys {
  readonly certPem: string;
  readonly keyPem: string;
}

export async function makeSamlKeys(): Promise<SamlKeys> {
  const made = await generate([{ name: 'commonName', value: 'saml provider of tests' }], {
    keyType: 'rsa',
    keySize: 2048,
    algorithm: 'sha256',
  });
  if (new X509Certificate(made.cert).publicKey.asymmetricKeyType !== 'rsa') throw new Error('an RSA key was asked for');
  return { certPem: made.cert, keyPem: made.private };
}

export interface SamlRequestSeen {
  readonly id: string;
  readonly acsUrl: string;
  readonly issuer: string;
  readonly relayState: string;
  readonly xml: string;
}

/** What a browser brings to the provider's single sign-on address. */
export function readRequest(location: string): SamlRequestSeen {
  const url = new URL(location);
  const xml = inflateRawSync(Buffer.from(url.searchParams.get('SAMLRequest') ?? '', 'base64')).toString('utf8');
  const attribute = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(xml)?.[1] ?? '';
  return {
    id: attribute(' ID'),
    acsUrl: attribute('AssertionConsumerServiceURL'),
    issuer: /<saml:Issuer[^>]*>([^<]*)</.exec(xml)?.[1] ?? '',
    relayState: url.searchParams.get('RelayState') ?? '',
    xml,
  };
}

/** Each member replaces what a good response has; null leaves it out. */
export interface SamlResponseOptions {
  readonly idpIssuer: string;
  readonly acsUrl: string;
  readonly audience: string;
  readonly inResponseTo: string | null;
  readonly nameId?: string;
  readonly nameIdFormat?: string;
  /** XML of the AttributeStatement's attributes. */
  readonly attributes?: string;
  readonly recipient?: string;
  readonly destination?: string | null;
  readonly assertionInResponseTo?: string | null;
  readonly notBeforeMs?: number;
  readonly notOnOrAfterMs?: number;
  readonly sessionNotOnOrAfterMs?: number;
  readonly assertionIssuer?: string;
  readonly assertionId?: string;
  readonly status?: string;
  readonly conditions?: string;
}

export const attributeXml = (name: string, ...values: readonly string[]): string =>
  `<saml:Attribute Name="${name}">${values.map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`).join('')}</saml:Attribute>`;

const at = (ms: number) => new Date(ms).toISOString();
const optional = (name: string, value: string | null) => (value === null ? '' : ` ${name}="${value}"`);
let counter = 0;

export function assertionXml(options: SamlResponseOptions): string {
  const nowMs = Date.now();
  const notBefore = at(options.notBeforeMs ?? nowMs - 5_000);
  const notOnOrAfter = at(options.notOnOrAfterMs ?? nowMs + 60_000);
  const inResponseTo =
    options.assertionInResponseTo === undefined ? options.inResponseTo : options.assertionInResponseTo;
  const session = options.sessionNotOnOrAfterMs;
  return (
    `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${options.assertionId ?? `_assertion${++counter}`}" Version="2.0" IssueInstant="${at(nowMs)}">` +
    `<saml:Issuer>${options.assertionIssuer ?? options.idpIssuer}</saml:Issuer>` +
    `<saml:Subject><saml:NameID Format="${options.nameIdFormat ?? 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'}">${options.nameId ?? 'dana'}</saml:NameID>` +
    `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData Recipient="${options.recipient ?? options.acsUrl}" NotOnOrAfter="${notOnOrAfter}"${optional('InResponseTo', inResponseTo)}/></saml:SubjectConfirmation></saml:Subject>` +
    `<saml:Conditions NotBefore="${notBefore}" NotOnOrAfter="${notOnOrAfter}">${options.conditions ?? `<saml:AudienceRestriction><saml:Audience>${options.audience}</saml:Audience></saml:AudienceRestriction>`}</saml:Conditions>` +
    `<saml:AuthnStatement AuthnInstant="${at(nowMs)}"${session === undefined ? '' : ` SessionNotOnOrAfter="${at(session)}"`}><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>` +
    `<saml:AttributeStatement>${options.attributes ?? attributeXml('groups', 'chunk-designers', 'others')}</saml:AttributeStatement>` +
    `</saml:Assertion>`
  );
}

export function responseXml(options: SamlResponseOptions, content: string): string {
  return (
    `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_response${++counter}" Version="2.0" IssueInstant="${at(Date.now())}"` +
    `${optional('Destination', options.destination === undefined ? options.acsUrl : options.destination)}${optional('InResponseTo', options.inResponseTo)}>` +
    `<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${options.idpIssuer}</saml:Issuer>` +
    `<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:${options.status ?? 'Success'}"/></samlp:Status>${content}</samlp:Response>`
  );
}

export interface SigningOptions {
  readonly signatureAlgorithm?: string;
  readonly digestAlgorithm?: string;
}

/** Signs the element of this local name and puts the signature behind its Issuer. */
export function signed(
  xml: string,
  element: 'Assertion' | 'Response',
  keys: SamlKeys,
  options: SigningOptions = {},
): string {
  const signature = new SignedXml({
    privateKey: keys.keyPem,
    publicCert: keys.certPem,
    signatureAlgorithm: options.signatureAlgorithm ?? 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
    canonicalizationAlgorithm: 'http://www.w3.org/2001/10/xml-exc-c14n#',
  });
  const xpath = `//*[local-name(.)='${element}']`;
  signature.addReference({
    xpath,
    digestAlgorithm: options.digestAlgorithm ?? 'http://www.w3.org/2001/04/xmlenc#sha256',
    transforms: ['http://www.w3.org/2000/09/xmldsig#enveloped-signature', 'http://www.w3.org/2001/10/xml-exc-c14n#'],
  });
  const location = { reference: `${xpath}/*[local-name(.)='Issuer']`, action: 'after' as const };
  signature.computeSignature(xml, { prefix: 'ds', location });
  return signature.getSignedXml();
}

/** A good response: one signed assertion. */
export function goodResponse(options: SamlResponseOptions, keys: SamlKeys, signing: SigningOptions = {}): string {
  return responseXml(options, signed(assertionXml(options), 'Assertion', keys, signing));
}

export const encoded = (xml: string): string => Buffer.from(xml, 'utf8').toString('base64');

const signatureElement = /<ds:Signature[\s>].*<\/ds:Signature>/s;

/** The attacks of "On Breaking SAML: Be Whoever You Want to Be" (2012), by number: a stolen response, made to say `admin`. */
export function wrappingAttacks(options: SamlResponseOptions, keys: SamlKeys): ReadonlyMap<string, string> {
  const evilOf = (xml: string, id: string) =>
    xml
      .replace(signatureElement, '')
      .replace(/<saml:NameID([^>]*)>[^<]*</, '<saml:NameID$1>admin<')
      .replace(/ ID="_assertion[^"]*"/, ` ID="${id}"`);
  const assertion = signed(assertionXml(options), 'Assertion', keys);
  const plain = assertion.replace(signatureElement, '');
  const signature = signatureElement.exec(assertion)?.[0] ?? '';
  const sameId = / ID="(_assertion[^"]*)"/.exec(assertion)?.[1] ?? '';
  const evil = evilOf(assertion, '_evil');
  const into = (outer: string, inner: string) => outer.replace('</saml:Assertion>', `${inner}</saml:Assertion>`);
  const behindIssuer = (outer: string, inner: string) => outer.replace('</saml:Issuer>', `</saml:Issuer>${inner}`);
  const withObject = (inner: string) =>
    signature.replace('</ds:Signature>', `<ds:Object>${inner}</ds:Object></ds:Signature>`);
  const extensions = (inner: string) => `<samlp:Extensions>${inner}</samlp:Extensions>`;

  const response = signed(responseXml(options, plain), 'Response', keys);
  const responseSignature = signatureElement.exec(response)?.[0] ?? '';
  const plainResponse = response.replace(signatureElement, '');
  const evilResponse = evilOf(plainResponse, '_evil').replace(/ ID="_response[^"]*"/, ' ID="_evilresponse"');
  const inResponse = (inner: string) => evilResponse.replace('</saml:Issuer>', `</saml:Issuer>${inner}`);
  return new Map([
    [
      '1: the signed response inside the signature of another',
      inResponse(
        responseSignature.replace('</ds:Signature>', `<ds:Object>${plainResponse}</ds:Object></ds:Signature>`),
      ),
    ],
    ['2: the signed response beside its signature, in another', inResponse(responseSignature + plainResponse)],
    ['3: another assertion before the signed one', responseXml(options, evil + assertion)],
    ['3b: another assertion behind the signed one', responseXml(options, assertion + evil)],
    ['3c: another assertion with the same ID', responseXml(options, evilOf(assertion, sameId) + assertion)],
    ['4: the signed assertion inside another', responseXml(options, into(evil, assertion))],
    ['5: the signature moved into another assertion', responseXml(options, behindIssuer(evil, signature) + plain)],
    [
      '6: the signed assertion inside the signature of another',
      responseXml(options, behindIssuer(evil, withObject(plain))),
    ],
    ['7: the signed assertion in Extensions', responseXml(options, extensions(assertion) + evil)],
    ['7b: the other assertion in Extensions', responseXml(options, extensions(evil) + assertion)],
    [
      '8: another assertion in an Object of the signature',
      responseXml(options, assertion.replace('</ds:Signature>', `<ds:Object>${evil}</ds:Object></ds:Signature>`)),
    ],
    ['the signature of another assertion', responseXml(options, behindIssuer(evilOf(assertion, sameId), signature))],
    ['no signature', responseXml(options, evil)],
    ['only the response is signed', response],
  ]);
}
