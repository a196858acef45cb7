/**
 * One database behind the gateway. The configuration file has connections with their secrets; those that are added to a
 * running gateway (`countersign apply`, the page) have none: an operator puts them into files, by the connection's name.
 */
import { z } from 'zod';
import { isLoopback } from '../lib/loopback.ts';
import { labels, port, positive } from './values.ts';

export const connectionFields = {
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'a connection name is lower-case letters, digits, - and _'),
  engine: z.literal('postgres'),
  host: z.string().min(1),
  port: port.default(5432),
  database: z.string().min(1),
  labels,
  searchPath: z.array(z.string().min(1)).min(1).default(['public']),
} as const;

/** direct: TLS from the first byte on (PostgreSQL 17 and later); postgres (default): asked for with SSLRequest. */
export const tlsNegotiation = z.enum(['postgres', 'direct']);

const logIn = z.string().min(1).max(63);
const text = z.string().min(1).max(255);

/** Of a connection in the rules. Whoever writes it knows no password and no path of the gateway's machine. */
export const addedConnection = z
  .strictObject({
    ...connectionFields,
    // A path would be a socket of the gateway's own machine, where its user may be let in without a password.
    host: z
      .string()
      .max(255)
      .regex(/^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9.])?$/, 'a host is a name or an address'),
    port: positive.max(65_535).default(5432),
    database: text,
    tls: z
      .discriminatedUnion('mode', [
        z.strictObject({
          mode: z.literal('verify-full'),
          serverName: text.optional(),
          negotiation: tlsNegotiation.optional(),
        }),
        z.strictObject({ mode: z.literal('disable') }),
      ])
      .prefault({ mode: 'verify-full' }),
    /** The roles that the gateway logs in as. */
    users: z.strictObject({ gateway: logIn, designer: logIn, executor: logIn }),
  })
  .refine(({ host, tls }) => tls.mode === 'verify-full' || isLoopback(host), {
    path: ['tls', 'mode'],
    error: 'without TLS a target has to be on this machine (localhost, 127.0.0.1)',
  });

export type AddedConnection = z.infer<typeof addedConnection>;
