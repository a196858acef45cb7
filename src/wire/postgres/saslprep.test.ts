import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { preparePassword } from './saslprep.ts';
import { makeVerifier } from './scram.ts';

/** What PostgreSQL 15 stored in pg_authid.rolpassword for these passwords: salt, stored key, server key. */
const stored: readonly (readonly [string, string, string, string])[] = [
  [
    'pencil',
    'uBa2GUtw69R7QZRYyk9E2w==',
    '/hyx3V5I7EGkoLOxLVghxRpucSw0kFZ4zoY/ctuYK2s=',
    'bJmvxW877egt86U2pILswPxQICn8vdhh+MreWnkpJ/I=',
  ],
  [
    'I\u00adX',
    'n/SgFQnA5TOLPC1MAa+ljg==',
    'KMFMf9wuqVHXWsGtrOrO3q9kPYPy3RZ9+ul8Z8fTXdY=',
    'o8GOlxo+BbyNlG7qyc6IIe9DhadTYaY74kIqx3TBEKg=',
  ],
  [
    '\u00aa',
    'yYVQcJEcNYopEsnkAhizYA==',
    '41PJ24m3juEzlNJDfACBCCAxN8veLmvA6H5sXdjXmGw=',
    'HwWySRvLd1Q/a8r7HmH+phQh7nJI1zNzeA1ChefDox4=',
  ],
  [
    '\u2168\u00a0x',
    'nBitISIBJYrpkg5733YTiQ==',
    'Ng+8/1ekz3f50XnyG6Tf0fbLHDZrSdjGASL8jbdIGjg=',
    'zxqowm6TXGgz84+wtlE9M4y2jefsTWxvb+3kQyYW5zc=',
  ],
  [
    '\u200b\ufb01',
    '7XI7SkRq3QUP6TF4eCub4Q==',
    'Kog71vhIyyna7RbJMFtPZJbqK2gs+Q1idqEgqpvkXJg=',
    '9nCxN/QSkEP+PIQqaItXTwPyiA7SkkD8iWnM0c9xYaE=',
  ],
  [
    '\ufb01\u{1f600}',
    'UYLe61mjc3aC7jSqXNNe9w==',
    '0p9yDXn5sR53FtfbAGYzeS+FMZDIyS+atpPtXAD+KCQ=',
    'njUDeFDAsgR6fd117gWUxDvJoonKQNci/MUh+xi6ACY=',
  ],
  [
    '\u05d0\ufb01',
    'J98jxjWVf8oYsl6Z8g4Tjg==',
    '9NXiui2XQgDiviOVOi4d1Kg2N1NBlWnkEywgMdJeGtw=',
    'PWU9zZod9o6SIj0LR5ToadpOyYNT81sj3ab0sb6keA8=',
  ],
  [
    '\u0627\ufe01\u0628',
    'SURT/URgok0qPKabL4NZEQ==',
    'zVHTdb65wRW8FuK6i7E4Nf7JSTZrfSKd1stIcC5uZCQ=',
    'zYMKv+Fr7D0LseTjwaWGq/S+jdD0WcBRPnnjc0e0bmE=',
  ],
  [
    '\ufb01\u0007',
    'KQpEISQYH+7YFmOVydAUfw==',
    '81Mo6ROZqWBk6DE6ZFmnKblF9eGbTOlwVfykKppy518=',
    '/jHWoPBgjZiIrFy1NyvjO2wXiRgDxuE7SQgh6lDP1YM=',
  ],
  [
    '\u00ad',
    'ithp/4wOtCprWvmwHFQh/w==',
    '1nu2gGfJIHxWsjD37z41zH9gsOtC3+bqpu2esjKQuSI=',
    'gNmTSVbDHXdhOw1PQW/A2PQHhof9BAAwcmVJfxKH+fM=',
  ],
];

void describe('SASLprep', () => {
  void test('gives the verifiers that PostgreSQL gives', () => {
    for (const [password, salt, storedKey, serverKey] of stored) {
      const made = makeVerifier(password, Buffer.from(salt, 'base64'), 4096);
      assert.deepEqual(
        [made.storedKey.toString('base64'), made.serverKey.toString('base64')],
        [storedKey, serverKey],
        JSON.stringify(password),
      );
    }
  });

  void test('is what RFC 4013 shows where PostgreSQL follows it', () => {
    assert.equal(preparePassword('I\u00adX'), 'IX');
    assert.equal(preparePassword('user'), 'user');
    assert.equal(preparePassword('USER'), 'USER');
    assert.equal(preparePassword('\u00aa'), 'a');
    assert.equal(preparePassword('\u2168'), 'IX');
  });

  void test('takes a password as it is where it may not be prepared', () => {
    const cases: [string, string][] = [
      ['control character', '\u2168\u0007'],
      ['nothing left', '\u00ad\u200d'],
      ['not in Unicode 3.2', '\u2168\u{1f600}'],
      ['private use', '\u2168\ue000'],
      ['both directions', '\u05d0\u2168\u05d1'],
      ['right-to-left not at the end', '\u05d01\u00ad'],
      ['right-to-left not at the start', '1\u00ad\u05d0'],
      ['half a surrogate pair', '\u2168\ud800'],
    ];
    for (const [reason, password] of cases) assert.equal(preparePassword(password), password, reason);
    assert.equal(preparePassword('\u06271\u00ad\u0628'), '\u06271\u0628');
    assert.equal(preparePassword('a\u3000\u200bb'), 'a  b');
  });
});
