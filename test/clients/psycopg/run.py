"""psycopg 3 on its own libpq: text and binary, prepared statements, server-side cursors, COPY, a pipeline."""

import psycopg
from checks import CA, DATABASE, GATEWAY_PORT, HELD, HOST, MASKED, PORT, REJECT, SLOW, check, kinds, masked_kinds, later, login, page, texts
from psycopg.rows import dict_row

PAGE = "select id, ssn, email from customers where id > %s order by id limit 100"


def connect(who, port=PORT):
    user, password = login(who)
    return psycopg.connect(
        host=HOST, port=port, dbname=DATABASE, user=user, password=password,
        sslmode="verify-full", sslrootcert=CA, autocommit=True,
    )  # fmt: skip


def sqlstate(work):
    try:
        work()
    except psycopg.Error as error:
        return error.sqlstate or f"none: {error}"
    raise AssertionError("no error came")


def cancelled(connection, text):
    later(connection.cancel_safe)
    return sqlstate(lambda: connection.execute(text).fetchall())


with check("connect"), connect("READER", GATEWAY_PORT) as direct:
    direct.execute("select 1")
    assert direct.pgconn.ssl_in_use
reader, designer = connect("READER"), connect("DESIGNER")
with check("masked") as line:
    line["rows"] = texts(reader.execute(MASKED))
with check("types") as line:
    line["values"] = kinds(reader.cursor(row_factory=dict_row).execute("select * from kinds where id = %s", [1]).fetchone())
with check("masked types") as line:
    cursors = [reader.cursor(binary=binary, row_factory=dict_row) for binary in (False, True)]
    line["detail"] = "".join(masked_kinds(cursor.execute("select * from masked_kinds").fetchone()) for cursor in cursors)
    line["ok"] = line["detail"] == ""
with check("types, binary") as line:
    cursor = reader.cursor(binary=True, row_factory=dict_row)
    line["ok"] = kinds(cursor.execute("select * from kinds where id = %s", [1]).fetchone())["exact"] == "12345678901234.5678"
    cursor = reader.cursor(binary=True)
    line["detail"] = str(cursor.execute("select id, ssn, email, profile from customers where id < 4").fetchall())
with check("errors") as line:
    line["sqlstates"] = [
        sqlstate(lambda text=text: reader.execute(text))
        for text in ("select 1 / (id - id) from plain", "select id from customers order by ssn", "selec 1")
    ]
with check("prepared") as line:
    # The driver prepares from the sixth execution on.
    query = "select id, ssn, email from customers where id = %s"
    line["rows"] = texts(reader.execute(query, [number]).fetchone() for number in range(1, 13))
with check("cancel") as line:
    line["sqlstate"] = cancelled(reader, SLOW)
with check("cancel-held") as line:
    line["sqlstate"] = cancelled(designer, HELD)
with check("approved") as line:
    # From the sixth execution on it is prepared: two loops of four pages.
    totals = [page(lambda last: designer.execute(PAGE, [last]).fetchall()) for _ in range(2)]
    line["total"] = totals[0] if totals[0] == totals[1] else totals
with check("approved, never prepared") as line:
    designer.prepare_threshold = None
    line["ok"] = page(lambda last: designer.execute(PAGE, [last]).fetchall()) == 300
with check("rejected") as line:
    line["sqlstate"] = sqlstate(lambda: designer.execute(f"{PAGE} {REJECT}", [0]))
    designer.execute("select 1")
with check("copy-out") as line:
    try:
        with reader.cursor().copy("copy customers to stdout") as copy:
            line["data"] = b"".join(copy).decode()
    except psycopg.Error as error:
        line["sqlstate"] = error.sqlstate
with check("copy-out, binary") as line:
    try:
        with reader.cursor().copy("copy customers (id, ssn) to stdout (format binary)") as copy:
            copy.set_types(["int8", "text"])
            line["ok"] = len(list(copy.rows())) == 300
    except psycopg.Error as error:
        line["ok"] = error.sqlstate == "0A000"
with check("copy-in") as line:
    with reader.cursor().copy("copy arrivals (id, label) from stdin") as copy:
        for number in range(1001, 1201):
            copy.write_row((number, f"psycopg {number}"))
    line["ok"] = reader.execute("select count(*) from arrivals where label like 'psycopg %'").fetchone() == (200,)
with check("cursor") as line:
    # DECLARE and FETCH: rows, or a clear refusal.
    try:
        with reader.transaction(), reader.cursor("named") as cursor:
            line["ok"] = len(cursor.execute("select id, ssn, email from customers").fetchmany(30)) == 30
    except psycopg.Error as error:
        line["ok"] = error.sqlstate in ("0A000", "42501")
        line["detail"] = str(error)
with check("transaction") as line:
    try:
        with reader.transaction():
            reader.execute("insert into arrivals values (1900, 'gone')")
            reader.execute("select id from customers order by ssn")
    except psycopg.errors.InsufficientPrivilege:
        pass
    line["ok"] = reader.execute("select id from arrivals where id = 1900").fetchall() == []
with check("pipeline") as line:
    with reader.pipeline():
        cursors = [reader.execute("select id, ssn, email from customers where id = %s", [number]) for number in range(1, 9)]
    line["ok"] = [cursor.fetchone()[0] for cursor in cursors] == list(range(1, 9))
with check("stream") as line:
    # Single-row mode.
    line["ok"] = sum(1 for _ in reader.cursor().stream("select id, ssn from customers")) == 300
with check("executemany") as line:
    with reader.cursor() as cursor:
        cursor.executemany("insert into arrivals values (%s, %s)", [(number, "many") for number in range(2001, 2021)])
    line["ok"] = reader.execute("delete from arrivals where label = 'many'").rowcount == 20
