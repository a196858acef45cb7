import assert from 'node:assert/strict';
import { test } from 'node:test';
import fastify from 'fastify';
import type { DoctorReport } from '../review/doctor.ts';
import { doctorRoutes } from './doctor.ts';
import type { ApiServices } from './services.ts';

const finding = (where: string, severity: 'low' | 'high', connection?: string) => {
  return { check: 'x', severity, where, what: 'what', why: 'why', remedy: 'remedy', connection };
};
const report: DoctorReport = {
  findings: [
    finding('the gateway', 'high'),
    finding('crm and erp', 'high'),
    finding('erp', 'high', 'erp'),
    finding('crm', 'low', 'crm'),
  ],
  worst: 'high',
  skipped: [
    { check: 'reach (connection erp)', why: 'no right', connection: 'erp' },
    { check: 'reach (connection crm)', why: 'no right', connection: 'crm' },
    { check: 'clock', why: 'no answer' },
  ],
};
const adminOf: Readonly<Record<string, readonly string[]>> = { all: ['crm', 'erp'], one: ['crm'], none: [] };

async function ask(who: string): Promise<{ status: number; body: DoctorReport }> {
  const services: Partial<ApiServices> = {
    verifyToken: (id) =>
      Promise.resolve({ id, human: id, kind: 'person', displayName: id, email: undefined, groups: [] }),
    connectionNames: () => ['crm', 'erp'],
    dutiesOn: ({ id }, connection) => (adminOf[id]?.includes(connection) === true ? ['admin'] : ['auditor']),
    doctor: () => Promise.resolve(report),
  };
  const server = fastify();
  await server.register(doctorRoutes(services as ApiServices));
  const answer = await server.inject({ method: 'POST', url: '/doctor', headers: { authorization: `Bearer ${who}` } });
  await server.close();
  return { status: answer.statusCode, body: answer.json<DoctorReport>() };
}

void test('an admin of some connections is told what is about these alone', async () => {
  const whole = (await ask('all')).body;
  assert.deepEqual([whole.findings.length, whole.skipped.length, whole.limitedTo], [4, 3, undefined]);
  const { findings, worst, skipped, limitedTo } = (await ask('one')).body;
  assert.deepEqual(
    findings.map(({ where }) => where),
    ['crm'],
  );
  assert.deepEqual([worst, skipped.map(({ connection }) => connection), limitedTo], ['low', ['crm'], ['crm']]);
  assert.ok((await ask('none')).status >= 400);
});
