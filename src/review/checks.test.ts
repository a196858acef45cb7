import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { generate } from 'selfsigned';
import { clockFindings, skewOf } from './clock-check.ts';
import { bySeverity, worstOf, type Finding } from './finding.ts';
import { sensitiveKind } from './mask-check.ts';
import { twinFindings } from './twin-check.ts';
import { certificateFacts, certificateFindings, plainTarget } from './tls-check.ts';

const dayMs = 86_400_000;
const now = Date.parse('2026-06-01T00:00:00Z');

async function certificate(more: object): Promise<string> {
  const made = await generate([{ name: 'commonName', value: 'test' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(now - dayMs),
    notAfterDate: new Date(now + 365 * dayMs),
    ...more,
  });
  return made.cert;
}

async function findingsOf(more: object): Promise<string[]> {
  const facts = certificateFacts('somewhere', await certificate(more));
  return certificateFindings(facts, now, 21 * dayMs).map(({ check }) => check);
}

void describe('certificates', () => {
  it('that are sound have no findings', async () => {
    assert.deepEqual(await findingsOf({}), []);
    assert.deepEqual(await findingsOf({ keyType: 'rsa', keySize: 2_048 }), []);
  });

  for (const [what, more, expected] of [
    ['are over', { notAfterDate: new Date(now - 1) }, 'certificate-invalid-now'],
    ['are not yet valid', { notBeforeDate: new Date(now + 60_000) }, 'certificate-invalid-now'],
    ['end soon', { notAfterDate: new Date(now + 20 * dayMs) }, 'certificate-expires'],
    ['have a short key', { keyType: 'rsa', keySize: 1_024 }, 'certificate-weak-key'],
    ['are signed with SHA-1', { algorithm: 'sha1', keyType: 'rsa', keySize: 2_048 }, 'certificate-weak-signature'],
  ] as const) {
    it(`that ${what} are found`, async () => assert.deepEqual(await findingsOf(more), [expected]));
  }

  it('that end within days are worse', async () => {
    const facts = certificateFacts('somewhere', await certificate({ notAfterDate: new Date(now + 2 * dayMs) }));
    assert.equal(certificateFindings(facts, now, 21 * dayMs)[0]?.severity, 'high');
  });

  it('are needed beyond this machine', () => {
    assert.equal(plainTarget('crm', '127.0.0.1').severity, 'info');
    assert.equal(plainTarget('crm', '/run/postgresql').severity, 'info');
    assert.equal(plainTarget('crm', 'db.internal').severity, 'critical');
    assert.equal(plainTarget('crm', '127.db.internal').severity, 'critical');
  });
});

void describe('clocks', () => {
  const reading = (shownMs: number, resolutionMs = 1) => ({
    where: 'x',
    beforeMs: 10_000,
    afterMs: 10_500,
    shownMs,
    resolutionMs,
  });
  it('are apart by no more than the question took, and what is shown is rounded', () => {
    assert.equal(skewOf(reading(10_200)), 0);
    assert.equal(skewOf(reading(13_500)), 3_000);
    assert.equal(skewOf(reading(6_999)), -3_000);
    assert.equal(skewOf(reading(9_000, 1_000)), 0, 'a Date header of 9 s stands for up to 10 s');
    assert.equal(skewOf(reading(6_000, 1_000)), -3_000);
  });

  it('are found beyond what is allowed', () => {
    assert.deepEqual(clockFindings([reading(12_500)], 2_000), []);
    assert.equal(clockFindings([reading(12_501)], 2_000)[0]?.severity, 'medium');
    assert.match(clockFindings([reading(100_500)], 2_000)[0]?.what ?? '', /90\.0 s ahead/);
    assert.equal(clockFindings([reading(100_500)], 2_000)[0]?.severity, 'high');
  });
});

void describe('names that look sensitive', () => {
  for (const name of [
    'ssn',
    'customer_email',
    'customerEmail',
    'E-Mail',
    'mobile_phone_number',
    'phone2',
    'IBAN',
    'birth_date',
    'dateOfBirth',
    'Geburtsdatum',
    'straße',
    'fuehrerschein',
    'Führerschein',
    'fecha_nacimiento',
    'contraseña',
    'salary_eur',
    'credit_card_no',
    'passport_number',
    'password_hash',
    'api_key',
  ]) {
    it(`${name} does`, () => assert.notEqual(sensitiveKind(name), undefined));
  }
  for (const name of [
    'id',
    'created_at',
    'region',
    'company',
    'mailing',
    'telling',
    'panel',
    'cardinality',
    'description',
    'tinted',
    'street_light_count_total'.slice(7),
  ]) {
    it(`${name} does not`, () => assert.equal(sensitiveKind(name), undefined));
  }
});

void describe('findings', () => {
  const finding = (check: string, severity: Finding['severity']): Finding => ({
    check,
    severity,
    where: '',
    what: '',
    why: '',
    remedy: '',
  });
  it('come worst first, in the order in which they were found', () => {
    const all = [finding('a', 'low'), finding('b', 'critical'), finding('c', 'info'), finding('d', 'critical')];
    assert.deepEqual(
      bySeverity(all).map(({ check }) => check),
      ['b', 'd', 'a', 'c'],
    );
    assert.equal(worstOf(all), 'critical');
    assert.equal(worstOf([]), undefined);
  });
});

void it('one database under two names, one of them masked less', () => {
  const pii = { name: 'pii', appliesTo: { data: 'personal' }, columns: [], detectors: [] };
  const twin = (name: string, labels: Record<string, string>, database = 'a/1') => ({ name, labels, database });
  const found = twinFindings([twin('crm', { data: 'personal' }), twin('bare', {}), twin('other', {}, 'a/2')], [pii]);
  assert.deepEqual(
    found.map(({ where, what }) => [where, what]),
    [['connection bare', 'it is the same database as crm, and is not masked by pii']],
  );
  assert.deepEqual(twinFindings([twin('crm', { data: 'personal' }), twin('same', { data: 'personal' })], [pii]), []);
});
