/** Settings of the access review, of `doctor` and of notifications. */
import { z } from 'zod';
import { labels, port, positive, secret } from './values.ts';

const dayMs = 24 * 60 * 60_000;

export const reviewSettings = z.prefault(
  z.strictObject({
    /** A duty that was not used for so long is marked, and executions of so long are looked at. */
    unusedAfterMs: positive.default(90 * dayMs),
  }),
  {},
);

export const doctorSettings = z.prefault(
  z.strictObject({
    maxClockSkewMs: positive.default(2_000),
    certificateWarningMs: positive.default(21 * dayMs),
    /** Rows that are sampled of each table to see what its columns hold; 0 = go by names alone. */
    sampleRows: z.int().min(0).max(10_000).default(200),
    sampleTables: z.int().min(0).default(500),
    /** Share of sampled values that have to look sensitive. */
    sampleShare: z.number().gt(0).max(1).default(0.2),
    /** Findings that are known and accepted; `*` stands for any characters. */
    ignore: z.array(z.strictObject({ check: z.string().min(1), where: z.string().min(1).default('*') })).default([]),
  }),
  {},
);

const notificationEvent = z.enum([
  'request.created',
  'request.decided',
  'request.expiring',
  'request.escalated',
  'request.review-late',
  'break-glass',
  'run.finished',
  'run.failed',
  'access.revoked',
]);

const receiver = {
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'a receiver name is lower-case letters, digits, - and _'),
  /** Left out: all. */
  events: z.array(notificationEvent).min(1).optional(),
  /** Only what happens on connections with these labels. */
  match: z.prefault(z.strictObject({ labels }), {}),
  /** Adds the text of a held statement, without its literals. */
  includeStatement: z.boolean().default(false),
};

export const notification = z.discriminatedUnion('kind', [
  /** Signed as Standard Webhooks has it; `secret` is `whsec_` and base64. */
  z.strictObject({ kind: z.literal('webhook'), ...receiver, url: secret, secret }),
  z.strictObject({ kind: z.literal('slack'), ...receiver, url: secret }),
  z.strictObject({ kind: z.literal('teams'), ...receiver, url: secret }),
  z.strictObject({
    kind: z.literal('email'),
    ...receiver,
    smtp: z.strictObject({
      host: z.string().min(1),
      port: port.default(587),
      /** starttls: TLS has to be offered and is asked for; implicit: TLS from the first byte on; none: tests only. */
      tls: z.enum(['starttls', 'implicit', 'none']).default('starttls'),
      caFile: z.string().optional(),
      user: z.string().optional(),
      password: secret.optional(),
    }),
    from: z.string().min(3),
    /** `concerned`: whoever may decide, or asked, or was meant, by the e-mail address of their log-in. */
    to: z.union([z.literal('concerned'), z.array(z.email()).min(1)]).default('concerned'),
  }),
]);

export const notificationLimits = z.prefault(
  z.strictObject({
    timeoutMs: positive.default(10_000),
    /** After so many tries, or so long, a message is given up. */
    attempts: positive.default(12),
    maxAgeMs: positive.default(dayMs),
    firstRetryMs: positive.default(5_000),
    /** Messages of one receiver that wait; what comes beyond is not kept. */
    maxWaiting: positive.default(10_000),
    /** How long before its end a pending request is reminded of. */
    expiringMs: positive.default(60 * 60_000),
    /** How long what was sent or given up is kept. */
    keepMs: positive.default(7 * dayMs),
    /** Receivers on this machine, also without TLS. */
    allowLoopback: z.boolean().default(false),
    /** Receivers in private networks. */
    allowPrivate: z.boolean().default(false),
  }),
  {},
);

export type NotificationEvent = z.infer<typeof notificationEvent>;
