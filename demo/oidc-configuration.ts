/** How the demo's identity provider is set up: its accounts, its clients, and what its tokens hold. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type Provider from 'oidc-provider';
import {
  errors as providerErrors,
  interactionPolicy,
  type AccessToken,
  type ClientCredentials,
  type ClientMetadata,
  type Configuration,
  type KoaContextWithOIDC,
} from 'oidc-provider';
import { memoryAdapter } from './oidc-memory.ts';
import { deviceCodePage, deviceConfirmPage, deviceDonePage, problemPage } from './oidc-pages.ts';

export interface OidcAccount {
  /** Its subject and log-in name. */
  readonly id: string;
  readonly password: string;
  /** undefined: its tokens have no groups claim. */
  readonly groups: readonly string[] | undefined;
  readonly displayName?: string | undefined;
  readonly email?: string | undefined;
  /** More claims for its access tokens. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

export interface OidcService {
  readonly id: string;
  readonly secret: string;
  readonly groups: readonly string[] | undefined;
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

export type SigningAlgorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA';

export interface OidcProviderOptions {
  /** 0 (default): a free one. */
  readonly port?: number | undefined;
  /** Default: `demoAccounts`. */
  readonly accounts?: readonly OidcAccount[] | undefined;
  /** Default: `demoServices`. */
  readonly services?: readonly OidcService[] | undefined;
  /** Life of an access token. Default: an hour. */
  readonly accessTokenTtlSeconds?: number | undefined;
  /** Default: ES256. */
  readonly signingAlgorithm?: SigningAlgorithm | undefined;
  /** Where the authorization code flow may return to; loopback addresses match with any port. */
  readonly redirectUris?: readonly string[] | undefined;
}

/** The public client of the command line. */
export const cliClientId = 'countersign-cli';
export const audience = 'countersign';

const account = (id: string, displayName: string, group: string): OidcAccount => {
  return { id, password: `${id}-password`, displayName, email: `${id}@example.test`, groups: [group] };
};

export const demoAccounts: readonly OidcAccount[] = [
  account('designer', 'Dora Designer', 'chunk-designers'),
  account('executor', 'Emil Executor', 'chunk-executors'),
  account('executor2', 'Esra Executor', 'chunk-executors'),
  account('auditor', 'Aino Auditor', 'auditors'),
];

export const demoServices: readonly OidcService[] = [
  { id: 'etl-designer', secret: 'etl-designer-secret', groups: ['chunk-designers'] },
  { id: 'etl-runner', secret: 'etl-runner-secret', groups: ['chunk-executors'] },
];

const daySeconds = 86_400;
const deviceFlowGrant = 'urn:ietf:params:oauth:grant-type:device_code';
/** A resource (RFC 8707) is a URI; the audience of its tokens is what follows this. */
const resourcePrefix = 'urn:';
const offeredScopes = ['openid', 'profile', 'email', 'offline_access'];

export function configurationOf(options: OidcProviderOptions, accounts: readonly OidcAccount[]): Configuration {
  const services = options.services ?? demoServices;
  const algorithm = options.signingAlgorithm ?? 'ES256';
  const policy = interactionPolicy.base();
  // The one question asked is the confirmation page of the device flow; all clients are the provider's own.
  policy.remove('consent');
  return {
    adapter: memoryAdapter(),
    jwks: { keys: [signingKey(algorithm)] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    clientDefaults: { id_token_signed_response_alg: algorithm },
    clients: [
      cliClient(options.redirectUris ?? ['http://127.0.0.1/callback', 'http://127.0.0.1/auth/callback/default']),
      ...services.map(serviceClient),
    ],
    scopes: offeredScopes,
    clientBasedCORS: () => false,
    findAccount: (_context, name) => {
      const found = accounts.find((one) => one.id === name);
      return found && { accountId: name, claims: () => ({ sub: name, ...personClaims(found) }) };
    },
    interactions: { policy, url: (_context, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: async (context) => grantEverything(context),
    extraTokenClaims: (_context, token) => tokenClaims(token, accounts, services),
    // A log-in in the browser gets one as well: here nobody is asked for consent, without which this library gives the
    // scope to nobody.
    issueRefreshToken: (_context, client, code) =>
      client.grantTypeAllowed('refresh_token') &&
      (code.scopes.has('offline_access') || code.kind === 'AuthorizationCode'),
    expiresWithSession: () => false,
    renderError: (context, out) => {
      context.type = 'html';
      context.body = problemPage([out.error, out.error_description].filter(Boolean).join(': '));
    },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: deviceFlowPages(),
      resourceIndicators: {
        enabled: true,
        // A client that asks for nothing in particular means Countersign.
        defaultResource: (_context, _client, oneOf) => oneOf?.[0] ?? `${resourcePrefix}${audience}`,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource) => {
          if (!resource.startsWith(resourcePrefix)) throw new providerErrors.InvalidTarget();
          return {
            scope: '',
            audience: resource.slice(resourcePrefix.length),
            accessTokenFormat: 'jwt',
            accessTokenTTL: options.accessTokenTtlSeconds ?? 3_600,
            jwt: { sign: { alg: algorithm } },
          };
        },
      },
    },
    ttl: {
      AccessToken: options.accessTokenTtlSeconds ?? 3_600,
      ClientCredentials: options.accessTokenTtlSeconds ?? 3_600,
      AuthorizationCode: 60,
      DeviceCode: 600,
      IdToken: 3_600,
      Interaction: 600,
      Session: daySeconds,
      Grant: daySeconds,
      RefreshToken: daySeconds,
    },
  };
}

function cliClient(redirectUris: readonly string[]): ClientMetadata {
  return {
    client_id: cliClientId,
    client_name: 'Countersign command line',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: [deviceFlowGrant, 'authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [...redirectUris],
  };
}

function serviceClient({ id, secret }: OidcService): ClientMetadata {
  return {
    client_id: id,
    client_secret: secret,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  };
}

function deviceFlowPages() {
  return {
    enabled: true,
    userCodeInputSource: (context: KoaContextWithOIDC, form: string, _out?: unknown, error?: unknown) => {
      const problem =
        error === undefined || error === null ? undefined : 'That code is not valid, was used, or has expired.';
      context.body = deviceCodePage(form, problem);
    },
    userCodeConfirmSource: (
      context: KoaContextWithOIDC,
      form: string,
      client: { clientName?: string | undefined; clientId: string },
      _info: unknown,
      userCode: string,
    ) => {
      context.body = deviceConfirmPage(form, client.clientName ?? client.clientId, userCode);
    },
    successSource: (context: KoaContextWithOIDC) => {
      context.body = deviceDonePage();
    },
  };
}

/** RFC 8628 lets the server say how often to ask; without it clients wait five seconds, each time. */
export function fastPolling(provider: Provider): void {
  provider.use(async (context, next) => {
    await next();
    const body: unknown = context.body;
    if (typeof body === 'object' && body !== null && 'device_code' in body) Object.assign(body, { interval: 1 });
  });
}

async function grantEverything(context: KoaContextWithOIDC) {
  const { client, session, provider } = context.oidc;
  const accountId = session?.accountId;
  if (client === undefined || accountId === undefined) return undefined;
  const grantId = session?.grantIdFor(client.clientId);
  const known = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  if (known !== undefined) return known;
  const grant = new provider.Grant({ clientId: client.clientId, accountId });
  grant.addOIDCScope(offeredScopes.join(' '));
  await grant.save();
  return grant;
}

function tokenClaims(
  token: AccessToken | ClientCredentials,
  accounts: readonly OidcAccount[],
  clients: readonly OidcService[],
): Record<string, unknown> | undefined {
  if ('accountId' in token) {
    const found = accounts.find((one) => one.id === token.accountId);
    return found && personClaims(found);
  }
  const client = clients.find((one) => one.id === token.clientId);
  return client && { ...(client.groups && { groups: [...client.groups] }), ...client.claims };
}

function personClaims({ displayName, email, groups, claims }: OidcAccount): Record<string, unknown> {
  return { name: displayName, email, ...(groups && { groups: [...groups] }), ...claims };
}

function signingKey(algorithm: SigningAlgorithm) {
  const { privateKey } =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : algorithm === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const kid = randomBytes(8).toString('hex');
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: algorithm };
}
