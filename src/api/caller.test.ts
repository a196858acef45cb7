import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FastifyRequest } from 'fastify';
import { UnsecuredJWT } from 'jose';
import { CountersignError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import { stillCaller } from './caller.ts';
import type { ApiServices } from './services.ts';

const ann: Principal = { id: 'ann', human: 'ann', kind: 'person', displayName: 'Ann', email: undefined, groups: [] };

void test('whoever showed a token or a key is still there until it ends', async () => {
  let nowMs = 1_000_000;
  let isKeyValid = true;
  const services: Partial<ApiServices> = {
    clock: { now: () => nowMs },
    verifyToken: () =>
      isKeyValid ? Promise.resolve(ann) : Promise.reject(new CountersignError('token_expired', 'the key expired')),
    admit: (principal) => Promise.resolve(principal),
  };
  const still = (token: string) =>
    stillCaller({ principal: ann, proof: { kind: 'bearer', token } } as FastifyRequest, services as ApiServices);
  const token = new UnsecuredJWT({}).setExpirationTime(1_060).encode();
  const key = `csk_${'a'.repeat(43)}`;
  assert.deepEqual([await still(token), await still(key)], [ann, ann]);
  nowMs = 1_060_000;
  isKeyValid = false;
  assert.deepEqual([await still(token), await still(key)], [undefined, undefined]);
});
