import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import {
  assertionXml,
  attributeXml,
  encoded,
  goodResponse,
  makeSamlKeys,
  readRequest,
  responseXml,
  signed,
  wrappingAttacks,
  type SamlKeys,
  type SamlResponseOptions,
} from '../../test/saml-provider.ts';
import { makeCertificate } from '../../demo/certificate.ts';
import { configurationSchema, type SamlProviderConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { SamlLogin, type SamlEvent } from './saml.ts';
import { checkShape, readAssertion } from './saml-response.ts';
import { parseXml } from './saml-xml.ts';

const idpIssuer = 'https://idp.test/saml';
const publicUrl = 'https://countersign.test';
const acsUrl = `${publicUrl}/auth/saml/corp/acs`;
const audience = `${publicUrl}/auth/saml/corp/metadata`;

let store: TestStore;
let keys: SamlKeys;
let otherKeys: SamlKeys;
let ecCertificate: string;
const events: SamlEvent[] = [];

before(async () => {
  [store, keys, otherKeys, ecCertificate] = await Promise.all([
    startTestStore(),
    makeSamlKeys(),
    makeSamlKeys(),
    makeCertificate({ hosts: ['localhost'] }).then((one) => one.certPem),
  ]);
});
after(() => store.stop());

function configuration(more: Partial<SamlProviderConfiguration> = {}): SamlProviderConfiguration {
  const provider = { kind: 'saml', name: 'corp', entryPoint: 'https://idp.test/sso', idpIssuer, ...more };
  const files = { idpCertFiles: ['idp.crt'], groupsAttribute: 'groups', emailAttribute: 'mail', nameAttribute: 'name' };
  const { providers } = configurationSchema.shape.identity.shape;
  const [parsed] = providers.parse([{ ...files, ...provider }]);
  if (parsed?.kind !== 'saml') throw new Error('a SAML provider was expected');
  return parsed;
}

function login(more: Partial<SamlProviderConfiguration> = {}, files: Record<string, string> = {}): SamlLogin {
  return new SamlLogin({
    providers: [configuration(more)],
    readFile: (file) => ({ 'idp.crt': keys.certPem, ...files })[file] ?? '',
    store: store.store,
    record: async (event) => void events.push(event),
    clock: { now: () => Date.now() },
    random: randomBytes,
    publicUrl: () => publicUrl,
  });
}

interface Begun {
  readonly options: SamlResponseOptions;
  readonly relayState: string;
  readonly browser: string;
}

async function begin(saml: SamlLogin, returnTo?: string): Promise<Begun> {
  const { url, browser } = await saml.start('corp', returnTo, undefined);
  const { id, relayState } = readRequest(url);
  return { options: { idpIssuer, acsUrl, audience, inResponseTo: id }, relayState, browser };
}

const answer = (saml: SamlLogin, xml: string, relayState: string) =>
  saml.answer('corp', { SAMLResponse: encoded(xml), RelayState: relayState });

/** The whole way, with this response. */
async function logIn(saml: SamlLogin, response: (options: SamlResponseOptions) => string) {
  const { options, relayState, browser } = await begin(saml);
  const given = await answer(saml, response(options), relayState);
  assert.ok('code' in given);
  return saml.finish('corp', given.code, browser);
}

async function refusal(work: Promise<unknown>, code: string, message?: RegExp): Promise<CountersignError> {
  const error = await work.then(
    (value) => assert.fail(`this had to be refused: ${JSON.stringify(value)}`),
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof CountersignError, String(error));
  assert.equal(error.code, code, `${error.message} ${error.detail}`);
  if (message !== undefined) assert.match(`${error.message} ${error.detail}`, message);
  return error;
}

/** What our own reading says, without any signature. */
function readWhole(xml: string, inResponseTo: string): void {
  const expected = { idpIssuer, audience, acsUrl, inResponseTo, nowMs: Date.now(), clockToleranceMs: 30_000 };
  const response = parseXml(xml);
  checkShape(response, expected);
  const assertion = response.children.find((child) => child.name === 'Assertion');
  assert.ok(assertion !== undefined);
  readAssertion(assertion, expected);
}

describe('a log-in with SAML', () => {
  it('asks for it, and takes the signed answer once, in the browser that began', async () => {
    const saml = login();
    const { url, browser } = await saml.start('corp', '/requests/7?tab=sql', undefined);
    const seen = readRequest(url);
    assert.ok(url.startsWith('https://idp.test/sso?'));
    assert.deepEqual([seen.acsUrl, seen.issuer], [acsUrl, audience]);
    const attributes =
      attributeXml('groups', 'chunk-designers', 'a &amp; b') +
      attributeXml('mail', 'dana@corp.test') +
      attributeXml('name', 'Dana');
    const options = { idpIssuer, acsUrl, audience, inResponseTo: seen.id, attributes };
    const given = await answer(saml, goodResponse(options, keys), seen.relayState);
    assert.ok('code' in given);
    const done = await saml.finish('corp', given.code, browser);
    assert.deepEqual(done, {
      principal: {
        id: 'corp:dana',
        human: 'corp:dana',
        kind: 'person',
        displayName: 'Dana',
        email: 'dana@corp.test',
        groups: ['chunk-designers', 'a & b'],
      },
      provider: 'corp',
      returnTo: '/requests/7?tab=sql',
      expiresAt: undefined,
    });
    await refusal(saml.finish('corp', given.code, browser), 'authentication_failed');
    assert.ok(events.some((event) => event['principal'] === 'corp:dana' && event.type === 'saml.login'));
  });

  it('takes an answer whose response is signed too, ends with the session of the provider, and knows two keys', async () => {
    const saml = login({ idpCertFiles: ['other.crt', 'idp.crt'] }, { 'other.crt': otherKeys.certPem });
    const sessionNotOnOrAfterMs = Math.trunc(Date.now() / 1_000) * 1_000 + 3_600_000;
    const done = await logIn(saml, (options) =>
      signed(goodResponse({ ...options, sessionNotOnOrAfterMs }, keys), 'Response', otherKeys),
    );
    assert.equal(done.expiresAt?.getTime(), sessionNotOnOrAfterMs);
  });

  it('sends nobody to another site', async () => {
    const saml = login();
    for (const address of [
      '//evil.test',
      '/\\evil.test',
      '\\\\evil.test',
      'https://evil.test',
      'javascript:alert(1)',
      '/\t/evil.test',
      '/%5C..//evil.test/..//evil.test\n',
      ' //evil.test',
      '',
    ]) {
      const { options, relayState, browser } = await begin(saml, address);
      const given = await answer(saml, goodResponse(options, keys), relayState);
      assert.ok('code' in given);
      const { returnTo } = await saml.finish('corp', given.code, browser);
      const target = new URL(returnTo, publicUrl);
      assert.equal(target.origin, publicUrl, address);
      assert.ok(!returnTo.startsWith('//'), address);
    }
  });

  it('is not finished in another browser', async () => {
    const saml = login();
    const other = await begin(saml);
    const { options, relayState } = await begin(saml);
    const given = await answer(saml, goodResponse(options, keys), relayState);
    assert.ok('code' in given);
    await refusal(saml.finish('corp', given.code, other.browser), 'authentication_failed');
    const again = await begin(saml);
    const second = await answer(saml, goodResponse(again.options, keys), again.relayState);
    assert.ok('code' in second);
    await refusal(saml.finish('corp', second.code, undefined), 'authentication_failed');
  });
});

describe('a response is taken once', () => {
  it('by its request', async () => {
    const saml = login();
    const { options, relayState } = await begin(saml);
    await answer(saml, goodResponse(options, keys), relayState);
    await refusal(answer(saml, goodResponse(options, keys), relayState), 'saml_response_invalid', /under way/);
  });

  it('by its assertion, on every node', async () => {
    const first = login();
    const second = login();
    const options = { idpIssuer, acsUrl, audience, inResponseTo: null };
    const unsolicited = [login({ allowUnsolicited: true }), login({ allowUnsolicited: true })] as const;
    const xml = goodResponse(options, keys);
    await answer(unsolicited[0], xml, '');
    await refusal(answer(unsolicited[1], xml, ''), 'saml_response_invalid', /used before/);
    const begun = await begin(first);
    const solicited = goodResponse(begun.options, keys);
    const outcomes = await Promise.allSettled(
      [first, second, first, second].map((node) => answer(node, solicited, begun.relayState)),
    );
    assert.equal(outcomes.filter((one) => one.status === 'fulfilled').length, 1);
  });

  it('also when two are there at one time', async () => {
    const nodes = [login(), login()] as const;
    for (let round = 0; round < 3; round++) {
      const { options, relayState } = await begin(nodes[0]);
      const outcomes = await Promise.allSettled(
        nodes.map((node) => answer(node, goodResponse(options, keys), relayState)),
      );
      assert.equal(outcomes.filter((one) => one.status === 'fulfilled').length, 1);
    }
  });

  it('not at all without a request, with another one, or with that of another provider', async () => {
    const saml = login();
    const { options, relayState } = await begin(saml);
    const without = { ...options, inResponseTo: null };
    await refusal(answer(saml, goodResponse(without, keys), ''), 'saml_response_invalid', /no log-in that began here/);
    const other = { ...options, inResponseTo: '_0123' };
    await refusal(answer(saml, goodResponse(other, keys), '_0123'), 'saml_response_invalid', /under way/);
    const half = { ...options, assertionInResponseTo: null };
    await refusal(answer(saml, goodResponse(half, keys), relayState), 'saml_response_invalid', /another request/);
    const stolen = { ...options, assertionInResponseTo: '_0123' };
    await refusal(answer(saml, goodResponse(stolen, keys), relayState), 'saml_response_invalid', /another request/);
    await refusal(answer(saml, goodResponse(options, keys), 'other'), 'saml_response_invalid', /under way/);
  });
});

describe('a response is refused', () => {
  const bad: Record<string, [Partial<SamlResponseOptions>, RegExp, string?]> = {
    'for another audience': [{ audience: 'https://other.test' }, /audience/],
    'without an audience': [{ conditions: '' }, /audience/i],
    'with a condition that is not understood': [
      {
        conditions: `<saml:AudienceRestriction><saml:Audience>${audience}</saml:Audience></saml:AudienceRestriction><saml:Condition/>`,
      },
      /condition/,
    ],
    'for another recipient': [{ recipient: 'https://other.test/acs' }, /Recipient/],
    'to another destination': [{ destination: 'https://other.test/acs' }, /Destination/],
    'without a destination': [{ destination: null }, /Destination/],
    'by another issuer': [{ assertionIssuer: 'https://other.test' }, /issued by/],
    'that is over': [{ notOnOrAfterMs: Date.now() - 60_000 }, /valid until|do not hold/],
    'that is not valid yet': [{ notBeforeMs: Date.now() + 90_000 }, /not valid before|do not hold/],
    'with an ended session': [{ sessionNotOnOrAfterMs: Date.now() - 1_000 }, /has ended/],
    'with an empty NameID': [{ nameId: '' }, /NameID is empty/],
    'with white space for a NameID': [{ nameId: '  ' }, /NameID/],
    'with a NameID that looks like another': [{ nameId: 'dana ' }, /NameID/],
    'with a transient NameID': [{ nameIdFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient' }, /transient/],
    'without groups': [
      { attributes: attributeXml('other', 'x') },
      /lacks the attribute groups/,
      'groups_claim_missing',
    ],
    'with a link to the groups': [
      {
        attributes: attributeXml('groups', 'x') + attributeXml('http://schemas.microsoft.com/claims/groups.link', 'x'),
      },
      /too many/,
      'groups_claim_missing',
    ],
    'with another status': [{ status: 'Responder' }, /Responder/, 'authentication_failed'],
  };
  for (const [what, [options, message, code]] of Object.entries(bad)) {
    it(what, async () => {
      const saml = login();
      const begun = await begin(saml);
      const xml = goodResponse({ ...begun.options, ...options }, keys);
      await refusal(answer(saml, xml, begun.relayState), code ?? 'saml_response_invalid', message);
      if (code === 'groups_claim_missing') return;
      // The library looks at some of it, too; ours must not depend on that.
      assert.throws(() => readWhole(xml, begun.options.inResponseTo ?? ''), { code: code ?? 'saml_response_invalid' });
    });
  }

  it('within the tolerance of clocks not', async () => {
    const nowMs = Date.now();
    await logIn(login(), (options) => goodResponse({ ...options, notBeforeMs: nowMs + 15_000 }, keys));
    await logIn(login(), (options) => goodResponse({ ...options, notOnOrAfterMs: nowMs - 15_000 }, keys));
    const strict = login({ clockToleranceMs: 0 });
    const { options, relayState } = await begin(strict);
    const early = goodResponse({ ...options, notBeforeMs: nowMs + 15_000 }, keys);
    await refusal(answer(strict, early, relayState), 'saml_response_invalid');
  });

  it('signed by somebody else, with SHA-1, or changed', async () => {
    const saml = login();
    const { options, relayState } = await begin(saml);
    const take = (xml: string, message: RegExp) =>
      refusal(answer(saml, xml, relayState), 'saml_response_invalid', message);
    await take(goodResponse(options, otherKeys), /signature/);
    const sha1 = { signatureAlgorithm: 'http://www.w3.org/2000/09/xmldsig#rsa-sha1' };
    await take(goodResponse(options, keys, sha1), /SHA-256/);
    await take(goodResponse(options, keys, { digestAlgorithm: 'http://www.w3.org/2000/09/xmldsig#sha1' }), /SHA-256/);
    await take(goodResponse(options, keys).replace('>dana<', '>admin<'), /signature/);
    await take(signed(goodResponse(options, keys), 'Response', keys).replace('>dana<', '>admin<'), /signature/);
    await take(responseXml(options, assertionXml(options)), /not signed/);
    await take(responseXml(options, ''), /0 assertions/);
    const two = signed(assertionXml(options), 'Assertion', keys) + signed(assertionXml(options), 'Assertion', keys);
    await take(responseXml(options, two), /2 assertions/);
    const encrypted = '<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>';
    const error = await take(responseXml(options, encrypted), /encrypted assertions are not supported/);
    assert.match(error.hint ?? '', /turn the encryption/);
  });

  it('with a DOCTYPE, entities, comments, CDATA, processing instructions, or no XML at all', async () => {
    const saml = login();
    const { options, relayState } = await begin(saml);
    const good = goodResponse(options, keys);
    const doctype = `<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>${good}`;
    for (const xml of [
      doctype,
      doctype.replace('>dana<', '>&b;<'),
      doctype.replace('>dana<', '>&f;<'),
      good.replace('>dana<', '>&unknown;<'),
      good.replace('>dana<', '>dana<!-- -->.evil<'),
      good.replace('>dana<', '><![CDATA[dana]]><'),
      good.replace('>dana<', '><?x dana?>dana<'),
      `${good}${good}`,
      good.slice(0, -5),
      'hello',
      '',
    ]) {
      await refusal(answer(saml, xml, relayState), 'saml_response_invalid');
    }
    await refusal(saml.answer('corp', { SAMLResponse: '%%%', RelayState: relayState }), 'saml_response_invalid');
    await refusal(saml.answer('corp', { RelayState: relayState }), 'saml_response_invalid');
    const long = 'A'.repeat(400_000);
    await refusal(
      saml.answer('corp', { SAMLResponse: long, RelayState: relayState }),
      'saml_response_invalid',
      /longer/,
    );
  });

  it('whose NameID or group was split by a comment after it was signed for somebody else', async () => {
    const saml = login();
    const { options, relayState } = await begin(saml);
    const attributes = attributeXml('groups', 'chunk-designers.not');
    const xml = goodResponse({ ...options, nameId: 'admin.evil', attributes }, keys);
    for (const comment of ['<!---->', '<!-- x -->']) {
      const name = xml.replace('>admin.evil<', `>admin${comment}.evil<`);
      await refusal(answer(saml, name, relayState), 'saml_response_invalid', /comment/);
      const group = xml.replace('designers.not<', `designers${comment}.not<`);
      await refusal(answer(saml, group, relayState), 'saml_response_invalid', /comment/);
    }
  });
});

describe('signature wrapping', () => {
  it('is refused in each of its forms, also by the shape alone', async () => {
    const saml = login();
    const { options, relayState } = await begin(saml);
    const attacks = wrappingAttacks(options, keys);
    assert.equal(attacks.size, 14);
    for (const [name, xml] of attacks) {
      await refusal(answer(saml, xml, relayState), 'saml_response_invalid').catch((cause: unknown) => {
        throw new Error(`attack ${name}`, { cause });
      });
      // Which element a signature is over, only the signature itself can tell.
      if (name.startsWith('the signature of')) continue;
      assert.throws(() => readWhole(xml, options.inResponseTo ?? ''), { code: 'saml_response_invalid' }, name);
    }
    // The request that all of them answered is still there for the true answer.
    const given = await answer(saml, goodResponse(options, keys), relayState);
    assert.ok('code' in given);
  });
});

describe('the shape of a response', () => {
  it('has everything where it belongs', () => {
    const options = { idpIssuer, acsUrl, audience, inResponseTo: '_1' };
    const assertion = signed(assertionXml(options), 'Assertion', keys);
    readWhole(responseXml(options, assertion), '_1');
    const refusedShape = (xml: string, message: RegExp) =>
      assert.throws(() => readWhole(xml, '_1'), { code: 'saml_response_invalid', message });
    const extensions = (inner: string) => `<samlp:Extensions>${inner}</samlp:Extensions>`;
    refusedShape(responseXml(options, extensions(assertion)), /not where it belongs/);
    const signature = /<ds:Signature[\s>].*<\/ds:Signature>/s.exec(assertion)?.[0] ?? '';
    refusedShape(responseXml(options, extensions(signature) + assertion), /signature that is not where it belongs/);
    const object = assertion.replace('</ds:Signature>', '<ds:Object>x</ds:Object></ds:Signature>');
    refusedShape(responseXml(options, object), /holds objects/);
    const transforms = assertion.replace(
      'http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>',
      'http://www.w3.org/2001/10/xml-exc-c14n#WithComments"/></ds:Transforms>',
    );
    assert.notEqual(transforms, assertion);
    refusedShape(responseXml(options, transforms), /transforms/);
    const sameId = responseXml(options, assertion).replace(
      / ID="_response[^"]*"/,
      / ID="_assertion[^"]*"/.exec(assertion)?.[0] ?? '',
    );
    refusedShape(sameId, /one ID/);
    refusedShape(
      responseXml(options, assertion).replaceAll('samlp:Response', 'samlp:LogoutResponse'),
      /no SAML response/,
    );
  });
});

describe('log-ins that began at the provider', () => {
  it('are taken where they are allowed, and lead to the first page', async () => {
    const saml = login({ allowUnsolicited: true });
    const options = { idpIssuer, acsUrl, audience, inResponseTo: null };
    const given = await answer(saml, goodResponse(options, keys), 'https://evil.test');
    assert.ok('principal' in given);
    assert.deepEqual([given.principal.id, given.returnTo], ['corp:dana', '/']);
  });
});

describe('a provider', () => {
  it('has an RSA certificate', () => {
    assert.throws(() => login({ idpCertFiles: ['ec.crt'] }, { 'ec.crt': ecCertificate }), /RSA/);
    assert.throws(() => login({ idpCertFiles: ['none.crt'] }), /none\.crt/);
  });

  it('reads our metadata', () => {
    const metadata = login().metadata('corp');
    assert.match(metadata, new RegExp(`entityID="${audience}"`));
    assert.match(metadata, new RegExp(`Location="${acsUrl}"`));
    assert.match(metadata, /WantAssertionsSigned="true"/);
    assert.throws(() => login().metadata('other'), { code: 'not_found' });
  });
});
