/** A small table with values that must never get out, for system tests. */
export const customersSchema = `
  create table customers (
    id bigint primary key,
    name text not null,
    email text not null,
    ssn text not null,
    card_number text not null,
    region text not null,
    notes text,
    profile jsonb not null
  );
  insert into customers
  select n, 'Person ' || n, 'person' || n || '@secret.example', lpad((100 + n)::text, 3, '0') || '-45-' || lpad((6000 + n)::text, 4, '0'),
         '4111111111111111', case when n % 2 = 0 then 'EU' else 'US' end,
         'called about card 4111 1111 1111 1111, write to person' || n || '@secret.example',
         jsonb_build_object('card', 4111111111111111, 'mail', 'person' || n || '@secret.example')
    from generate_series(1, 300) n;
  create table plain (id integer primary key, label text not null);
  insert into plain select n, 'label ' || n from generate_series(1, 50) n;
  create view customer_contacts as select id, email as contact, upper(ssn) as loud from customers;
`;

/** Any of these in what a client got is a leak. */
export const secretPatterns: readonly RegExp[] = [/person\d+@secret/, /\d{3}-45-6\d{3}/, /4111.?1111.?1111.?1111/];
