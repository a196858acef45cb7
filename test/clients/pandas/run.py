"""SQLAlchemy on psycopg, and pandas on SQLAlchemy: reflection, pooled connections, read_sql in chunks."""

import pandas
import sqlalchemy
from checks import CA, DATABASE, GATEWAY_PORT, HELD, HOST, MASKED, PORT, REJECT, SLOW, check, kinds, later, login, page, texts
from sqlalchemy import text

PAGE = "select id, ssn, email from customers where id > {} order by id limit 100"


def engine(who, port=PORT, **options):
    user, password = login(who)
    url = sqlalchemy.URL.create("postgresql+psycopg", user, password, HOST, port, DATABASE)
    return sqlalchemy.create_engine(url, connect_args={"sslmode": "verify-full", "sslrootcert": CA}, **options)


def sqlstate(work):
    try:
        work()
    except pandas.errors.DatabaseError as error:
        return error.__cause__.orig.sqlstate
    except sqlalchemy.exc.DBAPIError as error:
        return error.orig.sqlstate
    raise AssertionError("no error came")


def cancelled(who, statement):
    with who.connect() as connection:
        later(connection.connection.driver_connection.cancel_safe)
        return sqlstate(lambda: connection.execute(text(statement)).fetchall())


with check("connect"), engine("READER", GATEWAY_PORT).connect() as direct:
    direct.execute(text("select 1"))
reader, designer = engine("READER"), engine("DESIGNER", isolation_level="AUTOCOMMIT")
with check("masked") as line:
    frame = pandas.read_sql(text(MASKED), reader)
    line["rows"] = texts(frame.itertuples(index=False))
with check("types") as line, reader.connect() as connection:
    table = sqlalchemy.Table("kinds", sqlalchemy.MetaData(), autoload_with=connection)
    line["values"] = kinds(connection.execute(table.select().where(table.c.id == 1)).mappings().one())
with check("errors") as line:
    statements = ("select 1 / (id - id) from plain", "select id from customers order by ssn", "selec 1")
    line["sqlstates"] = [sqlstate(lambda one=one: pandas.read_sql(text(one), reader)) for one in statements]
with check("prepared") as line, reader.connect() as connection:
    one = text("select id, ssn, email from customers where id = :id")
    line["rows"] = texts(connection.execute(one, {"id": number}).one() for number in range(1, 13))
with check("cancel") as line:
    line["sqlstate"] = cancelled(reader, SLOW)
with check("cancel-held") as line:
    line["sqlstate"] = cancelled(designer, HELD)
with check("approved") as line:
    line["total"] = page(lambda last: pandas.read_sql(text(PAGE.format(":last")), designer, params={"last": last}).values.tolist())
with check("approved, chunksize") as line:
    frames = list(pandas.read_sql(text("select id, ssn, email from customers"), designer, chunksize=70))
    line["ok"] = [len(frame) for frame in frames] == [70, 70, 70, 70, 20]
with check("rejected") as line:
    line["sqlstate"] = sqlstate(lambda: pandas.read_sql(text(f"{PAGE.format(0)} {REJECT}"), designer))
    pandas.read_sql(text("select 1"), designer)
with check("chunksize") as line:
    frames = list(pandas.read_sql(text("select * from customers order by id"), reader, chunksize=70))
    line["ok"] = sum(len(frame) for frame in frames) == 300
with check("chunksize, stream_results") as line:
    # A server-side cursor (DECLARE, FETCH): rows or a clear refusal.
    with reader.connect().execution_options(stream_results=True) as connection:
        frames = []
        work = lambda: frames.extend(pandas.read_sql(text("select * from customers order by id"), connection, chunksize=70))
        try:
            line["ok"] = sqlstate(work) in ("0A000", "42501")
        except AssertionError:
            line["ok"] = sum(len(frame) for frame in frames) == 300
with check("read_sql_table") as line:
    line["ok"] = len(pandas.read_sql_table("customers", reader)) == 300
with check("to_sql") as line:
    # The table is there; the rows are appended by INSERT … VALUES with many parameters.
    frame = pandas.DataFrame({"id": range(7001, 7101), "label": "from pandas"})
    frame.to_sql("arrivals", reader, if_exists="append", index=False, method="multi")
    line["ok"] = int(pandas.read_sql(text("select count(*) as n from arrivals where id > 7000 and id < 7200"), reader)["n"][0]) == 100
with check("inspector") as line:
    inspector = sqlalchemy.inspect(reader)
    found = [
        "customers" in inspector.get_table_names(),
        "customer_contacts" in inspector.get_view_names(),
        len(inspector.get_columns("customers")) == 8,
        inspector.get_pk_constraint("customers")["constrained_columns"] == ["id"],
        inspector.get_foreign_keys("customers") == [],
        inspector.get_indexes("customers") == [],
        inspector.get_unique_constraints("customers") == [],
        inspector.get_check_constraints("customers") == [],
        "public" in inspector.get_schema_names(),
    ]
    line["ok"], line["detail"] = all(found), str(found)
