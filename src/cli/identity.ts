import type { Command } from 'commander';
import { CountersignError } from '../errors.ts';
import { clientCredentials, deviceLogin, saveToken } from './login.ts';
import { facts, print, show } from './output.ts';
import type { CommandContext } from './context.ts';

interface LoginInfo {
  /** Identity providers that the command line can log in with; the first unless one is named. */
  readonly cli: readonly {
    readonly name: string;
    readonly issuer: string;
    readonly clientId: string;
    readonly audience: string;
    readonly scope: string;
  }[];
}

/** login, whoami */
export function identityCommands(program: Command, context: CommandContext): void {
  program
    .command('login')
    .description('log in with the identity provider (device flow; --client-id for a service account)')
    .option('--provider <name>', 'the identity provider, where there are several')
    .option('--client-id <id>', 'service account: its client id')
    .option('--client-secret <secret>', 'service account: its client secret', process.env['COUNTERSIGN_CLIENT_SECRET'])
    .action(async (options: { provider?: string; clientId?: string; clientSecret?: string }) => {
      const client = context.client();
      const response = await client.open('GET', '/login', undefined, { anonymous: true });
      const { cli } = (await response.json()) as LoginInfo;
      const { issuer, clientId, audience, scope } = chosen(cli, options.provider);
      const tokens =
        options.clientId === undefined
          ? await deviceLogin({
              issuer,
              clientId,
              audience,
              scope,
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
}

function chosen(providers: LoginInfo['cli'], name: string | undefined): LoginInfo['cli'][number] {
  const found = name === undefined ? providers[0] : providers.find((one) => one.name === name);
  if (found !== undefined) return found;
  const names = providers.map((one) => one.name).join(', ') || 'none';
  const what = name === undefined ? 'an OpenID provider' : `the identity provider ${JSON.stringify(name)}`;
  throw new CountersignError('not_found', `this server does not log in with ${what}`, { detail: `it has: ${names}` });
}
