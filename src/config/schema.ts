/**
 * The configuration of a gateway, as one YAML file. `load.ts` reads it; nothing else in the program reads files or
 * environment variables for settings. Every limit is here, with its default and its unit in the name.
 */
import { z } from 'zod';

/** A secret is written in place, or (better) named: an environment variable or a file that holds it. */
const secret = z.union([
  z.string().min(1),
  z.strictObject({ env: z.string().min(1) }),
  z.strictObject({ file: z.string().min(1) }),
]);

const labels = z.record(z.string(), z.string()).default({});
const port = z.int().min(0).max(65_535);
const positive = z.int().min(1);

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
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'a connection name is lower-case letters, digits, - and _'),
  engine: z.literal('postgres'),
  host: z.string().min(1),
  port: port.default(5432),
  database: z.string().min(1),
  labels,
  searchPath: z.array(z.string().min(1)).min(1).default(['public']),
  tls: z
    .discriminatedUnion('mode', [
      z.strictObject({
        mode: z.literal('verify-full'),
        caFile: z.string().optional(),
        serverName: z.string().optional(),
        /** The certificate that the gateway shows to the target; both or none. */
        certFile: z.string().optional(),
        keyFile: z.string().optional(),
        /** direct: TLS from the first byte on (PostgreSQL 17 and later); postgres (default): asked for with SSLRequest. */
        negotiation: z.enum(['postgres', 'direct']).optional(),
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

const duty = z.enum(['designer', 'approver', 'executor', 'auditor', 'admin']);

const binding = z.strictObject({ group: z.string().min(1), duties: z.array(duty).min(1), labels });

const maskName = z.enum(['redact', 'null', 'last4', 'hash', 'email-domain', 'year']);
const mask = z.union([
  maskName,
  z.strictObject({ kind: z.literal('partial'), keepStart: z.int().min(0), keepEnd: z.int().min(0) }),
  z.strictObject({ kind: z.literal('truncate-date'), to: z.enum(['year', 'month']) }),
  z.strictObject({ kind: z.literal('round'), to: z.number().positive() }),
]);

/** What a statement may ask about a masked column that it filters by; `perHour`: constants that it is compared with. */
const predicates = z.union([
  z.enum(['deny', 'is-null']),
  z.strictObject({ kind: z.literal('equality'), perHour: z.int().min(1).max(1_000_000) }),
]);

const detectorName = z.enum(['card', 'ssn', 'iban', 'email', 'phone', 'ip', 'jwt', 'cloud-key']);

const maskingTemplate = z.strictObject({
  name: z.string().min(1),
  appliesTo: labels,
  columns: z.array(z.strictObject({ match: z.string().min(1), mask, predicates: predicates.optional() })).default([]),
  detectors: z
    .array(
      z.strictObject({
        detect: z.union([detectorName, z.strictObject({ name: z.string().min(1), pattern: z.string().min(1) })]),
        mask: z.enum(['redact', 'last4', 'hash']).default('redact'),
      }),
    )
    .default([]),
});

const serviceAccount = z.strictObject({
  name: z.string().min(1),
  /** The subject of its tokens at the identity provider (the client id for client credentials). */
  subject: z.string().min(1),
  owner: z.string().min(1),
  groups: z.array(z.string()).optional(),
});

const workflow = z.strictObject({
  match: z.prefault(z.strictObject({ labels, kinds: z.array(z.enum(['job', 'statement', 'session'])).optional() }), {}),
  approvals: z.prefault(z.strictObject({ count: positive.default(1), groups: z.array(z.string()).optional() }), {}),
  /** How long a request waits for its decision. */
  expiresMs: positive.default(24 * 60 * 60_000),
  /** How long an approved grant may be used. */
  grantExpiresMs: positive.default(24 * 60 * 60_000),
  /** Author, approver and executor are all distinct. */
  strict: z.boolean().default(false),
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
      publicUrl: z.url().optional(),
      tls: tlsFiles.optional(),
      requestsPerMinute: positive.default(1_200),
    }),
    {},
  ),
  identity: z.strictObject({
    issuer: z.url(),
    audience: z.string().min(1).default('countersign'),
    /** The public client that the command line uses for the device flow. */
    clientId: z.string().min(1).default('countersign-cli'),
    groupsClaim: z.string().min(1).default('groups'),
    serviceAccounts: z.array(serviceAccount).default([]),
  }),
  bindings: z.array(binding).default([
    { group: 'chunk-designers', duties: ['designer'], labels: {} },
    { group: 'chunk-executors', duties: ['approver', 'executor'], labels: {} },
    { group: 'auditors', duties: ['auditor'], labels: {} },
  ]),
  connections: z.array(connection).min(1),
  masking: z.array(maskingTemplate).default([]),
  policies: z.prefault(
    z.strictObject({
      /** Cedar files, added to the built-in rules. */
      files: z.array(z.string()).default([]),
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
  credentials: z.prefault(z.strictObject({ ttlMs: positive.default(8 * 60 * 60_000) }), {}),
  runs: z.prefault(
    z.strictObject({
      leaseMs: positive.default(60_000),
      attempts: positive.default(3),
      /** How long the shared snapshot of a run may be held open at the target. */
      snapshotMaxAgeMs: positive.default(60 * 60_000),
    }),
    {},
  ),
});

export type Configuration = z.infer<typeof configurationSchema>;
export type ConnectionConfiguration = Configuration['connections'][number];
export type GatewayLimits = Configuration['gateway']['limits'];
export type Secret = z.infer<typeof secret>;
export type MaskingTemplateConfiguration = Configuration['masking'][number];
export type WorkflowConfiguration = Configuration['workflows'][number];
