import type { Command } from 'commander';
import { CountersignError } from '../errors.ts';
import type { CommandContext } from './context.ts';
import { facts, show, table } from './output.ts';

interface AccountView {
  readonly name: string;
  readonly source: string;
  readonly owner?: string;
  readonly groups: readonly string[];
  readonly offeredTo?: string;
  readonly expiresAt?: string;
  readonly disabledAt?: string;
  readonly disabledReason?: string;
  readonly keys?: readonly KeyView[];
}

interface KeyView {
  readonly id: string;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly lastUsedAt?: string;
  readonly revokedAt?: string;
}

interface NewKeyView {
  readonly id: string;
  readonly key: string;
  readonly expiresAt: string;
}

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `90d`, `12h`, `30m`, `45s` as milliseconds. @throws CountersignError `input_invalid` */
export function lifeMs(text: string): number {
  const [, number, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? [];
  if (number === undefined) {
    throw new CountersignError('input_invalid', `${JSON.stringify(text)} is no length of time`, {
      hint: 'write it as 90d, 12h, 30m or 45s',
    });
  }
  return Number(number) * unitMs[unit as keyof typeof unitMs];
}

/** service-accounts list, create, change, offer, accept, disable, enable, rotate; keys create, list, revoke */
export function serviceAccountCommands(program: Command, context: CommandContext): void {
  const accounts = program
    .command('service-accounts')
    .description('names for programs: each has an owner, and counts as that human');

  accounts
    .command('list')
    .description('the accounts that you own or are offered (an admin: all)')
    .action(async () => {
      const answer = await context.client().get<{ accounts: AccountView[] }>('/service-accounts');
      show({ json: context.json() }, answer, () =>
        table(
          ['ACCOUNT', 'OWNER', 'STATE', 'GROUPS', 'KEYS', 'EXPIRES'],
          answer.accounts.map((one) => [
            one.name,
            one.owner ?? '',
            stateOf(one),
            one.groups.join(', '),
            (one.keys ?? []).filter(isUsable).length,
            one.expiresAt ?? '',
          ]),
        ),
      );
    });

  accounts
    .command('create')
    .description('make an account; its owner has to accept it, and only they get its keys')
    .argument('<name>')
    .requiredOption('--owner <human>', 'the person whom it counts as')
    .option('--groups <names...>', 'its groups; of these it has those that its owner has')
    .option('--expires <time>', 'when it ends: 365d, or 2027-01-31T12:00:00Z')
    .action(async (name: string, options: { owner: string; groups?: string[]; expires?: string }) => {
      const { owner, groups = [], expires } = options;
      const body = { name, owner, groups, ...(expires === undefined ? {} : { expiresAt: endOf(expires) }) };
      await showAccount(context, await context.client().post<AccountView>('/service-accounts', body));
    });

  accounts
    .command('change')
    .description('give it other groups, or another end')
    .argument('<name>')
    .option('--groups <names...>')
    .option('--expires <time>')
    .action(async (name: string, { groups, expires }: { groups?: string[]; expires?: string }) => {
      const body = {
        ...(groups === undefined ? {} : { groups }),
        ...(expires === undefined ? {} : { expiresAt: endOf(expires) }),
      };
      await showAccount(context, await context.client().call<AccountView>('PATCH', pathOf(name), body));
    });

  accounts
    .command('offer')
    .description('to a new owner, who has to accept; a disabled account also to its old one')
    .argument('<name>')
    .requiredOption('--to <human>')
    .action(async (name: string, { to }: { to: string }) =>
      showAccount(context, await context.client().post<AccountView>(`${pathOf(name)}/offer`, { to })),
    );

  for (const [action, description] of [
    ['accept', 'take an account that was offered to you: what it did counts as yours, too'],
    ['enable', 'let a disabled account of the configuration work again'],
  ] as const) {
    accounts
      .command(action)
      .description(description)
      .argument('<name>')
      .action(async (name: string) =>
        showAccount(context, await context.client().post<AccountView>(`${pathOf(name)}/${action}`)),
      );
  }

  accounts
    .command('disable')
    .description('end its keys, credentials and sessions at once')
    .argument('<name>')
    .requiredOption('-m, --reason <text>', 'why')
    .action(async (name: string, { reason }: { reason: string }) =>
      showAccount(context, await context.client().post<AccountView>(`${pathOf(name)}/disable`, { reason })),
    );

  accounts
    .command('rotate')
    .description('make a new key and end every other one')
    .argument('<name>')
    .option('--expires <life>', 'how long the new key lives, e.g. 90d')
    .action(async (name: string, options: { expires?: string }) => {
      const before = (await keysOf(context, name)).filter(isUsable);
      const made = await createKey(context, name, options.expires);
      for (const { id } of before) await revokeKey(context, name, id);
      showKey(context, made, `${before.length} older keys ended`);
    });

  keyCommands(accounts, context);
}

function keyCommands(accounts: Command, context: CommandContext): void {
  const keys = accounts.command('keys').description('what an account logs in with');

  keys
    .command('create')
    .description('another key; it is shown once')
    .argument('<name>')
    .option('--expires <life>', 'how long it lives, e.g. 90d')
    .action(async (name: string, options: { expires?: string }) =>
      showKey(context, await createKey(context, name, options.expires)),
    );

  keys
    .command('list')
    .description('the keys of an account, without their secrets')
    .argument('<name>')
    .action(async (name: string) => {
      const all = await keysOf(context, name);
      show({ json: context.json() }, { keys: all }, () =>
        table(
          ['KEY', 'STATE', 'CREATED', 'EXPIRES', 'LAST USED'],
          all.map((one) => [
            one.id,
            one.revokedAt === undefined ? (isUsable(one) ? 'valid' : 'expired') : 'revoked',
            one.createdAt,
            one.expiresAt,
            one.lastUsedAt ?? 'never',
          ]),
        ),
      );
    });

  keys
    .command('revoke')
    .description('end a key, and the sessions that were opened with it')
    .argument('<name>')
    .argument('<key>', 'its id')
    .action(async (name: string, id: string) => {
      await revokeKey(context, name, id);
      show({ json: context.json() }, { revoked: id }, () => `${id}: revoked`);
    });
}

function createKey(context: CommandContext, name: string, life: string | undefined): Promise<NewKeyView> {
  const body = life === undefined ? {} : { ttlMs: lifeMs(life) };
  return context.client().post<NewKeyView>(`${pathOf(name)}/keys`, body);
}

function revokeKey(context: CommandContext, name: string, id: string): Promise<unknown> {
  return context.client().call('DELETE', `${pathOf(name)}/keys/${encodeURIComponent(id)}`);
}

async function keysOf(context: CommandContext, name: string): Promise<readonly KeyView[]> {
  const { accounts } = await context.client().get<{ accounts: AccountView[] }>('/service-accounts');
  const found = accounts.find((one) => one.name === name);
  if (found === undefined)
    throw new CountersignError('not_found', `you have no service account ${JSON.stringify(name)}`);
  return found.keys ?? [];
}

function showKey(context: CommandContext, made: NewKeyView, more?: string): void {
  show({ json: context.json() }, made, () =>
    facts([
      ['key', made.key],
      ['id', made.id],
      ['valid until', made.expiresAt],
      ['', `it is shown this once${more === undefined ? '' : `; ${more}`}`],
    ]),
  );
}

function showAccount(context: CommandContext, one: AccountView): Promise<void> {
  show({ json: context.json() }, one, () =>
    facts([
      ['account', one.name],
      ['state', stateOf(one)],
      ['owner', one.owner ?? '(nobody yet)'],
      ['groups', one.groups.join(', ') || '(none)'],
      ...(one.expiresAt === undefined ? [] : [['expires', one.expiresAt] as [string, string]]),
    ]),
  );
  return Promise.resolve();
}

function stateOf(one: AccountView): string {
  const offered = one.offeredTo === undefined ? '' : `offered to ${one.offeredTo}`;
  if (one.disabledAt !== undefined)
    return [`disabled: ${one.disabledReason ?? ''}`, offered].filter(Boolean).join('; ');
  if (one.owner === undefined) return offered;
  return ['active', offered].filter(Boolean).join('; ');
}

function isUsable(key: KeyView): boolean {
  return key.revokedAt === undefined && Date.parse(key.expiresAt) > Date.now();
}

function endOf(text: string): string {
  return /^\d+[smhd]$/.test(text) ? new Date(Date.now() + lifeMs(text)).toISOString() : text;
}

function pathOf(name: string): string {
  return `/service-accounts/${encodeURIComponent(name)}`;
}
