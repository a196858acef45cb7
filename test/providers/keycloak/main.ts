/**
 * `npm run test:keycloak`: Countersign with a real Keycloak. Where Keycloak cannot be had (no Java 17, no Maven, no way to
 * the distribution), or is not up in time, nothing is tested, loudly, and the exit status is 0. Every `*.suite.ts` beside
 * this file is a part. On a slow machine: KEYCLOAK_UP_UNTIL_MS=200000 KEYCLOAK_BUDGET_MS=400000 npm run test:keycloak
 */
import { readdirSync } from 'node:fs';
import { after } from 'node:test';
import { assertRuntime } from '../../../src/lib/runtime.ts';
import { Missing, startKeycloak, type Keycloak } from './server.ts';

/** What a `*.suite.ts` exports. */
export interface KeycloakSuite {
  /** More of the SAML client of the realm. */
  readonly saml?: Readonly<Record<string, unknown>>;
  /** Registers its tests. */
  suite(keycloak: Keycloak): void;
}

/** Everything ends by then, whatever hangs. */
const budgetMs = Number(process.env['KEYCLOAK_BUDGET_MS'] ?? 115_000);

assertRuntime();
setTimeout(() => {
  process.stderr.write(`test:keycloak: FAILED: not done after ${budgetMs} ms\n`);
  process.exit(1);
}, budgetMs).unref();

const here = new URL('.', import.meta.url);
const names = readdirSync(here).filter((name) => name.endsWith('.suite.ts'));
const suites = await Promise.all(names.map(async (name) => (await import(new URL(name, here).href)) as KeycloakSuite));
let keycloak: Keycloak | undefined;
try {
  keycloak = await startKeycloak({
    saml: Object.assign({}, ...suites.map((one) => one.saml)) as Record<string, unknown>,
  });
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  process.stdout.write(`\n*** SKIPPED: test:keycloak: ${error.message}\n`);
}
const started = keycloak;
if (started !== undefined) {
  after(() => started.close());
  for (const one of suites) one.suite(started);
}
