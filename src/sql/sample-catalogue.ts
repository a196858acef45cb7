/** A small catalogue for tests: the tables that `oracle.test.ts` really makes, as `catalogueQueries` would report them. */
import { makeCatalogue, type RawCatalogue, type RawColumn } from './catalogue.ts';
import type { Catalogue } from './statement.ts';

export const sampleSchema = `
create schema crm;
set search_path = crm;
create table customers (id int primary key, name text, email text, ssn text, region text, tags text[], notes jsonb,
  age int, born date, loud text generated always as (upper(ssn)) stored);
create table orders (id bigint, customer_id int, total numeric, placed timestamptz);
create table notes (id int, txt text, score int);
create table visits (id int, at date, ssn text) partition by range (at);
create table visits_2025 partition of visits for values from ('2025-01-01') to ('2026-01-01');
create view people as select id, ssn as tax_no, lower(email) as mail from customers where ssn is not null;
create view people_orders as select people.*, o.total from people join orders o on o.customer_id = people.id;
create type mood as enum ('ok', 'bad');
create sequence numbers;
create function score(notes) returns text language sql as $$ select ssn from crm.customers limit 1 $$;
create function leak(int) returns text language sql as $$ select ssn from crm.customers limit 1 $$;
create operator ### (leftarg = int, rightarg = int, function = int4pl);
`;

const text = (attnum: number, name: string): RawColumn => [attnum, name, 25, 'text', false, ''];
const int = (attnum: number, name: string): RawColumn => [attnum, name, 23, 'integer', false, ''];
const other = (attnum: number, name: string, oid: number, type: string): RawColumn => [
  attnum,
  name,
  oid,
  type,
  false,
  '',
];

type RawRelation = RawCatalogue['relations'][number];

function relation(oid: number, schema: string, name: string, kind: string, columns: readonly RawColumn[]): RawRelation {
  return { oid, schema, name, kind, row_security: false, columns };
}

const visitColumns = [int(1, 'id'), other(2, 'at', 1082, 'date'), text(3, 'ssn')];

export const sampleRaw: RawCatalogue = {
  searchPath: ['crm', 'public'],
  relations: [
    relation(16_401, 'crm', 'customers', 'r', [
      int(1, 'id'),
      text(2, 'name'),
      text(3, 'email'),
      text(4, 'ssn'),
      text(5, 'region'),
      other(6, 'tags', 1009, 'text[]'),
      other(7, 'notes', 3802, 'jsonb'),
      int(8, 'age'),
      other(9, 'born', 1082, 'date'),
      [10, 'loud', 25, 'text', false, 's'],
    ]),
    relation(16_402, 'crm', 'orders', 'r', [
      other(1, 'id', 20, 'bigint'),
      int(2, 'customer_id'),
      other(3, 'total', 1700, 'numeric'),
      other(4, 'placed', 1184, 'timestamp with time zone'),
    ]),
    relation(16_403, 'crm', 'notes', 'r', [int(1, 'id'), text(2, 'txt'), int(3, 'score')]),
    relation(16_404, 'crm', 'visits', 'p', visitColumns),
    relation(16_405, 'crm', 'visits_2025', 'r', visitColumns),
    relation(16_406, 'crm', 'people', 'v', [int(1, 'id'), text(2, 'tax_no'), text(3, 'mail')]),
    relation(16_407, 'crm', 'people_orders', 'v', [
      int(1, 'id'),
      text(2, 'tax_no'),
      text(3, 'mail'),
      other(4, 'total', 1700, 'numeric'),
    ]),
    relation(16_410, 'crm', 'numbers', 'S', [other(1, 'last_value', 20, 'bigint')]),
    relation(16_408, 'crm', 'ruled', 'r', [int(1, 'id')]),
    relation(16_409, 'crm', 'leaky', 'v', [text(1, 'x')]),
    relation(1_259, 'pg_catalog', 'pg_class', 'r', [other(1, 'oid', 26, 'oid'), other(2, 'relname', 19, 'name')]),
    relation(2_619, 'pg_catalog', 'pg_statistic', 'r', [other(1, 'starelid', 26, 'oid')]),
    relation(12_001, 'pg_catalog', 'pg_stats', 'v', [other(1, 'tablename', 19, 'name')]),
    relation(1_260, 'pg_catalog', 'pg_authid', 'r', [other(1, 'rolname', 19, 'name'), text(2, 'rolpassword')]),
    relation(13_001, 'information_schema', 'tables', 'v', [text(1, 'table_name')]),
  ],
  definitions: [
    {
      oid: 16_406,
      definition:
        ' SELECT customers.id,\n    customers.ssn AS tax_no,\n    lower(customers.email) AS mail\n   FROM crm.customers\n  WHERE (customers.ssn IS NOT NULL);',
    },
    {
      oid: 16_407,
      definition:
        ' SELECT people.id,\n    people.tax_no,\n    people.mail,\n    o.total\n   FROM (crm.people\n     JOIN crm.orders o ON ((o.customer_id = people.id)));',
    },
    { oid: 16_409, definition: ' SELECT crm.leak(1) AS x;' },
  ],
  inheritance: [{ parent: 16_404, child: 16_405 }],
  rules: [
    {
      oid: 16_408,
      rule: 'CREATE RULE r AS ON INSERT TO crm.ruled DO INSTEAD SELECT customers.ssn FROM crm.customers;',
    },
  ],
  attached: [],
  called: [],
  generated: [{ oid: 16_401, attnum: 10, sources: ['ssn'] }],
  functions: ['leak', 'score', 'translate'].map((name) => ({ name, among_built_in: false })),
  operators: [{ name: '###', among_built_in: false }],
  types: [
    { name: 'mood', is_enum: true },
    { name: 'customers', is_enum: false },
    { name: 'ssn_type', is_enum: false },
  ],
  convertedTypes: [],
  userCode: [],
};

export const sampleCatalogue: Catalogue = makeCatalogue(sampleRaw);
