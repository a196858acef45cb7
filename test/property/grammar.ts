/**
 * Random statements over the property schema. The generator knows types, so that most statements run, and roughly which
 * values are masked, so that most do not ask what the gateway refuses; neither needs to be right.
 */
import type { Random } from './random.ts';

type Type = 'text' | 'int' | 'date' | 'json' | 'texts' | 'bool' | 'number';

interface Column {
  readonly name: string;
  readonly type: Type;
  readonly masked: boolean;
}

interface Source {
  readonly alias: string;
  readonly columns: readonly Column[];
  /** Whether its row may be named as one value. */
  readonly row: boolean;
}

interface Query {
  readonly sql: string;
  readonly columns: readonly Column[];
}

const columns = (text: string): Column[] =>
  text.split(' ').map((item) => {
    const [name = '', type = 'text'] = item.replace('!', '').split(':');
    return { name, type: type as Type, masked: item.endsWith('!') };
  });

const relations: readonly { readonly name: string; readonly columns: readonly Column[] }[] = [
  {
    name: 'people',
    columns: columns(
      'id:int name:text ssn:text! pin:int! born:date! card:text! email:text! secret:json! tags:texts! grade:int doc:json big:number! ratio:number! pay:number!',
    ),
  },
  { name: 'visits', columns: columns('id:int person_id:int place:text cost:number day:date grade:int') },
  { name: 'plain', columns: columns('id:int label:text num:int flag:bool doc:json') },
  { name: 'ledger', columns: columns('id:int ssn:text! amount:int label:text') },
  { name: 'ledger_low', columns: columns('id:int ssn:text! amount:int label:text') },
  { name: 'base', columns: columns('id:int label:text') },
  { name: 'derived', columns: columns('id:int label:text pin:int!') },
  { name: 'people_view', columns: columns('id:int name:text code:text! next_pin:int! grade:int') },
  { name: 'joined', columns: columns('id:int place:text who:text! grade:int') },
  { name: 'open_view', columns: columns('id:int label:text num:int') },
  { name: 'nested_view', columns: columns('number:int loud:text! name:text') },
];

export class Grammar {
  readonly #random: Random;
  #names = 0;
  #ctes: { readonly name: string; readonly columns: readonly Column[] }[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** One statement. */
  statement(): string {
    const random = this.#random;
    if (random.chance(0.03)) return this.#change();
    const { sql } = this.#query(2, []);
    // Joins multiply: the first rows say as much as all.
    return / limit \d+$| for update$/.test(sql) ? sql : `${sql} limit 40`;
  }

  #name(): string {
    return `n${this.#names++}`;
  }

  #query(depth: number, outer: readonly Source[]): Query {
    const random = this.#random;
    const known = this.#ctes;
    let prefix = '';
    if (depth > 0 && random.chance(0.15)) prefix = this.#with(depth);
    const body =
      depth > 0 && random.chance(0.12)
        ? this.#setOperation(depth, outer)
        : random.chance(0.04)
          ? this.#values()
          : this.#select(depth, outer);
    this.#ctes = known;
    return { sql: prefix + body.sql, columns: body.columns };
  }

  #with(depth: number): string {
    const random = this.#random;
    const parts: string[] = [];
    let recursive = '';
    for (let count = 1 + random.below(2); count > 0; count--) {
      const name = random.chance(0.1) ? 'plain' : this.#name();
      if (random.chance(0.15)) {
        recursive = 'recursive ';
        const column = random.chance(0.6) ? ['people', 'ssn', true] : ['plain', 'label', false];
        parts.push(
          `${name}(n, t) as (select 1, ${String(column[1])}::text from ${String(column[0])} where id < 3 union all select n + 1, ${random.pick(['t', 'upper(t)', "t || 'x'"])} from ${name} where n < 3)`,
        );
        this.#ctes = [
          ...this.#ctes,
          {
            name,
            columns: [
              { name: 'n', type: 'int', masked: false },
              { name: 't', type: 'text', masked: column[2] === true },
            ],
          },
        ];
        continue;
      }
      const inner = this.#query(depth - 1, []);
      const hint = random.pick(['', '', 'materialized ', 'not materialized ']);
      parts.push(`${name} as ${hint}(${inner.sql})`);
      this.#ctes = [...this.#ctes, { name, columns: inner.columns }];
    }
    return `with ${recursive}${parts.join(', ')} `;
  }

  #values(): Query {
    const random = this.#random;
    const rows = Array.from(
      { length: 1 + random.below(2) },
      (_, row) => `(${row}, 'v${row}', ${this.#scalarSubquery('text')})`,
    );
    return { sql: `values ${rows.join(', ')}`, columns: columns('column1:int column2:text column3:text!') };
  }

  #scalarSubquery(type: Type): string {
    const random = this.#random;
    const { name, columns: all } = random.pick(relations);
    const fitting = all.filter((column) => column.type === type);
    if (fitting.length === 0) return type === 'text' ? "'none'" : 'null';
    return `(select ${random.pick(fitting).name} from ${name} where ${all[0]?.name} = ${random.below(9)} limit 1)`;
  }

  #setOperation(depth: number, outer: readonly Source[]): Query {
    const random = this.#random;
    const types = Array.from({ length: 1 + random.below(3) }, () => random.pick<Type>(['text', 'int', 'text', 'json']));
    const branch = (mayBeMasked: boolean) => {
      const { sources, sql } = this.#from(depth - 1, outer);
      const items = types.map((type) => this.#expression(type, [...sources, ...outer], 1, mayBeMasked));
      return {
        sql: `select ${items.map((item) => item.sql).join(', ')} from ${sql}${this.#where(sources, outer)}`,
        masked: items.map((item) => item.masked),
      };
    };
    const all = random.chance(0.75);
    const first = branch(all);
    const second = branch(all);
    const operator = random.pick(
      all ? ['union all', 'union all', 'union all', 'except all'] : ['union', 'intersect', 'except'],
    );
    return {
      sql: `select * from (${first.sql} ${operator} ${second.sql}) ${this.#name()}(${types.map((_, index) => `c${index}`).join(', ')})`,
      columns: types.map((type, index) => ({
        name: `c${index}`,
        type,
        masked: (first.masked[index] ?? false) || (second.masked[index] ?? false),
      })),
    };
  }

  #from(depth: number, outer: readonly Source[]): { readonly sources: Source[]; readonly sql: string } {
    const random = this.#random;
    const first = this.#fromItem(depth, outer);
    const sources = [first.source];
    let sql = first.sql;
    for (let joins = random.pick([0, 0, 0, 1, 1, 2]); joins > 0; joins--) {
      const lateral = random.chance(0.2) && depth > 0;
      const next = lateral ? this.#lateral(depth, sources) : this.#fromItem(depth, outer);
      const left = random.pick(sources);
      const shared = left.columns.find(
        (column) =>
          !column.masked &&
          next.source.columns.some((other) => other.name === column.name && other.type === column.type),
      );
      const kind = random.pick(['join', 'left join', 'right join', 'full join']);
      if (lateral) sql += random.chance(0.5) ? `, ${next.sql}` : ` left join ${next.sql} on true`;
      else if (shared !== undefined && sources.length === 1 && random.chance(0.5)) {
        sql += ` ${kind} ${next.sql} using (${shared.name})`;
      } else if (sources.length === 1 && random.chance(0.1)) sql += ` natural ${kind} ${next.sql}`;
      else {
        const on = this.#equal(left, next.source);
        sql +=
          on === undefined
            ? ` cross join ${next.sql}`
            : ` ${kind === 'full join' ? 'join' : kind} ${next.sql} on ${on}`;
      }
      sources.push(next.source);
    }
    return { sources, sql };
  }

  #equal(left: Source, right: Source): string | undefined {
    const of = (source: Source) => source.columns.find((column) => column.type === 'int' && !column.masked);
    const [a, b] = [of(left), of(right)];
    return a === undefined || b === undefined ? undefined : `${left.alias}.${a.name} = ${right.alias}.${b.name}`;
  }

  #fromItem(depth: number, outer: readonly Source[]): { readonly source: Source; readonly sql: string } {
    const random = this.#random;
    const alias = random.chance(0.1) ? random.pick(['ssn', 'people', 'plain']) + this.#name() : this.#name();
    if (this.#ctes.length > 0 && random.chance(0.5)) {
      const cte = random.pick(this.#ctes);
      return { source: { alias, columns: cte.columns, row: false }, sql: `${cte.name} ${alias}` };
    }
    if (depth > 0 && random.chance(0.25)) {
      const inner = this.#query(depth - 1, []);
      return { source: { alias, columns: inner.columns, row: true }, sql: `(${inner.sql}) ${alias}` };
    }
    if (random.chance(0.05)) {
      return {
        source: { alias, columns: columns('g:int'), row: false },
        sql: `generate_series(1, ${1 + random.below(3)}) ${alias}(g)`,
      };
    }
    void outer;
    const relation = random.chance(0.45) ? relations[0] : random.pick(relations);
    if (relation === undefined) throw new Error('no relation');
    if (random.chance(0.1)) {
      const renamed = relation.columns.map((column, index) => ({
        ...column,
        name: index === 0 ? column.name : `r${index}`,
      }));
      return {
        source: { alias, columns: renamed, row: true },
        sql: `${relation.name} ${alias}(${renamed.map((column) => column.name).join(', ')})`,
      };
    }
    const only = random.chance(0.05) ? 'only ' : '';
    return { source: { alias, columns: relation.columns, row: true }, sql: `${only}${relation.name} ${alias}` };
  }

  #lateral(depth: number, sources: readonly Source[]): { readonly source: Source; readonly sql: string } {
    const inner = this.#select(Math.max(0, depth - 1), sources);
    const alias = this.#name();
    return { source: { alias, columns: inner.columns, row: false }, sql: `lateral (${inner.sql}) ${alias}` };
  }

  #where(sources: readonly Source[], outer: readonly Source[]): string {
    return this.#random.chance(0.4) ? ` where ${this.#predicate([...sources, ...outer], 1)}` : '';
  }

  #predicate(scope: readonly Source[], depth: number): string {
    const random = this.#random;
    const masked = random.chance(0.04);
    const number = () => this.#expression('int', scope, depth - 1, masked).sql;
    switch (random.below(8)) {
      case 0:
        return `${number()} ${random.pick(['=', '<', '>', '<>', '<=', '>='])} ${random.below(12)}`;
      case 1:
        return `${number()} in (${random.below(5)}, ${random.below(12)})`;
      case 2:
        return `${this.#expression('text', scope, depth - 1, masked).sql} like '%${random.below(9)}%'`;
      case 3: {
        const source = random.pick(scope);
        const column = random.pick(source.columns);
        return `${source.alias}.${column.name} is ${random.pick(['', 'not '])}null`;
      }
      case 4:
        return depth > 0
          ? `(${this.#predicate(scope, depth - 1)} ${random.pick(['and', 'or'])} ${this.#predicate(scope, depth - 1)})`
          : 'true';
      case 5: {
        const inner = this.#fromItem(0, []);
        const on = this.#equal(inner.source, random.pick(scope));
        return `exists (select ${random.pick(['1', '*'])} from ${inner.sql} where ${on ?? 'true'})`;
      }
      case 6:
        return `${number()} between 2 and ${3 + random.below(9)}`;
      default:
        return `${number()} = any (select id from ${random.pick(['plain', 'visits', 'people'])} where id < ${random.below(12)})`;
    }
  }

  #select(depth: number, outer: readonly Source[]): Query {
    const random = this.#random;
    const { sources, sql } = this.#from(depth, outer);
    const scope = [...sources, ...outer];
    if (random.chance(0.15)) return this.#grouped(sources, sql, outer);
    const items: string[] = [];
    const out: Column[] = [];
    for (let count = 1 + random.below(4); count > 0; count--) {
      const source = random.pick(sources);
      if (random.chance(0.12)) {
        items.push(random.chance(0.3) && sources.length === 1 ? '*' : `${source.alias}.*`);
        // Names may come twice then; the query is used only at the top or by its other columns.
        continue;
      }
      if (random.chance(0.06) && source.row) {
        items.push(random.pick([source.alias, `row(${source.alias}.*)`, `(${source.alias})::text`]));
        continue;
      }
      const type = random.pick<Type>(['text', 'text', 'int', 'json', 'date', 'texts', 'number', 'bool']);
      const item = this.#expression(type, scope, 1 + random.below(2), random.chance(0.7));
      const name = `c${out.length}${this.#name()}`;
      items.push(`${item.sql} as ${name}`);
      out.push({ name, type, masked: item.masked });
    }
    const order = this.#order(scope);
    const limit = random.chance(0.2) ? ` limit ${1 + random.below(5)}` : '';
    const lock = random.chance(0.02) && sources.length === 1 ? ' for update' : '';
    if (out.length === 0) {
      items.push('1 as one');
      out.push({ name: 'one', type: 'int', masked: false });
    }
    return {
      sql: `select ${items.join(', ')} from ${sql}${this.#where(sources, outer)}${order}${limit}${lock}`,
      columns: out,
    };
  }

  #order(scope: readonly Source[]): string {
    const random = this.#random;
    if (!random.chance(0.25)) return '';
    const item = this.#expression(random.pick<Type>(['int', 'text']), scope, 0, random.chance(0.03));
    return ` order by ${item.sql === '1' || /^\d+$/.test(item.sql) ? `(${item.sql} + 0)` : item.sql} ${random.pick(['', 'desc', 'nulls first'])}`;
  }

  #grouped(sources: readonly Source[], from: string, outer: readonly Source[]): Query {
    const random = this.#random;
    const key = this.#expression(random.pick<Type>(['int', 'text']), sources, 0, random.chance(0.03));
    const useKey = /\./.test(key.sql) && random.chance(0.7);
    const aggregate = (): readonly [string, Type, boolean] => {
      const masked = random.chance(0.6);
      const text = this.#expression('text', sources, 1, masked);
      const number = this.#expression(random.pick<Type>(['int', 'number']), sources, 0, masked);
      const json = this.#expression('json', sources, 0, masked);
      const filter = random.chance(0.15) ? ` filter (where ${this.#predicate(sources, 0)})` : '';
      return random.pick<readonly [string, Type, boolean]>([
        [`count(*)${filter}`, 'int', false],
        [`count(${text.sql})${filter}`, 'int', text.masked],
        [`min(${text.sql})${filter}`, 'text', text.masked],
        [`max(${number.sql})`, 'number', number.masked],
        [`sum(${number.sql})${filter}`, 'number', number.masked],
        [`avg(${number.sql})`, 'number', number.masked],
        [`string_agg(${text.sql}, ',')`, 'text', text.masked],
        [`array_agg(${text.sql})`, 'texts', text.masked],
        [`json_agg(${text.sql})`, 'text', text.masked],
        [`jsonb_agg(${json.sql})`, 'json', json.masked],
        [`any_value(${text.sql})`, 'text', text.masked],
      ]);
    };
    const items = Array.from({ length: 1 + random.below(3) }, aggregate).map(
      ([sql, type, masked], index): { sql: string; column: Column } => ({
        sql: `${sql} as a${index}`,
        column: { name: `a${index}`, type: sql.startsWith('json_agg') ? 'bool' : type, masked },
      }),
    );
    const keyed = useKey
      ? [{ sql: `${key.sql} as k`, column: { name: 'k', type: 'text' as Type, masked: key.masked } }]
      : [];
    const total = { sql: 'count(*) as total', column: { name: 'total', type: 'int' as Type, masked: false } };
    const all = [...keyed, ...items, total];
    const having = random.chance(0.1) ? ' having count(*) > 0' : '';
    return {
      sql: `select ${all.map((item) => item.sql).join(', ')} from ${from}${this.#where(sources, outer)}${useKey ? ` group by ${random.chance(0.2) ? 'rollup' : ''}(${key.sql})` : ''}${having}`,
      // The types of aggregates vary with what goes in: they are only passed on.
      columns: all.map((item) => item.column).filter((column) => column.type === 'int'),
    };
  }

  #column(
    type: Type,
    scope: readonly Source[],
    mayBeMasked: boolean,
  ): { readonly sql: string; readonly masked: boolean } | undefined {
    const random = this.#random;
    const all = scope.flatMap((source) => source.columns.map((column) => ({ source, column })));
    const fitting = all.filter(({ column }) => column.type === type && (mayBeMasked || !column.masked));
    const masked = fitting.filter(({ column }) => column.masked);
    const from = masked.length > 0 && random.chance(0.6) ? masked : fitting;
    if (from.length === 0) return undefined;
    const { source, column } = random.pick(from);
    const quoted = random.chance(0.05) ? `"${column.name}"` : column.name;
    return { sql: `${source.alias}.${quoted}`, masked: column.masked };
  }

  #constant(type: Type): string {
    const random = this.#random;
    const number = random.below(9);
    const constants: Record<Type, string> = {
      text: random.pick([`'k${number}'`, `E'\\x41${number}'`, `$q$${number}$q$`, "U&'\\0041'"]),
      int: String(number),
      date: "date '2001-02-03'",
      json: `'{"k": ${number}}'::jsonb`,
      texts: "array['a', 'b']",
      bool: random.pick(['true', 'false', 'null::boolean']),
      number: `${number}.5`,
    };
    return constants[type];
  }

  #expression(
    type: Type,
    scope: readonly Source[],
    depth: number,
    mayBeMasked: boolean,
  ): { readonly sql: string; readonly masked: boolean } {
    const random = this.#random;
    const plain = () => this.#column(type, scope, mayBeMasked) ?? { sql: this.#constant(type), masked: false };
    if (depth <= 0 || random.chance(0.35)) return plain();
    const inner = (of: Type) => this.#expression(of, scope, depth - 1, mayBeMasked);
    const made = this.#made(type, inner, scope, depth, mayBeMasked);
    return made ?? plain();
  }

  /** What can be made of masked values without being refused, and a little of what cannot. */
  #made(
    type: Type,
    inner: (of: Type) => { readonly sql: string; readonly masked: boolean },
    scope: readonly Source[],
    depth: number,
    mayBeMasked: boolean,
  ): { readonly sql: string; readonly masked: boolean } | undefined {
    const random = this.#random;
    const wrap = (parts: readonly { sql: string; masked: boolean }[], make: (...sql: string[]) => string) => ({
      sql: make(...parts.map((part) => part.sql)),
      masked: parts.some((part) => part.masked),
    });
    if (random.chance(0.12)) {
      return wrap(
        [inner(type), inner(type)],
        (a, b) => `case when ${this.#predicate(scope, 0)} then ${a} else ${b} end`,
      );
    }
    if (random.chance(0.08)) return { sql: this.#scalarSubquery(type), masked: true };
    if (random.chance(0.06)) return wrap([inner(type), inner(type)], (a, b) => `coalesce(${a}, ${b})`);
    if (random.chance(0.06) && type !== 'json' && type !== 'bool')
      return wrap([inner(type), inner(type)], (a, b) => `${random.pick(['greatest', 'least'])}(${a}, ${b})`);
    if (random.chance(0.06))
      return wrap(
        [inner(type)],
        (a) => `${random.pick(['first_value', 'last_value', 'lag', 'lead'])}(${a}) over (${this.#window(scope)})`,
      );
    switch (type) {
      case 'text': {
        const a = inner('text');
        const any = inner(random.pick<Type>(['int', 'date', 'json', 'texts', 'number', 'bool']));
        const source = random.pick(scope);
        return random.pick([
          () =>
            wrap(
              [a],
              (x) =>
                `${random.pick(['upper', 'lower', 'reverse', 'initcap', 'md5', 'quote_literal', 'quote_ident', 'btrim', 'text'])}(${x})`,
            ),
          () => wrap([a], (x) => `${random.pick(['left', 'right'])}(${x}, ${random.below(6) - 2})`),
          () => wrap([a, inner('text')], (x, y) => `${x} || ${y}`),
          () => wrap([a, inner('int')], (x, y) => `concat(${x}, ${y})`),
          () => wrap([a, inner('text')], (x, y) => `concat_ws('-', ${x}, ${y})`),
          () =>
            wrap([any], (x) => `(${x})::${random.pick(['text', 'text', 'varchar', 'varchar(5)', 'name', 'bpchar'])}`),
          () => wrap([a], (x) => `substr(${x}, 2, 3)`),
          () => wrap([a], (x) => `replace(${x}, 'z', 'y')`),
          () => wrap([a], (x) => `split_part(${x}, 'x', 1)`),
          () => wrap([a], (x) => `encode(convert_to(${x}, 'UTF8'), ${random.pick(["'hex'", "'base64'", "'escape'"])})`),
          () => wrap([inner('json')], (x) => `${x} ->> ${random.pick(["'t'", "'k'", "'n'", "'more'", '0'])}`),
          () => wrap([inner('texts')], (x) => `(${x})[1]`),
          () => wrap([inner('texts')], (x) => `array_to_string(${x}, '/')`),
          () => wrap([a], (x) => `to_json(${x})::text`),
          () => wrap([a], (x) => `row(${x}, 1)::text`),
          () => (source.row ? { sql: `row_to_json(${source.alias})::text`, masked: true } : undefined),
          () => wrap([inner('date')], (x) => `to_char(${x}, 'YYYY-MM-DD')`),
          () => wrap([inner('int')], (x) => `to_char(${x}, '99999999999')`),
        ])();
      }
      case 'int':
        return random.pick([
          () =>
            wrap(
              [inner('text')],
              (x) => `${random.pick(['length', 'octet_length', 'ascii', 'char_length', 'bit_length'])}(${x})`,
            ),
          () =>
            wrap(
              [this.#expression('int', scope, depth - 1, mayBeMasked && random.chance(0.1))],
              (x) => `${x} + ${random.below(5)}`,
            ),
          () => wrap([inner('texts')], (x) => `cardinality(${x})`),
          () => wrap([inner('date')], (x) => `extract(year from ${x})::int`),
          () => ({ sql: `row_number() over (${this.#window(scope)})`, masked: false }),
          () => wrap([inner('text'), inner('int')], (x, y) => `num_nulls(${x}, ${y})`),
        ])();
      case 'number':
        return random.pick([
          () => wrap([inner('int')], (x) => `sum(${x}) over (${this.#window(scope)})`),
          () => wrap([inner('date')], (x) => `extract(${random.pick(['epoch', 'month', 'doy'])} from ${x})`),
          () =>
            wrap([this.#expression('number', scope, depth - 1, mayBeMasked && random.chance(0.1))], (x) => `${x} * 2`),
        ])();
      case 'date':
        return wrap([inner('date')], (x) => `date_trunc('month', ${x})`);
      case 'json': {
        const source = random.pick(scope);
        return random.pick([
          () => wrap([inner('text'), inner('int')], (x, y) => `jsonb_build_object('a', ${x}, 'b', ${y})`),
          () => wrap([inner('text')], (x) => `to_jsonb(${x})`),
          () => wrap([inner('texts')], (x) => `to_jsonb(${x})`),
          () => wrap([inner('json')], (x) => `${x} -> ${random.pick(["'a'", "'t'", "'more'", '0'])}`),
          () => wrap([inner('json')], (x) => `${x} #> '{a,0}'`),
          () => wrap([inner('json'), inner('json')], (x, y) => `${x} || ${y}`),
          () => (source.row ? { sql: `to_jsonb(${source.alias})`, masked: true } : undefined),
          () => wrap([inner('text')], (x) => `json_object('k': ${x})::jsonb`),
          () => wrap([inner('json'), inner('text')], (x, y) => `jsonb_build_array(${x}, ${y})`),
        ])();
      }
      case 'texts':
        return random.pick([
          () => wrap([inner('text'), inner('text')], (x, y) => `array[${x}, ${y}]`),
          () => ({
            sql: `array(select ${random.pick(['name', 'ssn', 'card'])} from people where id < 4)`,
            masked: true,
          }),
          () => wrap([inner('texts')], (x) => `(${x})[1:2]`),
        ])();
      case 'bool':
        return random.pick([
          () => ({ sql: `(${this.#predicate(scope, 0)})`, masked: false }),
          () => wrap([inner('text')], (x) => `${x} is null`),
          () => ({ sql: `exists (select ssn from people where id = ${random.below(14)})`, masked: false }),
        ])();
      default:
        return undefined;
    }
  }

  #window(scope: readonly Source[]): string {
    const random = this.#random;
    const key = this.#column('int', scope, random.chance(0.03));
    const partition = this.#column(random.pick<Type>(['int', 'text']), scope, false);
    return [
      random.chance(0.4) && partition !== undefined ? `partition by ${partition.sql}` : '',
      key === undefined ? '' : `order by ${key.sql}`,
      key !== undefined && random.chance(0.2) ? 'rows between 1 preceding and current row' : '',
    ]
      .filter((part) => part !== '')
      .join(' ');
  }

  #change(): string {
    const random = this.#random;
    const people = relations[0]?.columns ?? [];
    const scope = [{ alias: 'people', columns: people, row: true }];
    const returned = Array.from(
      { length: 1 + random.below(3) },
      () => this.#expression(random.pick<Type>(['text', 'int', 'json']), scope, 1, true).sql,
    );
    const returning = `returning ${random.chance(0.3) ? '*' : returned.join(', ')}`;
    const where = `where ${this.#predicate(scope, 1)}`;
    return random.pick([
      () => `update people set grade = ${random.below(5)} ${where} ${returning}`,
      () =>
        `update people set name = ${this.#expression('text', scope, 1, random.chance(0.3)).sql} ${where} ${returning}`,
      () => `delete from people ${where} ${returning}`,
      () =>
        `insert into people (id, name, ssn, grade) values (${100 + random.below(9)}, 'new', 'given', 1) ${returning}`,
      () => `with w as (update people set grade = 1 ${where} ${returning}) select * from w`,
      () =>
        `insert into plain (id, label) select id + 100, ${random.pick(['name', 'name', 'ssn'])} from people ${where.replaceAll('people.', '')} returning *`,
      () =>
        `update people p set grade = v.grade from visits v where v.person_id = p.id and v.id < 5 returning p.*, v.place`,
    ])();
  }
}
