/**
 * Jobs of CI systems (GitHub Actions, GitLab, Kubernetes and others) that are service accounts: the system signs a JWT for
 * each job, and a job whose claims are exactly those that the configuration binds is the account. No secret is kept
 * anywhere. What is not bound lets everybody in who can get such a token, so a binding that says too little is refused
 * at start.
 */
import { jwtVerify } from 'jose';
import type { WorkloadConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { valueAt, type Claims } from './claims.ts';
import { IssuerKeys } from './issuer-keys.ts';
import { defaultAlgorithms, serviceProvider, type ServiceAccountConfig, type VerifiedPrincipal } from './oidc.ts';
import { explainedTokenError, invalidToken, quoted } from './token-errors.ts';

type Wanted = WorkloadConfiguration['claims'][string];
type Account = Pick<ServiceAccountConfig, 'name' | 'owner'> & { readonly groups: readonly string[] };

interface Workload extends WorkloadConfiguration {
  readonly account: Account;
  readonly keys: IssuerKeys;
}

/** They say who issued a token, for whom and when; not which job it is. */
const formalClaims: ReadonlySet<string> = new Set(['iss', 'aud', 'exp', 'nbf', 'iat', 'jti', 'azp']);
/** They say where in a repository a job runs, and everybody's repository has a branch `main`. */
const placeClaims: ReadonlySet<string> = new Set([
  'ref',
  'ref_type',
  'ref_protected',
  'environment',
  'event_name',
  'workflow',
  'workflow_ref',
  'job_workflow_ref',
]);
const branchClaims: readonly string[] = ['sub', 'ref', 'environment', 'workflow_ref', 'job_workflow_ref'];
/** They name owners: `org` is also how `org-of-somebody-else` begins. */
const ownerClaims: readonly string[] = ['sub', 'repository', 'project_path', 'namespace_path', 'repository_owner'];

export class Workloads {
  readonly #workloads: readonly Workload[];
  readonly #clock: Clock;

  /** @throws CountersignError `configuration_invalid` */
  constructor(
    workloads: readonly WorkloadConfiguration[],
    accountOf: (name: string) => Omit<ServiceAccountConfig, 'subject'> | undefined,
    clock: Clock,
  ) {
    this.#clock = clock;
    this.#workloads = workloads.map((workload) => {
      const problem = problemOf(workload);
      if (problem !== undefined) throw misconfigured(workload, problem);
      const { issuer, jwksCacheMs: cacheMs, jwksCooldownMs: cooldownMs } = workload;
      const account = accountOf(workload.serviceAccount);
      if (account?.groups === undefined) {
        const name = quoted(workload.serviceAccount);
        const what = account === undefined ? 'there is no service account' : 'needs `groups`: the service account';
        throw misconfigured(workload, `${what} ${name} (identity.serviceAccounts)`);
      }
      const { name, owner, groups } = account;
      return { ...workload, account: { name, owner, groups }, keys: new IssuerKeys({ issuer, cacheMs, cooldownMs }) };
    });
  }

  /** Whether tokens of this issuer for this audience are jobs'. */
  takes(issuer: unknown, audiences: readonly string[]): boolean {
    return this.#workloads.some((one) => one.issuer === issuer && audiences.includes(one.audience));
  }

  get issuers(): ReadonlySet<string> {
    return new Set(this.#workloads.map((one) => one.issuer));
  }

  /**
   * The service account of a job's token.
   * @throws CountersignError `token_expired`; `token_invalid`, naming the claim that does not fit where there is one
   *   candidate; `identity_provider_unreachable`
   */
  async verify(jwt: string, issuer: string, audiences: readonly string[]): Promise<VerifiedPrincipal> {
    const candidates = this.#workloads.filter((one) => one.issuer === issuer && audiences.includes(one.audience));
    let refusal = invalidToken('no workload has this issuer and audience');
    for (const workload of candidates) {
      const claims = await this.#claimsOf(jwt, workload);
      const misfit = Object.entries(workload.claims).find(([path, wanted]) => !fits(valueAt(claims, path), wanted));
      if (misfit === undefined) return this.#principal(workload, claims);
      const [path] = misfit;
      refusal = invalidToken(`this job is not what any workload binds: its claim \`${path}\` does not fit`, {
        detail: `${workload.name}: \`${path}\` is ${quoted(valueAt(claims, path))}`,
        hint: 'an administrator compares it with identity.workloads',
      });
    }
    throw refusal;
  }

  #principal({ account }: Workload, claims: Claims): VerifiedPrincipal {
    const { name: id, owner: human, groups } = account;
    const issuedAtMs = typeof claims['iat'] === 'number' ? claims['iat'] * 1_000 : 0;
    return {
      id,
      human,
      kind: 'service',
      displayName: id,
      email: undefined,
      groups,
      provider: serviceProvider,
      expiresAt: new Date(Number(claims['exp']) * 1_000),
      groupsAt: new Date(Math.min(issuedAtMs, this.#clock.now())),
    };
  }

  async #claimsOf(jwt: string, workload: Workload): Promise<Claims> {
    const { issuer, audience, keys, clockToleranceMs } = workload;
    const algorithms = [...(workload.algorithms ?? defaultAlgorithms)];
    try {
      const { payload, protectedHeader } = await jwtVerify(jwt, keys.keyOf, {
        issuer,
        audience,
        algorithms,
        clockTolerance: clockToleranceMs / 1_000,
        currentDate: new Date(this.#clock.now()),
        requiredClaims: ['exp', 'iat'],
      });
      const { typ } = protectedHeader;
      if (typ !== undefined && typ.toLowerCase() !== 'jwt') {
        throw invalidToken(`a token of type ${quoted(typ)} is no workload's`);
      }
      if (payload['events'] !== undefined) throw invalidToken("a token about events is no workload's");
      if (payload['cnf'] !== undefined) throw invalidToken('the token is bound to a key, which is not supported');
      if ((payload.iat ?? 0) * 1_000 > this.#clock.now() + clockToleranceMs) {
        throw invalidToken('the token was issued in the future', { hint: 'compare the clocks' });
      }
      return payload;
    } catch (error) {
      throw explainedTokenError(error, { issuer, audience, algorithms });
    }
  }
}

/** Only a text fits: a list or a number is not what was bound, however it would print. */
function fits(value: unknown, wanted: Wanted): boolean {
  if (typeof value !== 'string') return false;
  if (typeof wanted === 'string') return value === wanted;
  if (Array.isArray(wanted)) return wanted.includes(value);
  return value.startsWith(wanted.startsWith);
}

/** Why this binding would let in too many. */
function problemOf({ claims }: WorkloadConfiguration): string | undefined {
  const names = Object.keys(claims);
  const bound = names.filter((name) => !formalClaims.has(name));
  if (bound.length === 0) {
    return 'at least one claim besides iss and aud must be bound: without one, every job of this issuer is this account';
  }
  for (const name of names) {
    const wanted = claims[name];
    const texts = typeof wanted === 'string' ? [wanted] : Array.isArray(wanted) ? wanted : [wanted?.startsWith ?? ''];
    const starred = texts.find((text) => text.includes('*'));
    if (starred !== undefined) {
      return `claims.${name}: ${quoted(starred)} has a *, which stands for nothing here; write { startsWith: … }`;
    }
    const isPrefix = typeof wanted === 'object' && !Array.isArray(wanted);
    if (isPrefix && ownerClaims.includes(name) && !/[/:]$/.test(wanted.startsWith)) {
      return `claims.${name}: startsWith must end with / or : where a name ends; ${quoted(wanted.startsWith)} is also how other owners' names begin`;
    }
  }
  if (bound.every((name) => placeClaims.has(name))) {
    return 'only a place in a repository is bound, not whose repository: bind sub, repository or project_path too';
  }
  if (!branchClaims.some((name) => bound.includes(name))) {
    return 'neither sub nor ref is bound, so every branch would be this account; bind one (ref: { startsWith: refs/ } for every branch)';
  }
  return undefined;
}

function misconfigured({ name }: WorkloadConfiguration, problem: string): CountersignError {
  return new CountersignError('configuration_invalid', `identity.workloads: ${name}: ${problem}`);
}
