import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addressKind, isLoopbackHost } from './addresses.ts';

void describe('the kind of an address', () => {
  for (const [kind, addresses] of Object.entries({
    loopback: ['127.0.0.1', '127.9.9.9', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1'],
    special: [
      '0.0.0.0',
      '10.1.2.3',
      '100.64.0.1',
      '169.254.169.254',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '198.18.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '::',
      'fe80::1',
      'fe80::1%eth0',
      'fd00::1',
      'ff02::1',
      '::ffff:10.0.0.1',
      '::ffff:a9fe:a9fe',
      '64:ff9b::a00:1',
      '2002:a00:1::1',
      '2001::1',
      '::10.0.0.1',
      'example.com',
      '127.1',
      '',
    ],
    public: ['1.1.1.1', '172.32.0.1', '192.167.1.1', '2606:4700::1111', '::ffff:1.1.1.1'],
  })) {
    for (const address of addresses)
      it(`${address || '(none)'} is ${kind}`, () => assert.equal(addressKind(address), kind));
  }

  it('tells hosts of this machine from names that look like them', () => {
    for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '[::1]', '::1']) assert.ok(isLoopbackHost(host), host);
    for (const host of ['127.example.com', 'localhost.example.com', '10.0.0.1']) assert.ok(!isLoopbackHost(host), host);
  });
});
