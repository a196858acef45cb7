/**
 * The configuration of a gateway, as one YAML file. `load.ts` reads it; nothing else in the program reads files or
 * environment variables for settings. Every limit is here, with its default and its unit in the name.
 */
import { z } from 'zod';
import { connectionFields, tlsNegotiation } from './connection-schema.ts';
import { doctorSettings, notification, notificationLimits, reviewSettings } from './review-settings.ts';
import { binding, defaultBindings, maskingTemplate, policyFile, workflow } from './rules-schema.ts';
import { port, positive, secret } from './values.ts';

const tlsFiles = z.strictObject({ certFile: z.string(), keyFile: z.string() });

/** The longest time that PostgreSQL takes for `statement_timeout`. */
const maxTimeoutMs = 2 ** 31 - 1;

const limits = z.prefault(
  z.strictObject({
    /** From accept to the end of log-in. */
    handshakeTimeoutMs: positive.default(15_000),
    /** A session that sends nothing for so long is ended; 0 = never. */
    idleTimeoutMs: z.int().min(0).default(0),
    connectTimeoutMs: positive.default(10_000),
    /** One message from a client, and the length of one statement. */
    maxMessageBytes: positive.default(16 * 1024 * 1024),
    maxStatementBytes: positive.default(256 * 1024),
    /** Texts of the statements that a session has prepared, and 2 KiB for each. */
    maxPreparedBytes: positive.default(16 * 1024 * 1024),
    /** One message (so one row) from a target. */
    maxRowBytes: positive.default(32 * 1024 * 1024),
    /** One statement at the target; a client may ask for less when it connects. 0 = the target's own setting. */
    statementTimeoutMs: z.int().min(0).max(maxTimeoutMs).default(0),
    maxSessions: positive.default(5_000),
    maxSessionsPerPrincipal: positive.default(200),
    maxHandshakes: positive.default(500),
    maxHoldsPerPrincipal: positive.default(5),
    /** How long a held statement waits on the wire. */
    holdTimeoutMs: positive.default(15 * 60_000),
    /** How old the gateway's picture of a target's catalogue may be. */
    catalogueTtlMs: positive.default(2_000),
    /** Bytes of a recording that may wait for compression before the target is slowed down. */
    recordingBacklogBytes: positive.default(4 * 1024 * 1024),
  }),
  {},
);

const credential = z.strictObject({ user: z.string().min(1), password: secret });

const connection = z.strictObject({
  ...connectionFields,
  tls: z
    .discriminatedUnion('mode', [
      z.strictObject({
        mode: z.literal('verify-full'),
        caFile: z.string().optional(),
        serverName: z.string().optional(),
        /** The certificate that the gateway shows to the target; both or none. */
        certFile: z.string().optional(),
        keyFile: z.string().optional(),
        negotiation: tlsNegotiation.optional(),
      }),
      z.strictObject({ mode: z.literal('disable') }),
    ])
    .prefault({ mode: 'verify-full' }),
  credentials: z.strictObject({
    /** Reads the catalogue and plans; needs no right to read rows except for masked samples of job plans. */
    gateway: credential,
    designer: credential,
    executor: credential,
  }),
});

const serviceAccount = z.strictObject({
  name: z.string().min(1),
  /** The subject of its tokens at the identity provider (the client id for client credentials); none for a workload only. */
  subject: z.string().min(1).optional(),
  /** The provider that issues these tokens. */
  provider: z.string().min(1).default('default'),
  owner: z.string().min(1),
  groups: z.array(z.string()).optional(),
});

/** What every OpenID provider has to be told about; a preset (identity/presets.ts) fills in what is left out. */
const oidcSettings = {
  preset: z.enum(['okta', 'entra', 'keycloak', 'google']).optional(),
  /** For the log-in page. Default: the host of the issuer. */
  title: z.string().min(1).max(100).optional(),
  /** What `aud` of access tokens must hold. */
  audience: z.string().min(1).default('countersign'),
  /** The public client that the command line uses for the device flow. */
  clientId: z.string().min(1).default('countersign-cli'),
  /** How the page logs people in: the authorization code flow of this client. Without a secret it is a public client. */
  web: z.prefault(
    z.strictObject({
      /** Default: clientId. */
      clientId: z.string().min(1).optional(),
      clientSecret: secret.optional(),
      /** Default: openid, profile, email, offline_access, and what the preset adds. */
      scopes: z
        .array(z.string().min(1))
        .refine((scopes) => scopes.includes('openid'), 'without the scope openid there is no ID token')
        .optional(),
      /** More parameters of the authorization request: `prompt: consent`, Google's `access_type: offline`. */
      parameters: z.record(z.string(), z.string()).optional(),
    }),
    {},
  ),
  /** What the command line asks for in the device flow. */
  cliScopes: z.array(z.string().min(1)).min(1).default(['openid', 'offline_access']),
  /** The claim that lists the groups, or a path of members to it. Default: groups. */
  groupsClaim: z.string().min(1).optional(),
  /** Signature algorithms that are taken. Default: RS256, PS256, ES256, EdDSA. */
  algorithms: z
    .array(
      z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']),
    )
    .min(1)
    .optional(),
  /** By how much the provider's clock may differ. */
  clockToleranceMs: z.int().min(0).max(600_000).default(30_000),
  /** How long the provider's keys are used without looking again. */
  jwksCacheMs: positive.default(600_000),
  /** The least time between two looks because of a key that is not known. */
  jwksCooldownMs: z.int().min(0).default(10_000),
  /**
   * Where groups are read anew when somebody approves or executes with an access token: the provider's userinfo, its
   * introspection (RFC 7662), or only the token itself, which then must be younger than groupsMaxAgeMs.
   * Default: introspection where it is configured, else userinfo.
   */
  freshGroups: z.enum(['userinfo', 'introspection', 'token']).optional(),
  /** The client that asks the introspection endpoint. */
  introspection: z.strictObject({ clientId: z.string().min(1), clientSecret: secret }).optional(),
} as const;

const providerName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'a provider name is lower-case letters, digits, - and _');

const oidcProvider = z.strictObject({
  kind: z.literal('oidc'),
  name: providerName,
  issuer: z.url(),
  ...oidcSettings,
});

/** People who log in with SAML 2.0. Their principals are `NAME:NAMEID`. */
const samlProvider = z.strictObject({
  kind: z.literal('saml'),
  name: providerName,
  /** For the log-in page. */
  title: z.string().min(1).optional(),
  /** The single sign-on address of the provider (HTTP-Redirect binding). */
  entryPoint: z.url({ protocol: /^https?$/ }),
  /** The provider's entity id. */
  idpIssuer: z.string().min(1),
  /** PEM certificates (RSA) of which one has signed every assertion; two during a change of keys. */
  idpCertFiles: z.array(z.string().min(1)).min(1),
  /** Our entity id; default: the address of our metadata. */
  spEntityId: z.string().min(1).optional(),
  /** What the assertion's audience must name; default: our entity id. */
  audience: z.string().min(1).optional(),
  groupsAttribute: z.string().min(1),
  /** Only an attribute whose values the provider has verified: commits are attributed by it. */
  emailAttribute: z.string().min(1).optional(),
  nameAttribute: z.string().min(1).optional(),
  clockToleranceMs: z.int().min(0).max(600_000).default(30_000),
  /** How long a person has for the log-in at the provider. */
  loginTimeoutMs: positive.default(15 * 60_000),
  /** Take log-ins that began at the provider. Then anybody who can make a browser post can log it in as themselves. */
  allowUnsolicited: z.boolean().default(false),
});

const identityProvider = z.discriminatedUnion('kind', [oidcProvider, samlProvider]);

/** A JWT of this issuer whose claims all match is the service account. */
const workload = z.strictObject({
  name: z.string().min(1),
  issuer: z.url(),
  audience: z.string().min(1),
  /** By claim, or path to it: the text, the texts of which it is one, or how it starts. */
  claims: z.record(
    z.string().min(1),
    z.union([z.string().min(1), z.array(z.string().min(1)).min(1), z.strictObject({ startsWith: z.string().min(1) })]),
  ),
  /** The name of one of identity.serviceAccounts, which has an owner and groups. */
  serviceAccount: z.string().min(1),
  algorithms: oidcSettings.algorithms,
  clockToleranceMs: oidcSettings.clockToleranceMs,
  jwksCacheMs: oidcSettings.jwksCacheMs,
  jwksCooldownMs: oidcSettings.jwksCooldownMs,
});

/** The SCIM 2.0 server: the identity provider writes people and groups here. */
const scim = z
  .strictObject({
    /** What clients show as Bearer: at least 32 characters of a random text, or its SHA-256 in hex. */
    token: secret.optional(),
    tokenHash: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'a token hash is SHA-256 in lower-case hex')
      .optional(),
    /** The provider that these people log in with; left out = `identity.issuer`. */
    provider: z.string().min(1).optional(),
    /** The attribute that is the subject (`sub`, NameID) at that provider. */
    subjectFrom: z.enum(['externalId', 'userName', 'emails']),
    /** What a group is called in bindings and policies. */
    groupsFrom: z.enum(['displayName', 'externalId']).default('displayName'),
    /** true: nobody of that provider comes in who is not an active user here. */
    required: z.boolean().default(false),
    requestsPerMinute: positive.default(1_200),
    maxUsers: positive.default(100_000),
    maxGroupMembers: positive.default(10_000),
  })
  .refine((one) => (one.token === undefined) !== (one.tokenHash === undefined), {
    error: 'either token or tokenHash is needed',
  });

export const configurationSchema = z.strictObject({
  /** The name of this node in the log and in sessions. */
  node: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/)
    .default('node-1'),
  /** Holds the log, recordings, keys, job repository and run output. Made if it is missing. */
  dataDirectory: z.string().min(1),
  store: z.strictObject({ url: secret, maxConnections: positive.default(10) }),
  gateway: z.prefault(
    z.strictObject({
      postgres: z.prefault(
        z.strictObject({
          /** One address or several, IPv4 or IPv6. */
          host: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).default('127.0.0.1'),
          port: port.default(6432),
          /** A directory, closed to other users, for a Unix socket `.s.PGSQL.<port>`. No TLS is spoken there. */
          socket: z.string().min(1).optional(),
          /** clientCaFile: clients have to show a certificate of this authority, besides their log-in. */
          tls: tlsFiles.extend({ clientCaFile: z.string().optional() }).optional(),
          /** Where clients find the listener, if not where it listens (a load balancer, another host name). */
          advertise: z.strictObject({ host: z.string(), port }).optional(),
          /** Refuse sessions without TLS. Turning it off also turns off tokens as passwords. */
          requireTls: z.boolean().default(true),
        }),
        {},
      ),
      /** Processes that carry sessions; 1 = the gateway's own process carries them itself. */
      workers: z.int().min(1).max(256).default(1),
      limits,
    }),
    {},
  ),
  api: z.prefault(
    z.strictObject({
      host: z.string().default('127.0.0.1'),
      port: port.default(6480),
      /** The address that people use, for links in notices. */
      publicUrl: z.url({ protocol: /^https?$/ }).optional(),
      tls: tlsFiles.optional(),
      /** Proxies in front of the API, as addresses or networks: who they say asks (X-Forwarded-For) is who asks. */
      trustedProxies: z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()])).default([]),
      /** From one address (IPv6: from one network of 64 bits). */
      requestsPerMinute: positive.default(1_200),
      /** The same for each step of a log-in to the page: an answer of a SAML provider is costly to check. */
      loginsPerMinute: positive.default(120),
      maxConnections: positive.default(5_000),
      /** A request has to be here, whole, after this. */
      requestTimeoutMs: positive.default(30_000),
      /** Pages of one principal that hear of changes at one time. */
      maxEventStreams: positive.default(12),
      /** A log-in of the page ends after this, whatever happens. */
      webSessionTtlMs: positive.default(8 * 60 * 60_000),
      /** And when the page asks for nothing for so long. */
      webSessionIdleMs: positive.default(60 * 60_000),
    }),
    {},
  ),
  identity: z
    .strictObject({
      /** The provider `default`: its subjects are the ids of principals. */
      issuer: z.url().optional(),
      ...oidcSettings,
      /** Further identity providers; their principals are `NAME:SUBJECT`. */
      providers: z.array(identityProvider).default([]),
      serviceAccounts: z.array(serviceAccount).default([]),
      /** Jobs of CI systems that are service accounts. */
      workloads: z.array(workload).default([]),
      accounts: z.prefault(
        z.strictObject({
          /** The longest life of a service account's key. */
          keyMaxTtlMs: positive.default(90 * 24 * 60 * 60_000),
          /** A service account of the store rests when its owner has not logged in for so long. */
          ownerUnseenMs: positive.default(30 * 24 * 60 * 60_000),
        }),
        {},
      ),
      /** Pairs of names (or e-mail addresses) that are one human. */
      links: z.array(z.tuple([z.string().min(1).max(255), z.string().min(1).max(255)])).default([]),
      scim: scim.optional(),
      /** How often each node looks for people who left, or whose groups changed, by way of another node. */
      leaversPollMs: positive.default(1_000),
      /** How old the knowledge of somebody's groups may be when they approve or execute and nobody can be asked. */
      groupsMaxAgeMs: positive.default(15 * 60_000),
    })
    .refine(({ issuer, providers }) => issuer !== undefined || providers.length > 0, {
      error: 'an issuer (identity.issuer) or at least one of identity.providers is needed',
    }),
  bindings: z.array(binding).default(defaultBindings),
  connections: z.array(connection).min(1),
  /** The folder with the secrets of connections that the rules add. Default: `connections` in the data directory. */
  connectionSecrets: z.string().min(1).optional(),
  masking: z.array(maskingTemplate).default([]),
  policies: z.prefault(
    z.strictObject({
      /** Cedar files, added to the built-in rules; or their texts in place, with the names that errors and ids use. */
      files: z.array(z.union([z.string(), policyFile])).default([]),
      /** false: the built-in permissions are left out (the built-in prohibitions never are). */
      defaults: z.boolean().default(true),
    }),
    {},
  ),
  workflows: z.array(workflow).default([]),
  sampling: z.prefault(z.strictObject({ rowsPerHour: z.int().min(0).default(100) }), {}),
  /** What an approver of a loop may let run at most. */
  templates: z.prefault(
    z.strictObject({
      /** Statements of one template; also the default. */
      maxUses: z.int().min(1).max(10_000_000).default(10_000),
      /** How long a template is valid, where the approver does not say. */
      durationMs: positive.default(2 * 60 * 60_000),
      maxDurationMs: positive.default(24 * 60 * 60_000),
    }),
    {},
  ),
  credentials: z.prefault(
    z.strictObject({
      ttlMs: positive.default(8 * 60 * 60_000),
      /** Sessions end when the life of the credential or token is over that opened them; runs never do. */
      endSessions: z.boolean().default(false),
    }),
    {},
  ),
  review: reviewSettings,
  doctor: doctorSettings,
  notifications: z.array(notification).default([]),
  notificationLimits,
  runs: z.prefault(
    z.strictObject({
      leaseMs: positive.default(60_000),
      attempts: positive.default(3),
      /** How often a failed chunk may be set going again by hand, each time with that many attempts. */
      retries: z.int().min(0).default(5),
      /** How long the shared snapshot of a run may be held open at the target. */
      snapshotMaxAgeMs: positive.default(60 * 60_000),
    }),
    {},
  ),
});

export type Configuration = z.infer<typeof configurationSchema>;
export type ConnectionConfiguration = Configuration['connections'][number];
export type GatewayLimits = Configuration['gateway']['limits'];
export type IdentityConfiguration = Configuration['identity'];
export type OidcProviderConfiguration = z.infer<typeof oidcProvider>;
export type WorkloadConfiguration = z.infer<typeof workload>;
export type { Secret } from './values.ts';
export type SamlProviderConfiguration = z.infer<typeof samlProvider>;
export type ScimConfiguration = z.infer<typeof scim>;
export type MaskingTemplateConfiguration = Configuration['masking'][number];
export type NotificationConfiguration = Configuration['notifications'][number];
export type NotificationLimits = Configuration['notificationLimits'];
export type WorkflowConfiguration = Configuration['workflows'][number];
