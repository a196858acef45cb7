/**
 * What the clients play on: one gateway for all of them, with a tap per client that keeps every byte the client gets,
 * and an approver who decides over the API as another person would.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { hasDebianPostgres } from '../../demo/embedded-postgres.ts';
import { startTap, type Tap } from '../../demo/tap.ts';
import { startHarness, type Harness, type Who } from '../harness.ts';
import { leaveWaiting, pleaseReject } from './protocol.ts';
import { maskedKinds, schema } from './data.ts';

export interface Stage {
  readonly harness: Harness;
  /** Makes credentials and a tap for one client. */
  enter(client: string): Promise<Entrance>;
  close(): Promise<void>;
}

export interface Entrance {
  /** For the client's program. */
  readonly environment: Readonly<Record<string, string>>;
  /** Decisions since `enter`. */
  readonly decisions: { approved: number; rejected: number };
  /** Ends the tap; the bytes that the client received through it. */
  leave(): Promise<Buffer>;
}

const pollMs = 60;

export async function startStage(): Promise<Stage> {
  // pg_dump refuses servers that are newer than itself, so where Debian's client is there, so is its server.
  const harness = await startHarness({
    schema,
    version: hasDebianPostgres() ? 'debian15' : 'embedded',
    configure: (configuration) => {
      const [personal] = configuration['masking'] as { columns: unknown[] }[];
      personal?.columns.push(...maskedKinds);
    },
  });
  const caFile = path.join(harness.home, 'ca.pem');
  await writeFile(caFile, harness.caPem);
  const [certPem, keyPem] = await Promise.all(
    ['gateway.crt', 'gateway.key'].map((name) => readFile(path.join(harness.home, name), 'utf8')),
  );
  const approver = startApprover(harness);
  return {
    harness,
    enter: async (client) => {
      const copyTo = path.join(harness.home, `bytes-${client}`);
      const tap: Tap = await startTap({
        certPem: certPem ?? '',
        keyPem: keyPem ?? '',
        caPem: harness.caPem,
        gatewayPort: () => harness.app.postgresPort,
        copyTo,
      });
      const decisions = approver.countAnew();
      return {
        environment: {
          CLIENT_HOST: 'localhost',
          CLIENT_PORT: String(tap.port),
          // Past the tap: the gateway's own TLS, for the check `connect`.
          CLIENT_GATEWAY_PORT: String(harness.app.postgresPort),
          CLIENT_CA: caFile,
          CLIENT_DATABASE: 'crm',
          CLIENT_SCRATCH: harness.home,
          ...(await credentials(harness, 'reader', 'READER')),
          ...(await credentials(harness, 'designer', 'DESIGNER')),
        },
        decisions,
        leave: async () => {
          await tap.close();
          return readFile(copyTo);
        },
      };
    },
    close: async () => {
      await approver.stop();
      await harness.close();
    },
  };
}

async function credentials(harness: Harness, who: Who, name: string): Promise<Record<string, string>> {
  const { status, body } = await harness.api<{ user: string; password: string }>(who, 'POST', '/credentials', {
    connection: 'crm',
  });
  if (status >= 300) throw new Error(`no credential for ${who}: ${JSON.stringify(body)}`);
  return { [`CLIENT_${name}`]: body.user, [`CLIENT_${name}_PASSWORD`]: body.password };
}

interface Approver {
  countAnew(): { approved: number; rejected: number };
  stop(): Promise<void>;
}

/** Watches what is pending and decides by the comment in the statement. */
function startApprover(harness: Harness): Approver {
  const stopping = new AbortController();
  let counts = { approved: 0, rejected: 0 };
  const seen = new Set<string>();
  const decide = async (id: string): Promise<void> => {
    const { body } = await harness.api<{ digestInputJson: string }>('executor', 'GET', `/requests/${id}`);
    if (body.digestInputJson.includes(leaveWaiting)) return;
    const verdict = body.digestInputJson.includes(pleaseReject) ? 'reject' : 'approve';
    const answer = await harness.api('executor', 'POST', `/requests/${id}/${verdict}`, { comment: 'seen by eli' });
    if (answer.status !== 200) return;
    if (verdict === 'approve') counts.approved++;
    else counts.rejected++;
  };
  const watch = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
      for (const { id } of body.requests) {
        if (seen.has(id)) continue;
        seen.add(id);
        await decide(id);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  };
  const watching = watch();
  // An approver that is gone shows as checks that time out; the reason is thrown at the end.
  watching.catch(() => undefined);
  return {
    countAnew: () => (counts = { approved: 0, rejected: 0 }),
    stop: async () => {
      stopping.abort();
      await watching;
    },
  };
}
