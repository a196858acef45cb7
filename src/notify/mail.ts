/** One e-mail by SMTP (RFC 5321). TLS is required unless a setting says that this is a test on this machine. */
import { readFileSync } from 'node:fs';
import { createTransport } from 'nodemailer';
import type SMTPTransport from 'nodemailer/lib/smtp-transport';
import { readSecret } from '../config/load.ts';
import type { NotificationConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { MailText } from './message.ts';

export type MailReceiver = Extract<NotificationConfiguration, { kind: 'email' }>;

const maxReason = 200;

/** @throws CountersignError `notification_failed` with what the server said */
export async function sendMail(
  { smtp, from }: MailReceiver,
  recipient: string,
  mail: MailText,
  id: string,
  timeoutMs: number,
): Promise<void> {
  const options: SMTPTransport.Options = {
    host: smtp.host,
    port: smtp.port,
    secure: smtp.tls === 'implicit',
    requireTLS: smtp.tls === 'starttls',
    ignoreTLS: smtp.tls === 'none',
    tls: {
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ...(smtp.caFile === undefined ? {} : { ca: readFileSync(smtp.caFile, 'utf8') }),
    },
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    // A message is text of ours: it never fetches anything.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
  if (smtp.user !== undefined) {
    options.auth = { user: smtp.user, pass: smtp.password === undefined ? '' : readSecret(smtp.password) };
  }
  const transport = createTransport(options);
  try {
    await transport.sendMail({
      from,
      // An object is one address, whatever signs are in it.
      to: { name: '', address: recipient },
      ...mail,
      messageId: `<${id}@countersign.invalid>`,
      headers: { 'Auto-Submitted': 'auto-generated' },
    });
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.replaceAll(/[\p{Cc}]+/gu, ' ').slice(0, maxReason) : 'unknown';
    throw new CountersignError(
      'notification_failed',
      `the mail server ${smtp.host}:${smtp.port} did not take it: ${said}`,
      {
        cause,
      },
    );
  } finally {
    transport.close();
  }
}
