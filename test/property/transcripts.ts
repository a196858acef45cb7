/** Sessions as steps: what the client sends at once, and up to which answer it then waits. */
import { frame } from '../bypass/wire.ts';

export interface Step {
  readonly send: Buffer;
  /** Message type and how often it comes in the answer to this step. */
  readonly until: readonly [type: string, count: number];
}

const say = (until: readonly [string, number], ...frames: Buffer[]): Step => ({ send: Buffer.concat(frames), until });
const ask = (...texts: string[]): Step => say(['Z', texts.length], ...texts.map((text) => frame.query(text)));
const batch = (...frames: Buffer[]): Step => say(['Z', 1], ...frames, frame.sync());
const run = (text: string, format: 0 | 1 = 0, parameters: string[] = []): Buffer[] => [
  frame.parse('', text),
  frame.bind('', '', parameters, format),
  frame.describe('P', ''),
  frame.execute(''),
];

const all =
  'select id, name, ssn, pin, born, card, email, secret, tags, big, ratio, pay from people order by id limit 4';
const fails = 'select 1 / (num - num) from plain';
const denied = 'select id from people order by ssn';

export const transcripts: ReadonlyMap<string, readonly Step[]> = new Map([
  ['simple', [ask('select id, label from plain limit 3'), ask(all)]],
  ['several statements in one query', [ask(`select 1; ${all}; select label from plain limit 2; begin; commit`)]],
  [
    'empty queries and settings',
    [ask('', ';', "set application_name = 'x'", 'show timezone', 'select ssn from people limit 1')],
  ],
  ['extended, described', [batch(...run(all)), batch(...run('select id, ssn from people where id < $1', 0, ['4']))]],
  [
    'extended without Describe',
    [
      batch(frame.parse('s', all), frame.bind('', 's'), frame.execute('')),
      batch(frame.bind('', 's', [], 1), frame.execute('')),
      batch(frame.describe('S', 's'), frame.bind('p', 's'), frame.execute('p')),
      batch(frame.close('S', 's')),
    ],
  ],
  ['binary formats', [batch(...run(all, 1)), batch(...run('select ssn, tags, secret, doc from people', 1))]],
  [
    'pipelined',
    [
      say(
        ['Z', 4],
        ...run('select ssn from people limit 2'),
        frame.sync(),
        ...run('select label from plain limit 2'),
        frame.sync(),
        ...run('select reverse(ssn), upper(name) from people limit 2'),
        ...run('select count(*) from people'),
        frame.sync(),
        frame.query('select pin from people limit 1'),
      ),
    ],
  ],
  [
    'an error in the middle',
    [
      batch(...run('select ssn from people limit 1'), ...run(fails), ...run('select id from plain')),
      ask(`select 1; ${fails}; select 2`),
      batch(...run('select ssn from people limit 1')),
    ],
  ],
  [
    'a refusal in the middle',
    [
      say(['Z', 2], ...run('select label from plain limit 1'), ...run(denied), frame.sync(), ...run(all), frame.sync()),
      ask(denied),
      batch(...run(denied)),
    ],
  ],
  [
    'portals suspended',
    [
      ask('begin'),
      batch(
        frame.parse('', 'select id, ssn, card from people order by id'),
        frame.bind('p', ''),
        frame.execute('p', 3),
      ),
      batch(frame.execute('p', 2), frame.execute('p', 2)),
      batch(frame.execute('p')),
      ask('commit'),
    ],
  ],
  [
    'COPY in',
    [
      say(['G', 1], frame.query('copy plain (id, label) from stdin')),
      say(
        ['Z', 1],
        frame.raw('d', Buffer.from('901\tone\n902\t')),
        frame.raw('d', Buffer.from('two\n')),
        frame.copyDone(),
      ),
      say(['G', 1], frame.query('copy plain (id, label) from stdin (format csv)')),
      say(['Z', 1], frame.raw('d', Buffer.from('903,x\n')), frame.copyFail()),
      ask('select label from plain where id > 900', 'delete from plain where id > 900 returning id'),
    ],
  ],
  [
    'COPY in with the extended protocol',
    [
      say(
        ['G', 1],
        frame.parse('', 'copy plain (id, label) from stdin'),
        frame.bind('', ''),
        frame.execute(''),
        frame.sync(),
      ),
      batch(frame.raw('d', Buffer.from('911\tx\n')), frame.copyDone()),
      ask('delete from plain where id > 900'),
    ],
  ],
  [
    'NULLs',
    [
      ask('select id, ssn, tags, null, num from people left join plain using (id)'),
      batch(...run('select ssn, tags from people where id in (4, 5)', 1)),
    ],
  ],
  [
    'json with secrets',
    [
      ask('select secret, doc from people limit 2', "select to_jsonb(p), doc ->> 'l' from people p limit 2"),
      batch(...run('select secret, row_to_json(p) from people p limit 2', 1)),
    ],
  ],
  [
    'views, partitions and inheritance',
    [
      ask(
        'select * from people_view limit 2',
        'select * from joined limit 2',
        'select * from ledger',
        'select * from nested_view limit 1',
        'select * from derived',
      ),
    ],
  ],
  [
    'changes that return',
    [
      ask(
        'begin',
        'update people set grade = 5 where id = 1 returning *',
        'insert into plain (id, label) values (950, $$x$$) returning *',
        'rollback',
      ),
    ],
  ],
  [
    'a failed transaction and savepoints',
    [
      ask(
        'begin',
        'savepoint s',
        fails,
        'select ssn from people limit 1',
        'rollback to s',
        'select ssn from people limit 1',
        'commit',
      ),
      batch(frame.parse('x', 'begin'), frame.bind('', 'x'), frame.execute('')),
      ask(denied, 'rollback'),
    ],
  ],
  [
    'named statements made and dropped',
    [
      batch(frame.parse('n', 'select pin from people limit 2'), frame.describe('S', 'n')),
      batch(frame.parse('n', 'select 1')),
      batch(
        frame.bind('', 'n'),
        frame.execute(''),
        frame.close('S', 'n'),
        frame.parse('n', 'select label from plain limit 1'),
        frame.bind('', 'n'),
        frame.execute(''),
      ),
      ask('deallocate all'),
      batch(frame.bind('', 'n'), frame.execute('')),
    ],
  ],
  [
    'a name used before its batch is answered',
    [
      say(
        ['Z', 2],
        frame.parse('q', 'select ssn from people limit 1'),
        frame.sync(),
        frame.bind('', 'q'),
        frame.execute(''),
        frame.sync(),
      ),
    ],
  ],
  [
    'flush instead of sync',
    [say(['D', 2], ...run('select ssn from people limit 2'), frame.flush()), batch(frame.close('P', ''))],
  ],
  [
    'held and rejected',
    [ask('create table nobody ()'), batch(frame.parse('', 'drop table plain'), frame.bind('', ''), frame.execute(''))],
  ],
]);

const large =
  "select id, ssn || repeat('x', 1500) a, name, secret::text || repeat('y', 900) b, card from people order by id";

/** What every row of them is delivered as, is within this; as the target sends them, none is. In bytes. */
export const largeRowLimit = 700;
export const largeRows: ReadonlyMap<string, readonly Step[]> = new Map([
  ['simple', [ask(`${large} limit 2; select 1; ${large} limit 1`)]],
  ['binary', [batch(...run(`${large} limit 2`, 1)), batch(...run('select label from plain limit 1', 1))]],
  ...['', '(format csv)', '(format binary)'].map((options): [string, Step[]] => [
    `copy ${options}`,
    [ask(`copy (${large} limit 2) to stdout ${options}`, 'select ssn from people limit 1')],
  ]),
  [
    'an error text',
    [ask('begin; select ssn from people limit 1', "select repeat('z', 900)::integer", 'rollback', 'select 1')],
  ],
]);
