import type { Command } from 'commander';
import { CountersignError } from '../errors.ts';
import { count, facts, show, table } from './output.ts';
import type { CommandContext } from './context.ts';
import { applyRules, type ApplyOptions } from './policies.ts';

interface ConnectionView {
  readonly name: string;
  readonly engine: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: { readonly host: string; readonly port: number; readonly database: string; readonly tls: string };
  readonly duties: readonly string[];
  readonly masks: readonly { readonly column: string; readonly mask: string; readonly rule: string }[];
  readonly problem: { readonly code: string; readonly message: string; readonly hint?: string } | null;
  readonly origin: 'file' | 'rules';
}

interface Inherited {
  readonly masking: readonly { readonly name: string }[];
  readonly bindings: readonly { readonly group: string; readonly duties: readonly string[] }[];
  readonly workflows: readonly { readonly kind: string; readonly workflow: unknown }[];
}

/** connections list, show, test, inherits, add, remove; masking list, test */
export function connectionCommands(program: Command, context: CommandContext): void {
  const connections = program.command('connections').description('the databases that you hold a duty on');
  const at = (name: string, rest = '') => `/connections/${encodeURIComponent(name)}${rest}`;

  connections
    .command('list', { isDefault: true })
    .description('each with what is masked there')
    .action(async () => {
      const answer = await context.client().get<{ connections: ConnectionView[] }>('/connections');
      show({ json: context.json() }, answer, () =>
        table(
          ['NAME', 'ENGINE', 'LABELS', 'YOUR DUTIES', 'MASKED COLUMNS'],
          answer.connections.map((one) => [
            one.name,
            one.engine,
            labelsText(one.labels),
            one.duties.join(', '),
            one.problem?.message ?? one.masks.map((mask) => `${mask.column} (${mask.mask})`).join(', '),
          ]),
        ),
      );
    });

  connections
    .command('show')
    .argument('<connection>')
    .description('one connection, and what it inherits by its labels')
    .action(async (name: string) => {
      const one = await context.client().get<ConnectionView & { inherits: Inherited }>(at(name));
      show({ json: context.json() }, one, () =>
        facts([
          ['connection', `${one.name} (${one.engine})`],
          ['target', `${one.target.host}:${one.target.port}/${one.target.database}, TLS ${one.target.tls}`],
          ['labels', labelsText(one.labels) || '(none)'],
          ['your duties', one.duties.join(', ')],
          ...one.masks.map((mask): [string, string] => [mask.column, `${mask.mask} by ${mask.rule}`]),
          ['stands in', one.origin === 'file' ? 'the configuration file' : 'the rules'],
          ['problem', one.problem?.message],
          ['hint', one.problem?.hint],
          ...inheritedFacts(one.inherits),
        ]),
      );
    });

  connections
    .command('test')
    .argument('<connection>')
    .description('ask the target who it is (administrators and approvers)')
    .action(async (name: string) => {
      const reached = await context
        .client()
        .post<{ serverVersion: string; systemIdentifier: string; tookMs: number }>(at(name, '/test'));
      show({ json: context.json() }, reached, () =>
        facts([
          ['server', `PostgreSQL ${reached.serverVersion}`],
          ['system', reached.systemIdentifier],
          ['took', `${count(reached.tookMs)} ms`],
        ]),
      );
    });

  connections
    .command('inherits')
    .argument('[labels...]', 'name=value')
    .description('what a connection with these labels would have')
    .action(async (pairs: string[]) => {
      const answer = await context.client().post<Inherited>('/connections/inherits', { labels: labelsOf(pairs) });
      show({ json: context.json() }, answer, () => facts(inheritedFacts(answer)));
    });

  changeCommands(connections, context);
  maskingCommands(program, context);
}

interface AddOptions extends ApplyOptions {
  readonly host: string;
  readonly port: string;
  readonly database?: string;
  readonly label: readonly string[];
  readonly searchPath: readonly string[];
  readonly serverName?: string;
  readonly withoutTls: boolean;
  readonly gatewayUser: string;
  readonly designerUser: string;
  readonly executorUser: string;
}

/** A connection of the rules is one more part of them, and changed as they are. */
function changeCommands(connections: Command, context: CommandContext): void {
  const change = async (options: ApplyOptions, make: (now: readonly { name: string }[]) => readonly object[]) => {
    const { digest, rules } = await context
      .client()
      .get<{ digest: string; rules: { connections: readonly { name: string }[] } }>('/policies');
    const text = JSON.stringify({ connections: make(rules.connections) });
    await applyRules(context, [{ name: 'connections.json', text }], { ...options, base: digest });
  };
  const gather = (value: string, before: readonly string[]) => [...before, value];

  connections
    .command('add')
    .argument('<name>')
    .description('ask for one more: somebody else approves it. Its passwords are put on the gateway by whoever runs it')
    .requiredOption('--host <host>', 'of the target')
    .option('--port <port>', 'of the target', '5432')
    .option('--database <name>', 'default: the name of the connection')
    .option('--label <name=value>', 'what it inherits comes from its labels; as often as needed', gather, [])
    .option('--search-path <schema>', 'as often as needed; default: public', gather, [])
    .option('--server-name <name>', "in the target's certificate; default: the host")
    .option('--without-tls', 'only for a target on the machine of the gateway', false)
    .option('--gateway-user <role>', 'that the gateway reads the catalogue as', 'cs_gateway')
    .option('--designer-user <role>', 'of sessions of designers', 'cs_designer')
    .option('--executor-user <role>', 'of sessions of executors', 'cs_executor')
    .option('--dry-run', 'show the difference only', false)
    .option('-m, --message <text>', 'why', '')
    .action((name: string, options: AddOptions) => change(options, (now) => [...now, connectionFrom(name, options)]));

  connections
    .command('remove')
    .argument('<name>')
    .description('take back one that was added; its sessions end')
    .option('--dry-run', 'show the difference only', false)
    .option('-m, --message <text>', 'why', '')
    .action((name: string, options: ApplyOptions) =>
      change(options, (now) => {
        if (now.some((one) => one.name === name)) return now.filter((one) => one.name !== name);
        throw new CountersignError('connection_unknown', `no connection ${JSON.stringify(name)} was added`, {
          hint: 'those of the configuration file are taken out there',
        });
      }),
    );
}

function connectionFrom(name: string, options: AddOptions): object {
  const { host, port, database, label, searchPath, serverName, withoutTls } = options;
  return {
    name,
    engine: 'postgres',
    host,
    port: Number(port),
    database: database ?? name,
    labels: labelsOf(label),
    ...(searchPath.length === 0 ? {} : { searchPath }),
    tls: withoutTls
      ? { mode: 'disable' }
      : { mode: 'verify-full', ...(serverName === undefined ? {} : { serverName }) },
    users: { gateway: options.gatewayUser, designer: options.designerUser, executor: options.executorUser },
  };
}

function maskingCommands(program: Command, context: CommandContext): void {
  const masking = program.command('masking').description('masking rules, and what they make of a value');

  masking
    .command('list', { isDefault: true })
    .description('the templates in force')
    .action(async () => {
      const answer = await context.client().get<{
        templates: {
          name: string;
          appliesTo: Record<string, string>;
          columns: { match: string; mask: unknown }[];
        }[];
      }>('/masking');
      show({ json: context.json() }, answer, () =>
        table(
          ['TEMPLATE', 'LABELS', 'PATTERN', 'MASK'],
          answer.templates.flatMap((one) =>
            one.columns.map((column) => [
              one.name,
              labelsText(one.appliesTo) || '(every connection)',
              column.match,
              typeof column.mask === 'string' ? column.mask : JSON.stringify(column.mask),
            ]),
          ),
        ),
      );
    });

  masking
    .command('test')
    .argument('<value>', 'one that you made up; it is nowhere kept')
    .option('--type <type>', 'of the column', 'text')
    .option('--connection <name>')
    .option('--column <name>', 'column, table.column or schema.table.column')
    .option('--mask <mask>', 'this one, whatever the rules say')
    .description('what a value would become')
    .action(async (value: string, options: { type: string; connection?: string; column?: string; mask?: string }) => {
      const tried = await context
        .client()
        .post<{ masked: string | null; by: string; rule: string | null }>('/masking/test', { value, ...options });
      show({ json: context.json() }, tried, () =>
        facts([
          ['becomes', tried.masked ?? 'NULL'],
          ['by', tried.rule ?? tried.by],
        ]),
      );
    });
}

function inheritedFacts({ masking, bindings, workflows }: Inherited): [string, string][] {
  return [
    ['masking', masking.map(({ name }) => name).join(', ') || '(none)'],
    ...bindings.map(({ group, duties }): [string, string] => [`group ${group}`, duties.join(', ')]),
    ...workflows.map(({ kind, workflow }): [string, string] => [`workflow of a ${kind}`, JSON.stringify(workflow)]),
  ];
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function labelsOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name, value] = /^([^=]+)=(.*)$/.exec(pair) ?? [];
      if (name === undefined || value === undefined)
        throw new CountersignError('input_invalid', `${JSON.stringify(pair)} is no label: write name=value`);
      return [name, value];
    }),
  );
}
