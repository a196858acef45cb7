import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CountersignError, type ErrorCode } from '../../errors.ts';
import { makeVerifier, mockVerifier, ScramClient, ScramServer } from './scram.ts';

/** RFC 7677, section 3. */
const rfc = {
  user: 'user',
  password: 'pencil',
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};
const verifier = makeVerifier(rfc.password, rfc.salt, 4096);

function server(nonce = rfc.serverNonce): ScramServer {
  return new ScramServer({ verifier, nonce });
}

function client(password = rfc.password): ScramClient {
  return new ScramClient({ password, nonce: rfc.clientNonce, user: rfc.user });
}

function fails(code: ErrorCode, message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

void describe('SCRAM-SHA-256', () => {
  void test('is the exchange of RFC 7677 at both ends', () => {
    const [ours, theirs] = [client(), server()];
    assert.equal(ours.first(), rfc.clientFirst);
    assert.equal(theirs.first(rfc.clientFirst), rfc.serverFirst);
    assert.equal(ours.final(rfc.serverFirst), rfc.clientFinal);
    assert.equal(theirs.final(rfc.clientFinal), rfc.serverFinal);
    assert.equal(ours.finished, false);
    ours.verify(rfc.serverFinal);
    assert.equal(ours.finished, true);
  });

  void test('lets any password in, and no other one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ minLength: 1 }), (password, other) => {
        const made = makeVerifier(password, Buffer.from('0123456789abcdef'), 4096);
        for (const [given, works] of [
          [password, true],
          [`${password}${other}`, false],
        ] as const) {
          const ours = new ScramClient({ password: given, nonce: 'c' });
          const theirs = new ScramServer({ verifier: made, nonce: 's' });
          const final = ours.final(theirs.first(ours.first()));
          if (works) ours.verify(theirs.final(final));
          else
            assert.throws(
              () => theirs.final(final),
              fails('authentication_failed', /^password authentication failed$/),
            );
          assert.equal(ours.finished, works);
        }
      }),
      { numRuns: 8 },
    );
  });
});

void describe('ScramServer', () => {
  const afterFirst = (first = rfc.clientFirst): ScramServer => {
    const started = server();
    started.first(first);
    return started;
  };

  void test('refuses a wrong proof, and a second try', () => {
    const started = afterFirst();
    const wrong = rfc.clientFinal.replace('p=dHz', 'p=eHz');
    assert.throws(() => started.final(wrong), fails('authentication_failed', /^password authentication failed$/));
    assert.throws(() => started.final(rfc.clientFinal), fails('protocol_violation', /out of turn/));
  });

  void test('takes the flag y when it comes back the same, and only then', () => {
    const theirs = server();
    const serverFirst = theirs.first('y,,n=,r=abc');
    // The same proof as a client with the flag n would make, over y's header.
    const nonce = serverFirst.slice(2, serverFirst.indexOf(','));
    assert.throws(
      () => theirs.final(`c=biws,r=${nonce},p=${'A'.repeat(43)}=`),
      fails('protocol_violation', /channel binding does not match/),
    );
    const again = server();
    again.first('y,,n=,r=abc');
    assert.throws(
      () => again.final(`c=eSws,r=${nonce},p=${'A'.repeat(43)}=`),
      fails('authentication_failed', /failed/),
    );
  });

  void test('refuses a flag that was changed from y to n on the way', () => {
    const theirs = afterFirst('n,,n=,r=abc');
    assert.throws(
      () => theirs.final(`c=eSws,r=abc${rfc.serverNonce},p=${'A'.repeat(43)}=`),
      fails('protocol_violation', /channel binding does not match/),
    );
  });

  void test('refuses channel binding, other identities and required extensions, saying which', () => {
    const refusals: [string, RegExp][] = [
      ['p=tls-server-end-point,,n=,r=abc', /channel binding, which was not offered/],
      ['n,a=admin,n=,r=abc', /authorization identity/],
      ['n,,m=x,n=,r=abc', /extension/],
    ];
    for (const [first, reason] of refusals) {
      assert.throws(() => server().first(first), fails('protocol_violation', reason));
    }
  });

  void test('refuses malformed first messages', () => {
    for (const first of [
      '',
      'n',
      'n,,',
      'n,,n=',
      'n,,n=,r=',
      'x,,n=,r=abc',
      'n,,n=,r=a\u00e9',
      'n,,n=,r=a b',
      'n,,n=\0,r=a',
      'n,,r=abc,n=',
      ' n,,n=,r=abc',
      'n,,n=,r=abc\n',
    ]) {
      assert.throws(() => server().first(first), fails('protocol_violation', /malformed/), JSON.stringify(first));
    }
  });

  void test('passes over optional extensions, which the proof covers', () => {
    const theirs = afterFirst('n,,n=,r=abc,x=1');
    assert.throws(
      () => theirs.final(`c=biws,r=abc${rfc.serverNonce},y=2,p=${'A'.repeat(43)}=`),
      fails('authentication_failed', /failed/),
    );
  });

  void test('refuses another nonce', () => {
    for (const nonce of ['abc', rfc.serverNonce, `${rfc.clientNonce}${rfc.serverNonce}x`]) {
      assert.throws(
        () => afterFirst().final(`c=biws,r=${nonce},p=${'A'.repeat(43)}=`),
        fails('protocol_violation', /nonce does not match/),
      );
    }
  });

  void test('refuses malformed final messages', () => {
    const nonce = rfc.clientNonce + rfc.serverNonce;
    const bad = [
      '',
      'c=biws',
      `c=biws,r=${nonce}`,
      `c=biws,r=${nonce},p=`,
      `c=biws,r=${nonce},p=AAAA`,
      `c=b,r=${nonce},p=${'A'.repeat(43)}=`,
      `${rfc.clientFinal},x=1`,
      `${rfc.clientFinal}\n`,
    ];
    for (const final of bad) {
      assert.throws(() => afterFirst().final(final), fails('protocol_violation', /malformed/), JSON.stringify(final));
    }
  });

  void test('keeps to the order', () => {
    assert.throws(() => server().final(rfc.clientFinal), fails('protocol_violation', /out of turn/));
    assert.throws(() => afterFirst().first(rfc.clientFirst), fails('protocol_violation', /out of turn/));
    const refused = server();
    assert.throws(() => refused.first('x'), fails('protocol_violation', /malformed/));
    assert.throws(() => refused.final(`c=,r=,p=${'A'.repeat(43)}=`), fails('protocol_violation', /malformed/));
  });

  void test('throws nothing but CountersignError on random texts', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[nypcrsimv=,A-Za-z0-9+/]*$/));
    fc.assert(
      fc.property(text, text, (first, final) => {
        for (const step of [() => server().first(first), () => afterFirst().final(final)]) {
          try {
            step();
          } catch (error) {
            assert.ok(error instanceof CountersignError, String(error));
          }
        }
      }),
    );
  });

  void test('works only with a nonce that the grammar allows', () => {
    for (const nonce of ['', 'a,b', 'a b', 'é']) assert.throws(() => server(nonce), /nonce/);
  });
});

void describe('mockVerifier', () => {
  void test('looks like a known user each time, and differs by user and by secret', () => {
    const secret = Buffer.alloc(32, 1);
    const mock = mockVerifier('eve', secret);
    assert.deepEqual(mockVerifier('eve', secret), mock);
    assert.equal(mock.salt.length, 16);
    assert.equal(mock.iterations, makeVerifier('x', mock.salt).iterations);
    assert.notDeepEqual(mockVerifier('eva', secret).salt, mock.salt);
    assert.notDeepEqual(mockVerifier('eve', Buffer.alloc(32, 2)).salt, mock.salt);
  });

  void test('is satisfied by nothing', () => {
    const theirs = new ScramServer({ verifier: mockVerifier('eve', Buffer.alloc(32, 1)), nonce: 's' });
    const ours = client('');
    const final = ours.final(theirs.first(ours.first()));
    assert.throws(() => theirs.final(final), fails('authentication_failed', /failed/));
  });
});

void describe('ScramClient', () => {
  const afterFirst = (): ScramClient => {
    const started = client();
    started.first();
    return started;
  };
  const afterFinal = (): ScramClient => {
    const started = afterFirst();
    started.final(rfc.serverFirst);
    return started;
  };

  void test('refuses a server that does not know the password', () => {
    const ours = afterFinal();
    const wrong = rfc.serverFinal.replace('v=6', 'v=7');
    assert.throws(() => ours.verify(wrong), fails('target_login_failed', /impostor/));
    assert.equal(ours.finished, false);
    assert.throws(() => ours.verify(rfc.serverFinal), fails('target_login_failed', /out of turn/));
    assert.equal(ours.finished, false);
  });

  void test('reports what the server reports, and refuses what it cannot read', () => {
    assert.throws(() => afterFinal().verify('e=other-error'), fails('target_login_failed', /"other-error"/));
    for (const text of ['', 'v=', 'v=AAAA', `${rfc.serverFinal} `, `x=1,${rfc.serverFinal}`]) {
      assert.throws(() => afterFinal().verify(text), fails('target_login_failed', /malformed/));
    }
  });

  void test('refuses a server that does not extend our nonce', () => {
    for (const nonce of [rfc.clientNonce, 'other', `x${rfc.clientNonce}`, rfc.clientNonce.slice(1)]) {
      const first = `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
      assert.throws(() => afterFirst().final(first), fails('target_login_failed', /nonce/));
    }
  });

  void test('refuses iteration counts that are too low or would burn our time', () => {
    for (const iterations of ['0', '1', '4095', '1000001', '999999999']) {
      const first = rfc.serverFirst.replace('i=4096', `i=${iterations}`);
      assert.throws(() => afterFirst().final(first), fails('target_login_failed', /iterations/));
    }
    afterFirst().final(rfc.serverFirst.replace('i=4096', 'i=4097'));
  });

  void test('refuses malformed server-first messages', () => {
    const r = `r=${rfc.clientNonce}x`;
    const bad = [
      '',
      r,
      `${r},s=`,
      `${r},s=W22Z`,
      `${r},s=W22Z,i=`,
      `${r},s=W22Z,i=-1`,
      `${r},s=W22Z,i=1e5`,
      `${r},s=W22Z,i=9999999999`,
      `${r},s=W2,i=4096`,
      `m=x,${r},s=W22Z,i=4096`,
    ];
    for (const text of bad) {
      assert.throws(() => afterFirst().final(text), fails('target_login_failed', /malformed/), text);
    }
    assert.throws(() => afterFirst().final(`${r},s=,i=4096`), fails('target_login_failed', /no salt/));
  });

  void test('answers one challenge only: a server cannot make it work again and again', () => {
    assert.throws(() => afterFinal().final(rfc.serverFirst), fails('target_login_failed', /out of turn/));
    assert.throws(() => client().final(rfc.serverFirst), fails('target_login_failed', /out of turn/));
    assert.throws(() => afterFirst().verify(rfc.serverFinal), fails('target_login_failed', /out of turn/));
  });

  void test('escapes the user name', () => {
    assert.equal(new ScramClient({ password: '', nonce: 'x', user: 'a=b,c' }).first(), 'n,,n=a=3Db=2Cc,r=x');
    assert.equal(new ScramClient({ password: '', nonce: 'x' }).first(), 'n,,n=,r=x');
  });
});

void describe('SCRAM-SHA-256-PLUS', () => {
  const binding = Buffer.alloc(32, 7);
  const bound = (at: Buffer | undefined): ScramServer =>
    new ScramServer({ verifier, nonce: rfc.serverNonce, binding: at });
  const binder = (at: Buffer | undefined): ScramClient =>
    new ScramClient({ password: rfc.password, nonce: rfc.clientNonce, binding: at });

  void test('is offered and taken where both ends see the same certificate', () => {
    const [ours, theirs] = [binder(binding), bound(binding)];
    assert.deepEqual(theirs.mechanisms, ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']);
    const mechanism = ours.choose(theirs.mechanisms);
    assert.equal(mechanism, 'SCRAM-SHA-256-PLUS');
    const first = ours.first();
    assert.match(first, /^p=tls-server-end-point,,n=,r=/);
    const final = ours.final(theirs.first(first, mechanism));
    assert.equal(
      Buffer.from(/^c=([^,]+)/.exec(final)?.[1] ?? '', 'base64').toString('latin1'),
      `p=tls-server-end-point,,${binding.toString('latin1')}`,
    );
    ours.verify(theirs.final(final));
    assert.ok(ours.finished);
  });

  void test('fails where the client saw another certificate', () => {
    const [ours, theirs] = [binder(Buffer.alloc(32, 8)), bound(binding)];
    const final = ours.final(
      theirs.first(ours.choose(theirs.mechanisms) === undefined ? '' : ours.first(), 'SCRAM-SHA-256-PLUS'),
    );
    assert.throws(() => theirs.final(final), fails('authentication_failed', /channel binding check failed/));
  });

  void test('makes a client that could bind say so, and a server that offered it refuse that', () => {
    const [ours, theirs] = [binder(binding), bound(binding)];
    assert.equal(ours.choose(['SCRAM-SHA-256']), 'SCRAM-SHA-256');
    const first = ours.first();
    assert.match(first, /^y,,/);
    assert.throws(() => theirs.first(first), fails('authentication_failed', /negotiation error/));
    const [again, without] = [binder(binding), bound(undefined)];
    assert.equal(again.choose(without.mechanisms), 'SCRAM-SHA-256');
    again.verify(without.final(again.final(without.first(again.first()))));
  });

  void test('is not forced on a client that cannot', () => {
    const [ours, theirs] = [binder(undefined), bound(binding)];
    assert.equal(ours.choose(theirs.mechanisms), 'SCRAM-SHA-256');
    ours.verify(theirs.final(ours.final(theirs.first(ours.first()))));
    assert.equal(binder(binding).choose(['SCRAM-SHA-1', 'OAUTHBEARER']), undefined);
    assert.equal(binder(undefined).choose(['SCRAM-SHA-256-PLUS']), undefined);
  });

  void test('refuses flags that do not fit the mechanism', () => {
    const rest = ',,n=,r=abc';
    for (const [mechanism, flag, problem] of [
      ['SCRAM-SHA-256-PLUS', 'n', /without channel binding/],
      ['SCRAM-SHA-256-PLUS', 'y', /without channel binding/],
      ['SCRAM-SHA-256-PLUS', 'p=tls-unique', /kind that was not offered/],
      ['SCRAM-SHA-256', 'p=tls-server-end-point', /not offered/],
      ['SCRAM-SHA-1', 'n', /was not offered/],
    ] as const) {
      assert.throws(() => bound(binding).first(`${flag}${rest}`, mechanism), fails('protocol_violation', problem));
    }
    assert.throws(
      () => bound(undefined).first(`p=tls-server-end-point${rest}`, 'SCRAM-SHA-256-PLUS'),
      fails('protocol_violation', /was not offered/),
    );
  });
});
