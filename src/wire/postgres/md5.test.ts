import assert from 'node:assert/strict';
import { test } from 'node:test';
import { md5Password } from './md5.ts';

void test('md5Password is what md5sum makes of it', () => {
  // printf %s secretalice | md5sum; then (printf %s THAT; printf '\x01\x02\xfe\xff') | md5sum
  assert.equal(md5Password('alice', 'secret', Buffer.from([1, 2, 254, 255])), 'md5e9b7072d7c7ccc7b5f9a7b7d60c9a2f9');
  assert.equal(md5Password('zoë', 'pässword', Buffer.alloc(4)), 'md54b6de103fade7e3028d410816e330532');
});
