/** Puts together what `doctor` and the access review look at: configuration, targets and control store as they are now. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { ruleDiff } from '../approvals/rule-diff.ts';
import { rulesInForce } from '../approvals/rule-service.ts';
import { readSecret } from '../config/load.ts';
import type { RuleSet } from '../config/rules-schema.ts';
import type { Configuration } from '../config/schema.ts';
import { unapprovedLookup } from '../policy/unapproved.ts';
import type { PolicySet } from '../policy/engine.ts';
import { dutiesOf } from '../identity/bindings.ts';
import { reviewedConnections } from '../review/approval-needs.ts';
import type { AccessWorld } from '../review/access.ts';
import type { DoctorOptions } from '../review/doctor.ts';
import { everybody, type AccessViewOptions } from '../review/facts.ts';
import { removedPeople, unreviewedBreakGlass } from '../store/access.ts';
import type { Store } from '../store/database.ts';
import { listPrincipals } from '../store/principals.ts';
import { listServiceAccounts } from '../store/service-accounts.ts';
import { storeClock, usedRelations } from '../store/used-relations.ts';
import type { WiredConnection } from './data-plane.ts';
import { examinedTarget } from './examined-target.ts';

const patienceMs = 5_000;

export async function accessWorld(
  configuration: Configuration,
  store: Store,
  keyOf: (human: string) => string,
): Promise<Pick<AccessWorld, 'principals' | 'bindings' | 'connections'>> {
  return {
    principals: everybody(
      await listPrincipals(store),
      configuration.identity.serviceAccounts,
      await listServiceAccounts(store),
      await removedPeople(store),
      keyOf,
      Date.now(),
    ),
    bindings: configuration.bindings,
    connections: reviewedConnections(configuration.connections, configuration.workflows),
  };
}

export interface Examined {
  readonly configuration: Configuration;
  readonly configurationFile: string | undefined;
  readonly connections: ReadonlyMap<string, WiredConnection>;
  readonly store: Store | { readonly unreachable: string };
  readonly now: () => number;
  readonly keyOf: (human: string) => string;
  /** The rules of the configuration file, which need not be those that are in force. */
  readonly fileRules: RuleSet;
}

export function examination(parts: Examined): DoctorOptions {
  const { configuration, store } = parts;
  return {
    configuration,
    configurationFile: parts.configurationFile,
    certificates: ownCertificates(configuration),
    targets: [...parts.connections.values()].map(examinedTarget),
    connections: reviewedConnections(configuration.connections, configuration.workflows),
    keyOf: parts.keyOf,
    now: parts.now,
    processors: availableParallelism(),
    storeUrl: readSecret(configuration.store.url),
    store:
      'unreachable' in store
        ? store
        : {
            principals: async () => (await accessWorld(configuration, store, parts.keyOf)).principals,
            usedRelations: (connection) => usedRelations(store, connection),
            clock: () => storeClock(store),
            appliedPolicy: () => appliedPolicy(store, parts.fileRules),
            breakGlass: () => unreviewedBreakGlass(store),
          },
    providerClock,
  };
}

/** What policies let a principal do without an approval; principals that they cannot tell apart are asked for once. */
export function unapprovedOf(
  policies: () => PolicySet,
  configuration: () => Configuration,
): AccessViewOptions['unapproved'] {
  let known: { readonly set: PolicySet; readonly lookup: ReturnType<typeof unapprovedLookup> } | undefined;
  return (principal, name) => {
    const set = policies();
    if (known?.set !== set) known = { set, lookup: unapprovedLookup(set) };
    const { connections, bindings } = configuration();
    const connection = connections.find((one) => one.name === name);
    return connection === undefined
      ? []
      : known.lookup(principal, dutiesOf(principal, connection.labels, bindings), connection);
  };
}

/** undefined: nothing was ever applied, so the file counts. */
async function appliedPolicy(
  store: Store,
  fileRules: RuleSet,
): Promise<{ matches: boolean; what: string } | undefined> {
  const { number, rules } = await rulesInForce(store, fileRules);
  if (number === 0) return undefined;
  const changes = ruleDiff(rules, { ...fileRules, connections: rules.connections }).map(
    ({ effect, what }) => `${effect}: ${what}`,
  );
  const what = `version ${number} of the store is in force, and the file differs: ${changes.slice(0, 5).join('; ')}`;
  return { matches: changes.length === 0, what };
}

function ownCertificates({ gateway, api }: Configuration): DoctorOptions['certificates'] {
  const { tls } = gateway.postgres;
  return [
    ...(tls === undefined ? [] : [{ where: 'gateway.postgres.tls', pem: readFileSync(tls.certFile, 'utf8') }]),
    ...(api.tls === undefined ? [] : [{ where: 'api.tls', pem: readFileSync(api.tls.certFile, 'utf8') }]),
  ];
}

async function providerClock(issuer: string): Promise<number | undefined> {
  const response = await fetch(`${issuer.replace(/\/+$/, '')}/.well-known/openid-configuration`, {
    signal: AbortSignal.timeout(patienceMs),
  });
  await response.body?.cancel();
  const shown = response.headers.get('date');
  return shown === null ? undefined : Date.parse(shown);
}
