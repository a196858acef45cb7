/**
 * What a SAML 2.0 response must be, and what its assertion says. Pure. `checkShape` looks at the message as it came and
 * only ever refuses: one assertion, nothing hidden, signatures of the one kind that is understood, each over the element
 * that it stands in. `readAssertion` takes values only from the element whose signature was verified.
 *
 * SAML 2.0 Core, Bindings 3.5, Profiles 4.1; XML Signature. Signature wrapping: Somorovsky et al., "On Breaking SAML".
 */
import { CountersignError } from '../errors.ts';
import type { XmlElement } from './saml-xml.ts';

export const samlNamespaces = {
  protocol: 'urn:oasis:names:tc:SAML:2.0:protocol',
  assertion: 'urn:oasis:names:tc:SAML:2.0:assertion',
  signature: 'http://www.w3.org/2000/09/xmldsig#',
} as const;

export interface SamlExpectation {
  readonly idpIssuer: string;
  readonly audience: string;
  /** The address of our assertion consumer service. */
  readonly acsUrl: string;
  /** Id of the authentication request; undefined = the log-in began at the provider. */
  readonly inResponseTo: string | undefined;
  readonly nowMs: number;
  readonly clockToleranceMs: number;
}

export interface SamlAssertion {
  readonly id: string;
  readonly nameId: string;
  /** All values of each attribute, by its name. */
  readonly attributes: ReadonlyMap<string, readonly string[]>;
  /** Until when it has to be remembered, so that it is taken only once. */
  readonly rememberUntil: Date;
  /** When the provider wants the log-in to end. */
  readonly sessionExpiresAt: Date | undefined;
}

const signatureAlgorithms = new Set([
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512',
  'http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1',
]);
const digestAlgorithms = new Set([
  'http://www.w3.org/2001/04/xmlenc#sha256',
  'http://www.w3.org/2001/04/xmlenc#sha512',
]);
const enveloped = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature';
const exclusive = 'http://www.w3.org/2001/10/xml-exc-c14n#';
const success = 'urn:oasis:names:tc:SAML:2.0:status:Success';
const bearer = 'urn:oasis:names:tc:SAML:2.0:cm:bearer';
const transient = 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient';
const maxNameIdLength = 255;
/** With the certificates that a provider sends along; more is made to cost time. */
const maxSignatureElements = 60;

const understoodConditions = new Set(['AudienceRestriction', 'OneTimeUse', 'ProxyRestriction']);

/**
 * @returns the id of the message's one assertion
 * @throws CountersignError `saml_response_invalid`; `authentication_failed` with the provider's own status
 */
export function checkShape(response: XmlElement, expected: SamlExpectation): string {
  if (response.name !== 'Response' || response.namespace !== samlNamespaces.protocol) {
    throw invalid('this is no SAML response');
  }
  need(response.attributes.get('Version') === '2.0', 'it is not of SAML version 2.0');
  checkStatus(response);
  need(response.attributes.get('Destination') === expected.acsUrl, `its Destination is not ${expected.acsUrl}`);
  need(response.attributes.get('InResponseTo') === expected.inResponseTo, 'it answers another request');
  const issuers = childrenOf(response, 'assertion', 'Issuer');
  need(issuers.length <= 1 && issuers.every((one) => one.text === expected.idpIssuer), otherIssuer(expected));
  const everything = [...descendants(response)];
  if (everything.some((one) => one.name === 'EncryptedAssertion' || one.name === 'EncryptedID')) {
    throw invalid('encrypted assertions are not supported', 'turn the encryption of assertions off at the provider');
  }
  const assertions = everything.filter((one) => one.name === 'Assertion');
  const [assertion] = assertions;
  need(assertions.length === 1 && assertion !== undefined, `it has ${assertions.length} assertions; it must have one`);
  need(assertion.namespace === samlNamespaces.assertion && response.children.includes(assertion), wrapped);
  checkSignatures(response, assertion, everything);
  return assertion.attributes.get('ID') ?? '';
}

function checkStatus(response: XmlElement): void {
  const [status, ...more] = childrenOf(response, 'protocol', 'Status');
  const code = status && childrenOf(status, 'protocol', 'StatusCode')[0];
  const value = code?.attributes.get('Value') ?? 'none';
  if (more.length === 0 && value === success) return;
  const inner = code && childrenOf(code, 'protocol', 'StatusCode')[0]?.attributes.get('Value');
  const last = (inner ?? value).split(':').at(-1) ?? '';
  throw new CountersignError('authentication_failed', 'the identity provider did not log you in', {
    detail: `its status is ${JSON.stringify(last.slice(0, 100))}`,
  });
}

const wrapped = 'its assertion is not where it belongs';

function checkSignatures(response: XmlElement, assertion: XmlElement, everything: readonly XmlElement[]): void {
  const ids = everything.flatMap((one) =>
    [...one.attributes].filter(([name]) => name.toLowerCase() === 'id').map(([, value]) => value),
  );
  need(new Set(ids).size === ids.length, 'two of its elements have one ID');
  const signatures = everything.filter((one) => one.name === 'Signature');
  for (const holder of [response, assertion]) {
    const own = childrenOf(holder, 'signature', 'Signature');
    need(own.length <= 1, 'an element has two signatures');
    for (const signature of own) checkSignature(signature, holder.attributes.get('ID'));
  }
  const placed = [response, assertion].flatMap((holder) => childrenOf(holder, 'signature', 'Signature'));
  need(signatures.length === placed.length, 'it has a signature that is not where it belongs');
  need(childrenOf(assertion, 'signature', 'Signature').length === 1, 'its assertion is not signed');
}

function checkSignature(signature: XmlElement, id: string | undefined): void {
  const size = [...descendants(signature)].length;
  need(size <= maxSignatureElements, `a signature has more than ${maxSignatureElements} elements`);
  const info = onlyChild(signature, 'signature', 'SignedInfo');
  const reference = onlyChild(info, 'signature', 'Reference');
  need(
    id !== undefined && id !== '' && reference.attributes.get('URI') === `#${id}`,
    'a signature is of another element',
  );
  need(childrenOf(signature, 'signature', 'Object').length === 0, 'a signature holds objects');
  const algorithm = (element: XmlElement): string => element.attributes.get('Algorithm') ?? 'none';
  const method = algorithm(onlyChild(info, 'signature', 'SignatureMethod'));
  const digest = algorithm(onlyChild(reference, 'signature', 'DigestMethod'));
  need(signatureAlgorithms.has(method), `it is signed with ${brief(method)}; SHA-256 or SHA-512 with RSA is needed`);
  need(digestAlgorithms.has(digest), `its digest is made with ${brief(digest)}; SHA-256 or SHA-512 is needed`);
  const canonical = algorithm(onlyChild(info, 'signature', 'CanonicalizationMethod'));
  const transforms = onlyChild(reference, 'signature', 'Transforms').children.map(algorithm);
  const isPlain = canonical === exclusive && transforms.length === 2 && transforms[0] === enveloped;
  need(isPlain && transforms[1] === exclusive, 'a signature uses transforms that are not understood');
}

/**
 * What the assertion says.
 * @param assertion the element whose signature was verified, read anew from the bytes that were verified
 * @throws CountersignError `saml_response_invalid`
 */
export function readAssertion(assertion: XmlElement, expected: SamlExpectation): SamlAssertion {
  need(assertion.name === 'Assertion' && assertion.namespace === samlNamespaces.assertion, wrapped);
  need(onlyChild(assertion, 'assertion', 'Issuer').text === expected.idpIssuer, otherIssuer(expected));
  const id = assertion.attributes.get('ID');
  need(id !== undefined && id !== '', 'its assertion has no ID');
  const subject = onlyChild(assertion, 'assertion', 'Subject');
  const confirmedUntil = confirmation(subject, expected);
  const conditionsUntil = conditions(onlyChild(assertion, 'assertion', 'Conditions'), expected);
  const statements = childrenOf(assertion, 'assertion', 'AuthnStatement');
  need(statements.length > 0, 'it does not say that somebody logged in (AuthnStatement)');
  const ends = statements.map((one) => one.attributes.get('SessionNotOnOrAfter')).filter((end) => end !== undefined);
  const sessionEnd = ends.length === 0 ? undefined : Math.min(...ends.map(timeOf));
  need(sessionEnd === undefined || sessionEnd > expected.nowMs, 'the log-in that it tells of has ended');
  return {
    id,
    nameId: nameIdOf(subject),
    attributes: attributesOf(assertion),
    rememberUntil: new Date(Math.max(confirmedUntil, conditionsUntil) + 2 * expected.clockToleranceMs),
    sessionExpiresAt: sessionEnd === undefined ? undefined : new Date(sessionEnd),
  };
}

/** @returns until when */
function confirmation(subject: XmlElement, expected: SamlExpectation): number {
  const confirmations = childrenOf(subject, 'assertion', 'SubjectConfirmation');
  const one = confirmations.find(({ attributes }) => attributes.get('Method') === bearer);
  need(one !== undefined && confirmations.length === 1, 'its subject is not confirmed as a bearer, once');
  const { attributes } = onlyChild(one, 'assertion', 'SubjectConfirmationData');
  need(attributes.get('Recipient') === expected.acsUrl, `its Recipient is not ${expected.acsUrl}`);
  need(attributes.get('InResponseTo') === expected.inResponseTo, 'its assertion answers another request');
  return checkTimes(attributes, expected);
}

/** @returns until when */
function conditions(element: XmlElement, expected: SamlExpectation): number {
  for (const { name, namespace } of element.children) {
    const isKnown = namespace === samlNamespaces.assertion && understoodConditions.has(name);
    need(isKnown, `it has a condition that is not understood: ${brief(name)}`);
  }
  const audiences = childrenOf(element, 'assertion', 'AudienceRestriction');
  const isForUs = audiences.every((one) =>
    childrenOf(one, 'assertion', 'Audience').some((audience) => audience.text === expected.audience),
  );
  need(audiences.length > 0 && isForUs, `it is not for the audience ${expected.audience}`);
  return checkTimes(element.attributes, expected);
}

/** @returns NotOnOrAfter */
function checkTimes(attributes: ReadonlyMap<string, string>, { nowMs, clockToleranceMs }: SamlExpectation): number {
  const notBefore = attributes.get('NotBefore');
  const hint = 'compare the clocks of the provider and of this machine, or set clockToleranceMs';
  if (notBefore !== undefined && timeOf(notBefore) > nowMs + clockToleranceMs) {
    throw invalid(`it is not valid before ${brief(notBefore)}`, hint);
  }
  const notOnOrAfter = attributes.get('NotOnOrAfter');
  need(notOnOrAfter !== undefined, 'it does not say until when it is valid');
  const endMs = timeOf(notOnOrAfter);
  if (endMs <= nowMs - clockToleranceMs) throw invalid(`it was valid until ${brief(notOnOrAfter)}`, hint);
  return endMs;
}

function nameIdOf(subject: XmlElement): string {
  const nameId = onlyChild(subject, 'assertion', 'NameID');
  const value = nameId.text;
  need(nameId.children.length === 0 && value !== '', 'its NameID is empty');
  if (nameId.attributes.get('Format') === transient) {
    const hint = 'let the provider send a persistent NameID: one person must not be several';
    throw invalid('its NameID is transient: another one at each log-in', hint);
  }
  const isPlain = value.length <= maxNameIdLength && value.isWellFormed() && !/\p{Cc}/u.test(value);
  need(isPlain && value.trim() === value, `its NameID has more than ${maxNameIdLength} or strange characters`);
  return value;
}

function attributesOf(assertion: XmlElement): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const statements = childrenOf(assertion, 'assertion', 'AttributeStatement');
  for (const attribute of statements.flatMap((one) => childrenOf(one, 'assertion', 'Attribute'))) {
    const name = attribute.attributes.get('Name') ?? '';
    const values = childrenOf(attribute, 'assertion', 'AttributeValue').map((value) => {
      need(value.children.length === 0, `the attribute ${brief(name)} is no text`);
      need(value.text.isWellFormed() && !value.text.includes('\0'), `the attribute ${brief(name)} is no text`);
      return value.text;
    });
    found.set(name, [...(found.get(name) ?? []), ...values]);
  }
  return found;
}

/** An xs:dateTime in UTC, as SAML requires (Core 1.3.3). */
function timeOf(text: string): number {
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(text) ? Date.parse(text) : Number.NaN;
  need(!Number.isNaN(ms), `it has a time that is none: ${brief(text)}`);
  return ms;
}

function* descendants(element: XmlElement): Generator<XmlElement> {
  yield element;
  for (const child of element.children) yield* descendants(child);
}

function childrenOf(element: XmlElement, space: keyof typeof samlNamespaces, name: string): XmlElement[] {
  return element.children.filter((child) => child.name === name && child.namespace === samlNamespaces[space]);
}

function onlyChild(element: XmlElement, space: keyof typeof samlNamespaces, name: string): XmlElement {
  const [found, ...more] = childrenOf(element, space, name);
  need(found !== undefined && more.length === 0, `${element.name} must have one ${name}`);
  return found;
}

function otherIssuer({ idpIssuer }: SamlExpectation): string {
  return `it was not issued by ${idpIssuer}`;
}

function brief(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

function need(isFulfilled: boolean, otherwise: string): asserts isFulfilled {
  if (!isFulfilled) throw invalid(otherwise);
}

function invalid(problem: string, hint?: string): CountersignError {
  return new CountersignError('saml_response_invalid', `the SAML response is refused: ${problem}`, { hint });
}
