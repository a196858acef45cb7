import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CountersignError } from '../errors.ts';
import { checkShape } from './saml-response.ts';
import { parseXml } from './saml-xml.ts';

const refused = (work: () => unknown, what: RegExp) =>
  assert.throws(work, (error) => error instanceof CountersignError && what.test(error.message));

/** Whoever can reach the page can send these: what they cost grows with their size and no faster. */
describe('XML that is made to cost time', () => {
  it('has so many namespaces at one place and no more: each element below would copy them', () => {
    const declared = (count: number) => Array.from({ length: count }, (_, at) => ` xmlns:n${at}="u"`).join('');
    assert.equal(parseXml(`<a${declared(60)}><b${declared(60)}/></a>`).children.length, 1);
    refused(() => parseXml(`<a${declared(65)}/>`), /namespaces/);
    refused(
      () => parseXml(`<a${declared(60)}><b xmlns:more="1" xmlns:m2="1" xmlns:m3="1" xmlns:m4="1" xmlns:m5="1"/></a>`),
      /namespaces/,
    );
  });

  it('has so many elements and no more: XPath looks at them again for each of them', () => {
    assert.equal(parseXml(`<a>${'<b/>'.repeat(1_999)}</a>`).children.length, 1_999);
    refused(() => parseXml(`<a>${'<b/>'.repeat(2_000)}</a>`), /more than 2000 elements/);
  });

  it('has a signature of the size of signatures', () => {
    const protocol = 'urn:oasis:names:tc:SAML:2.0:protocol';
    const saml = 'urn:oasis:names:tc:SAML:2.0:assertion';
    const signature = (more: string) =>
      `<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo>${more}</SignedInfo></Signature>`;
    const response = (more: string) =>
      parseXml(
        `<Response xmlns="${protocol}" Version="2.0" Destination="d" InResponseTo="r"><Status><StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></Status><Assertion xmlns="${saml}" ID="a">${signature(more)}</Assertion></Response>`,
      );
    const expected = { idpIssuer: 'i', audience: 'a', acsUrl: 'd', inResponseTo: 'r', nowMs: 0, clockToleranceMs: 0 };
    refused(() => checkShape(response('<x/>'.repeat(100)), expected), /a signature has more than 60 elements/);
    refused(() => checkShape(response(''), expected), /must have one Reference/);
  });
});
