import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../errors.ts';
import { passesLuhn, passesMod97 } from './detect-digits.ts';
import { compileDetectors, type BuiltInDetector, type DetectorRule } from './detectors.ts';
import { candidate } from './prefilter.ts';

/** Without digits, so that no digest looks like a finding. */
const hash = (value: Uint8Array): Buffer =>
  Buffer.from(
    Buffer.from(value)
      .toString('hex')
      .replace(/\d/g, (digit) => 'abcdefabcd'.charAt(Number(digit)))
      .padStart(16, 'a')
      .slice(-16),
    'hex',
  );

function detectors(...rules: DetectorRule[]): ReturnType<typeof compileDetectors> {
  return compileDetectors(
    rules.map((rule) => ({ ...rule, template: 'test' })),
    hash,
  );
}

const names = Object.keys(candidate) as BuiltInDetector[];
const everything = detectors(...names.map((detect): DetectorRule => ({ detect, mask: 'redact' })));

function masked(text: string, by = everything): string {
  const found = by.detectText(Buffer.from(text));
  return found === undefined ? text : found.toString();
}

function maskedJson(text: string, by = everything): string {
  const bytes = Buffer.from(text);
  const found = by.replaceJson(bytes, 0, bytes.length);
  return found === undefined ? text : found.toString();
}

const sig = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const token = `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.${sig}`;

/** What must be found: by which detector, the text, and what is left of it. */
const positive: readonly (readonly [BuiltInDetector, string, string])[] = [
  ['card', '4111111111111111', '[masked:card]'],
  ['card', '4111 1111 1111 1111', '[masked:card]'],
  ['card', '4111-1111-1111-1111', '[masked:card]'],
  ['card', '4111\u00a01111\u00a01111\u00a01111', '[masked:card]'],
  ['card', '4111\u20111111\u20111111\u20111111', '[masked:card]'],
  ['card', '4111\u20131111\u20131111\u20131111', '[masked:card]'],
  ['card', 'card 5555555555554444, thanks', 'card [masked:card], thanks'],
  ['card', '2223003122003222', '[masked:card]'],
  ['card', '378282246310005', '[masked:card]'],
  ['card', '3782 822463 10005', '[masked:card]'],
  ['card', '6011111111111117', '[masked:card]'],
  ['card', '3056 9309 0259 04', '[masked:card]'],
  ['card', '30569309025904', '[masked:card]'],
  ['card', '3530111333300000', '[masked:card]'],
  ['card', '6200000000000005', '[masked:card]'],
  ['card', '4222222222222', '[masked:card]'],
  ['card', 'pan=4111111111111111;cvc=123', 'pan=[masked:card];cvc=123'],
  ['card', '4111111111111111,5555555555554444', '[masked:card],[masked:card]'],
  ['card', '12 4111 1111 1111 1111', '12 [masked:card]'],
  ['card', 'PAN4111111111111111', 'PAN[masked:card]'],
  ['card', '4000000000000000006', '[masked:card]'],
  ['card', '4111111111111111 00', '[masked:card] 00'],
  ['card', 'order 20240317 4111111111111111', 'order 20240317 [masked:card]'],
  ['card', '4111111111111111.', '[masked:card].'],
  ['card', 'é4111111111111111é', 'é[masked:card]é'],
  ['ssn', '123-45-6789', '[masked:ssn]'],
  ['ssn', 'SSN 078-05-1120.', 'SSN [masked:ssn].'],
  ['ssn', '123 45 6789', '[masked:ssn]'],
  ['ssn', '123\u201345\u20136789', '[masked:ssn]'],
  ['ssn', 'ssn: 123456789', 'ssn: [masked:ssn]'],
  ['ssn', 'SSN=123456789', 'SSN=[masked:ssn]'],
  ['ssn', 'userSsn 123456789', 'userSsn [masked:ssn]'],
  ['ssn', 'ssn_number: 123456789', 'ssn_number: [masked:ssn]'],
  ['ssn', 'social security number is 123456789', 'social security number is [masked:ssn]'],
  ['ssn', 'tax id 123456789', 'tax id [masked:ssn]'],
  ['ssn', '(899-01-0001)', '([masked:ssn])'],
  ['ssn', 'a,123-45-6789,b', 'a,[masked:ssn],b'],
  ['iban', 'DE89370400440532013000', '[masked:iban]'],
  ['iban', 'DE89 3704 0044 0532 0130 00', '[masked:iban]'],
  ['iban', 'GB29 NWBK 6016 1331 9268 19', '[masked:iban]'],
  ['iban', 'gb29nwbk60161331926819', '[masked:iban]'],
  ['iban', 'pay FR1420041010050500013M02606 now', 'pay [masked:iban] now'],
  ['iban', 'NO9386011117947', '[masked:iban]'],
  ['iban', 'MT84MALT011000012345MTLCAST001S', '[masked:iban]'],
  ['iban', 'CH93-0076-2011-6238-5295-7', '[masked:iban]'],
  ['iban', 'DE89 3704 0044 0532 0130 00 and more', '[masked:iban] and more'],
  ['email', 'ann@example.com', '[masked:email]'],
  ['email', 'Ann.Lee+tag@mail.example.co.uk!', '[masked:email]!'],
  ['email', '<ann@example.com>', '<[masked:email]>'],
  ['email', 'a@b.io,c@d.io', '[masked:email],[masked:email]'],
  ['email', 'mailto:ann_1@ex-ample.org.', 'mailto:[masked:email].'],
  ['email', 'jürgen@müller.de', '[masked:email]'],
  ['email', '.ann@example.com', '.[masked:email]'],
  ['email', 'x@@ann@example.com', 'x@@[masked:email]'],
  ['phone', '+1 212 555 0123', '[masked:phone]'],
  ['phone', '+12125550123', '[masked:phone]'],
  ['phone', '+49 30 901820 123', '[masked:phone]'],
  ['phone', '+44 (20) 7946-0958', '[masked:phone]'],
  ['phone', 'call (212) 555-0123 today', 'call [masked:phone] today'],
  ['phone', '(212)555-0123', '[masked:phone]'],
  ['phone', '212-555-0123', '[masked:phone]'],
  ['phone', '212.555.0123', '[masked:phone]'],
  ['phone', '212 555 0123', '[masked:phone]'],
  ['phone', '1-212-555-0123', '[masked:phone]'],
  ['ip', '192.168.1.10', '[masked:ip]'],
  ['ip', 'from 203.0.113.9:443', 'from [masked:ip]:443'],
  ['ip', '10.0.0.1, 10.0.0.2', '[masked:ip], [masked:ip]'],
  ['ip', '255.255.255.255.', '[masked:ip].'],
  ['ip', '2001:db8::1', '[masked:ip]'],
  ['ip', 'fe80::1ff:fe23:4567:890a', '[masked:ip]'],
  ['ip', '[2001:0db8:85a3:0000:0000:8a2e:0370:7334]', '[[masked:ip]]'],
  ['jwt', token, '[masked:jwt]'],
  ['jwt', `Bearer ${token}`, 'Bearer [masked:jwt]'],
  ['jwt', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.', '[masked:jwt]'],
  ['cloud-key', 'AKIAIOSFODNN7EXAMPLE', '[masked:cloud-key]'],
  ['cloud-key', 'id=ASIAIOSFODNN7EXAMPLE;', 'id=[masked:cloud-key];'],
  ['cloud-key', `ghp_${'a1B2'.repeat(9)}`, '[masked:cloud-key]'],
  ['cloud-key', `gho_${'a1B2'.repeat(9)} x`, '[masked:cloud-key] x'],
  ['cloud-key', `github_pat_${'a1B2'.repeat(10)}`, '[masked:cloud-key]'],
  ['cloud-key', `sk_live_${'a1B2'.repeat(6)}`, '[masked:cloud-key]'],
  ['cloud-key', 'xoxb-123456789012-abcdefABCDEF', '[masked:cloud-key]'],
  ['cloud-key', `AIza${'a'.repeat(35)}`, '[masked:cloud-key]'],
  ['cloud-key', `glpat-${'x'.repeat(20)}`, '[masked:cloud-key]'],
  ['cloud-key', `npm_${'x1'.repeat(18)}`, '[masked:cloud-key]'],
  ['cloud-key', `SG.${'x'.repeat(22)}.${'y'.repeat(43)}`, '[masked:cloud-key]'],
  ['cloud-key', `AccountKey=${'A'.repeat(86)}==;x`, '[masked:cloud-key];x'],
  ['cloud-key', `aws_secret_access_key = ${'a'.repeat(40)}`, 'aws_secret_access_key = [masked:cloud-key]'],
  [
    'cloud-key',
    '-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nrest',
    '[masked:cloud-key]\nrest',
  ],
  ['cloud-key', 'x -----BEGIN PRIVATE KEY-----\nMIIB cut', 'x [masked:cloud-key]'],
];

/** What must be left alone. */
const negative: readonly (readonly [string, string])[] = [
  ['wrong check digit', '4111111111111112'],
  ['a card and one digit more', '40000000000000000063'],
  ['no issuer', '1234567812345670'],
  ['part of a longer run', '41111111111111110000'],
  ['a fraction', '0.4111111111111111'],
  ['all zeros', '0000000000000000'],
  ['a timestamp', '2024-03-17 09:41:00.123456+00'],
  ['an all-digit uuid', '12345678-1234-4123-8123-123456789012'],
  ['a uuid', '550e8400-e29b-41d4-a716-446655440000'],
  ['a hex digest', '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'],
  ['digits inside a word', 'abc4111111111111111def'],
  ['small numbers in a row', '12 34 56 78 90 12 34 56'],
  ['commas between groups', '4111,1111,1111,1111'],
  ['two separators', '4111  1111  1111  1111'],
  ['ssn area 000', '000-45-6789'],
  ['ssn area 666', '666-45-6789'],
  ['ssn area 900', '900-45-6789'],
  ['ssn group 00', '123-00-6789'],
  ['ssn serial 0000', '123-45-0000'],
  ['ssn inside more digits', '1123-45-67890'],
  ['ssn-like in a longer number', '55-123-45-6789-1'],
  ['nine bare digits', '123456789'],
  ['nine digits after an ordinary word', 'invoice 123456789'],
  ['ssn inside a word', 'className 123456789'],
  ['ssn inside a capital word', 'CLASSNAME 123456789'],
  ['tin inside a word', 'existing 123456789'],
  ['a date', '2024-01-31'],
  ['iban with wrong check digits', 'DE88370400440532013000'],
  ['iban of an unknown country', 'ZZ89370400440532013000'],
  ['iban too short', 'DE8937040044053201300'],
  ['iban inside a word', 'XDE89370400440532013000'],
  ['no domain', 'ann@localhost'],
  ['no local part', '@example.com'],
  ['numeric top level', 'ann@1.2'],
  ['a decorator', '@Injectable() class'],
  ['at sign alone', 'a @ b'],
  ['seven digits', '555-0123'],
  ['bare ten digits', '2125550123'],
  ['area begins with 1', '112-555-0123'],
  ['a time zone', '12:00:00+0200'],
  ['a sum', '1+2345678901'],
  ['plus and too many digits', '+1234567890123456'],
  ['version', 'v1.2.3.4'],
  ['three parts', '1.2.3'],
  ['five parts', '1.2.3.4.5'],
  ['octet too large', '300.1.1.1'],
  ['a time', '12:34:56'],
  ['a MAC address', '00:11:22:33:44:55'],
  ['a scope operator', 'std::vector<int32>'],
  ['a cast', "'2024-01-01'::date"],
  ['a short namespace', 'a::b'],
  ['eyJ alone', 'eyJhbGciOiJIUzI1NiJ9'],
  ['two parts', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0'],
  ['key id too long', 'AKIAIOSFODNN7EXAMPLE1'],
  ['key id in a word', 'xAKIAIOSFODNN7EXAMPLE'],
  ['short token', 'ghp_abc'],
  ['snake case', 'some_snake_case_name'],
  ['a public key', '-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----'],
  ['nothing', ''],
  ['prose', 'The quick brown fox jumps over 13 lazy dogs - twice.'],
  ['umlauts', 'Größe: 42 cm, Straße 7'],
];

void describe('the corpus', () => {
  for (const [detector, text, expected] of positive) {
    void it(`finds ${detector} in ${JSON.stringify(text)}`, () => {
      assert.equal(masked(text), expected);
      assert.equal(masked(text, detectors({ detect: detector, mask: 'redact' })), expected);
    });
  }
  for (const [why, text] of negative) {
    void it(`leaves ${why}: ${JSON.stringify(text)}`, () => {
      assert.equal(everything.detectText(Buffer.from(text)), undefined);
    });
  }
  void it('is large enough to mean something', () => {
    assert.ok(positive.length + negative.length >= 100);
  });
});

void describe('check digits', () => {
  void it('Luhn catches every single wrong digit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 12, maxLength: 18 }),
        fc.nat(),
        fc.integer({ min: 1, max: 9 }),
        (body, at, change) => {
          const complete = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
            .map((check) => [...body, check])
            .filter((digits) => passesLuhn(Uint8Array.from(digits), digits.length));
          assert.equal(complete.length, 1);
          const digits = Uint8Array.from(complete[0] ?? []);
          const position = at % digits.length;
          digits[position] = ((digits[position] ?? 0) + change) % 10;
          assert.equal(passesLuhn(digits, digits.length), false);
        },
      ),
    );
  });
  void it('MOD 97 accepts exactly the check digits that the standard computes', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Z0-9]{18}$/), (account) => {
        const digits = Array.from(`${account}DE00`, (character) => Number.parseInt(character, 36)).join('');
        const check = String(98n - (BigInt(digits) % 97n)).padStart(2, '0');
        assert.equal(passesMod97(`DE${check}${account}`), true);
        const wrong = String(((Number(check) + 1) % 97) + 2).padStart(2, '0');
        if (Number(wrong) % 97 !== Number(check) % 97) assert.equal(passesMod97(`DE${wrong}${account}`), false);
      }),
    );
  });
});

void describe('the pre-filter', () => {
  void it('never hides a finding: with and without it the same is found', () => {
    const pieces = [...positive.map(([, text]) => text), ...negative.map(([, text]) => text)];
    const text = fc.array(
      fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 12 }), fc.stringMatching(/^[0-9 .:@+()-]{1,20}$/)),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(text, (parts) => {
        const bytes = Buffer.from(parts.join(' '));
        if (everything.find(bytes, 0, bytes.length).length > 0)
          assert.equal(everything.suspects(bytes, 0, bytes.length), true);
        // A pattern of the user's switches the cheap test off, but each detector still has its own bit.
        for (const name of names) {
          const alone = detectors({ detect: name, mask: 'redact' });
          const padded = Buffer.concat([bytes, Buffer.from('\n0000000000000 . . . : : @ _ eyJ IA')]);
          // A private key without an end reaches to the end of the cell, wherever that is.
          const inPadded = alone
            .find(padded, 0, padded.length)
            .filter((finding) => finding.start < bytes.length)
            .map((finding) => ({ ...finding, end: Math.min(finding.end, bytes.length) }));
          assert.deepEqual(alone.find(bytes, 0, bytes.length), inPadded);
        }
      }),
      { numRuns: 300 },
    );
  });
});

void describe('tokens', () => {
  void it('last4 keeps four, hash keeps equal values equal whatever their notation', () => {
    const last4 = detectors({ detect: 'card', mask: 'last4' });
    assert.equal(masked('4111 1111 1111 1111', last4), '[masked:card:1111]');
    const hashed = detectors({ detect: 'card', mask: 'hash' });
    assert.equal(masked('4111 1111 1111 1111', hashed), masked('4111-1111-1111-1111', hashed));
    assert.notEqual(masked('4111111111111111', hashed), masked('5555555555554444', hashed));
    const mail = detectors({ detect: 'email', mask: 'last4' });
    assert.equal(masked('a@b.de', mail), '[masked:email]', 'too short to show four of it');
  });
  void it('takes the strongest mask when two rules ask for the same', () => {
    const both = detectors({ detect: 'ssn', mask: 'last4' }, { detect: 'ssn', mask: 'redact' });
    assert.equal(masked('123-45-6789', both), '[masked:ssn]');
  });
  void it('does not find its own tokens again', () => {
    for (const [, text] of positive) {
      for (const mask of ['redact', 'last4', 'hash'] as const) {
        const once = masked(text, detectors(...names.map((detect): DetectorRule => ({ detect, mask }))));
        assert.equal(masked(once), once);
      }
    }
  });
});

void describe('patterns of users', () => {
  void it('finds by RE2, counts in bytes, and wins over built-in detectors', () => {
    const own = detectors(
      { detect: { name: 'account', pattern: 'KD-\\d{6}' }, mask: 'redact' },
      { detect: 'ssn', mask: 'redact' },
    );
    assert.equal(masked('für KD-123456 und 123-45-6789 ä', own), 'für [masked:account] und [masked:ssn] ä');
  });
  void it('overlapping findings become one, under the strongest mask', () => {
    const overlapping = detectors(
      { detect: { name: 'long', pattern: 'bcdefghij' }, mask: 'last4' },
      { detect: { name: 'short', pattern: 'abc' }, mask: 'redact' },
    );
    assert.equal(masked('xabcdefghijx', overlapping), 'x[masked:long]x');
  });
  void it('ignores empty matches', () => {
    assert.equal(masked('bbb', detectors({ detect: { name: 'a', pattern: 'a*' }, mask: 'redact' })), 'bbb');
  });
  void it('stays linear where a backtracking engine would hang', () => {
    const evil = detectors({ detect: { name: 'evil', pattern: '(a+)+$' }, mask: 'redact' });
    assert.equal(masked(`${'a'.repeat(20_000)}b`, evil).length, 20_001);
  });
  for (const [name, pattern] of [
    ['x', '(a'],
    ['x', '(?=a)b'],
    ['bad name', 'a'],
    ['"', 'a'],
    ['x', '(?:a{1,1000}){1,1}(?:b{1,1000})(?:c{1,1000})(?:d{1,1000})(?:e{1,1000})(?:f{1,1000})'],
  ] as const) {
    void it(`refuses ${name} = ${pattern.slice(0, 20)}`, () => {
      assert.throws(
        () => detectors({ detect: { name, pattern }, mask: 'redact' }),
        (error) => error instanceof CountersignError && error.code === 'configuration_invalid',
      );
    });
  }
});

void describe('JSON', () => {
  for (const [text, expected] of [
    ['{"card": 4111111111111111, "n": 1.50}', '{"card": "[masked:card]", "n": 1.50}'],
    ['{"card":-4111111111111111}', '{"card":"[masked:card]"}'],
    ['[4111111111111111.0,1]', '["[masked:card]",1]'],
    ['{"a":"x 4111 1111 1111 1111 y"}', '{"a":"x [masked:card] y"}'],
    ['{"4111111111111111":true}', '{"[masked:card]":true}'],
    ['"123-45-6789"', '"[masked:ssn]"'],
    ['4111111111111111', '"[masked:card]"'],
    ['{"ssn":123456789}', '{"ssn":"[masked:ssn]"}'],
    ['{"ssn":"123456789"}', '{"ssn":"[masked:ssn]"}'],
    ['{"ssn":"12345678\\u0039"}', '{"ssn":"[masked:ssn]"}'],
    [
      '{"a":"\\u0034111\\u002d1111\\u002d1111\\u002d1111","big":12345678901234567890}',
      '{"a":"[masked:card]","big":12345678901234567890}',
    ],
    ['{"a":"line\\n4111111111111111\\n"}', '{"a":"line\\n[masked:card]\\n"}'],
    ['{"a":"\\u00e94111111111111111"}', '{"a":"é[masked:card]"}'],
    ['{"inner":"{\\"mail\\":\\"ann@example.com\\"}"}', '{"inner":"{\\"mail\\":\\"[masked:email]\\"}"}'],
    ['{"id":"550e8400-e29b-41d4-a716-446655440000"}', '{"id":"550e8400-e29b-41d4-a716-446655440000"}'],
    ['{"note":"a \\"quoted\\" word","n":1e10}', '{"note":"a \\"quoted\\" word","n":1e10}'],
    ['{"k":"-----BEGIN PRIVATE KEY-----\\nMIIB\\n-----END PRIVATE KEY-----\\n"}', '{"k":"[masked:cloud-key]\\n"}'],
  ] as const) {
    void it(`${text} becomes ${expected}`, () => {
      assert.equal(maskedJson(text), expected);
      JSON.parse(maskedJson(text));
    });
  }
  void it('withholds the whole value when a pattern matches across tokens', () => {
    const greedy = detectors({ detect: { name: 'all', pattern: 'secret.*' }, mask: 'redact' });
    assert.equal(maskedJson('{"secret":"x","b":1}', greedy), '"[masked]"');
  });
  void it('treats JSON in a text column as JSON', () => {
    assert.equal(masked('{"card":4111111111111111}'), '{"card":"[masked:card]"}');
    assert.equal(masked('[1, 2'), '[1, 2');
    assert.equal(masked('{4111111111111111,b}'), '{[masked:card],b}');
  });
  void it('sees through escapes in text that is no JSON', () => {
    assert.equal(masked('x \\u0034111-1111-1111-1111'), '[masked]');
    assert.equal(masked('x \\u0034 apples'), 'x \\u0034 apples');
  });
  void it('valid JSON stays valid, and only what holds a finding changes', () => {
    const secret = fc.constantFrom(
      '4111111111111111',
      '123-45-6789',
      'ann@example.com',
      'plain',
      'qu"ote\\ and\nline',
      'é😀',
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.json({ maxDepth: 0 }).map((text) => JSON.parse(text) as unknown),
        secret,
        secret.map((text) => `before ${text} after`),
        fc.constant(4111111111111111),
        fc.array(tie('any'), { maxLength: 4 }),
        fc.dictionary(fc.oneof(fc.string({ maxLength: 5 }), secret), tie('any'), { maxKeys: 4 }),
      ),
    })).any;
    const escapeSome = (text: string): string =>
      text.replace(/"(?:[^"\\]|\\.)*"/g, (string) =>
        string.replace(/(?<!\\u?[0-9a-f]{0,3})[149@-]/g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`),
      );
    fc.assert(
      fc.property(value, fc.boolean(), fc.boolean(), (document, pretty, escaped) => {
        const plain = JSON.stringify(document, undefined, pretty ? 2 : undefined);
        const text = escaped ? escapeSome(plain) : plain;
        assert.deepEqual(JSON.parse(text), JSON.parse(plain));
        const result = maskedJson(text);
        const parsed = JSON.stringify(JSON.parse(result));
        for (const raw of ['4111111111111111', '123-45-6789', 'ann@example.com'])
          assert.ok(!parsed.includes(raw), parsed);
        if (everything.find(Buffer.from(plain), 0, Buffer.byteLength(plain)).length === 0) assert.equal(result, text);
      }),
      { numRuns: 500 },
    );
  });
});

void describe('any bytes', () => {
  void it('never throws and leaves bytes around a finding as they are', () => {
    const bytes = fc.uint8Array({ maxLength: 60 });
    fc.assert(
      fc.property(bytes, bytes, fc.boolean(), (before, after, json) => {
        const card = Buffer.from(' 4111111111111111 ');
        const cell = Buffer.concat([before, card, after]);
        const found = json
          ? everything.replaceJson(cell, 0, cell.length)
          : everything.replaceText(cell, 0, cell.length);
        assert.ok(found !== undefined);
        assert.ok(!found.includes('4111111111111111'));
        if (json || everything.find(cell, 0, cell.length).length !== 1) return;
        assert.deepEqual(found, Buffer.concat([before, Buffer.from(' [masked:card] '), after]));
      }),
      { numRuns: 500 },
    );
  });
  void it('looks at nothing outside the cell', () => {
    const text = 'ssn 123456789 +4111111111111111 a@b.example';
    const bytes = Buffer.from(text);
    assert.equal(everything.replaceText(bytes, 4, 13), undefined);
    assert.equal(everything.replaceText(bytes, 15, 30), undefined);
    assert.equal(everything.replaceText(bytes, 32, 36), undefined);
  });
});
