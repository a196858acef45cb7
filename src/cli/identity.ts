import type { Command } from 'commander';
import { clientCredentials, deviceLogin, saveToken } from './login.ts';
import { facts, print, show, table } from './output.ts';
import type { CommandContext } from './context.ts';

interface LoginInfo {
  readonly issuer: string;
  readonly clientId: string;
  readonly audience: string;
}

/** login, whoami, connections */
export function identityCommands(program: Command, context: CommandContext): void {
  program
    .command('login')
    .description('log in with the identity provider (device flow; --client-id for a service account)')
    .option('--client-id <id>', 'service account: its client id')
    .option('--client-secret <secret>', 'service account: its client secret', process.env['COUNTERSIGN_CLIENT_SECRET'])
    .action(async (options: { clientId?: string; clientSecret?: string }) => {
      const client = context.client();
      const response = await client.open('GET', '/login', undefined, { anonymous: true });
      const { issuer, clientId, audience } = (await response.json()) as LoginInfo;
      const tokens =
        options.clientId === undefined
          ? await deviceLogin({
              issuer,
              clientId,
              audience,
              onPrompt: ({ verificationUri, userCode }) =>
                print(`Open ${verificationUri} and enter the code ${userCode}`),
            })
          : await clientCredentials({
              issuer,
              clientId: options.clientId,
              clientSecret: options.clientSecret ?? '',
              audience,
            });
      await saveToken(client.server, tokens);
      const who = await client.get<{ id: string; human: string }>('/whoami');
      show(
        { json: context.json() },
        who,
        () => `logged in as ${who.id}${who.id === who.human ? '' : ` (owned by ${who.human})`}`,
      );
    });

  program
    .command('whoami')
    .description('who you are, your groups, and your duties on each connection')
    .action(async () => {
      const who = await context.client().get<{
        id: string;
        human: string;
        kind: string;
        groups: string[];
        duties: Record<string, string[]>;
      }>('/whoami');
      show({ json: context.json() }, who, () =>
        facts([
          ['principal', `${who.id} (${who.kind})`],
          ['counts as', who.human],
          ['groups', who.groups.join(', ') || '(none)'],
          ...Object.entries(who.duties).map(([name, duties]): [string, string] => [
            `on ${name}`,
            duties.join(', ') || '(no duty)',
          ]),
        ]),
      );
    });

  program
    .command('connections')
    .description('the databases that you hold a duty on, and what is masked there')
    .action(async () => {
      const answer = await context.client().get<{
        connections: {
          name: string;
          engine: string;
          labels: Record<string, string>;
          duties: string[];
          masks: { column: string; mask: string }[];
        }[];
      }>('/connections');
      show({ json: context.json() }, answer, () =>
        table(
          ['NAME', 'ENGINE', 'LABELS', 'YOUR DUTIES', 'MASKED COLUMNS'],
          answer.connections.map((one) => [
            one.name,
            one.engine,
            Object.entries(one.labels)
              .map(([name, value]) => `${name}=${value}`)
              .join(' '),
            one.duties.join(', '),
            one.masks.map((mask) => `${mask.column} (${mask.mask})`).join(', '),
          ]),
        ),
      );
    });
}
