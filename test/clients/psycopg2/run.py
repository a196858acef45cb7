"""psycopg2: the simple protocol only, with parameters written into the text by the driver."""

import psycopg2
import psycopg2.extras
from checks import CA, DATABASE, GATEWAY_PORT, HELD, HOST, MASKED, PORT, REJECT, SLOW, check, kinds, later, login, page, texts

PAGE = "select id, ssn, email from customers where id > %s order by id limit 100"


def connect(who, port=PORT):
    user, password = login(who)
    connection = psycopg2.connect(
        host=HOST, port=port, dbname=DATABASE, user=user, password=password, sslmode="verify-full", sslrootcert=CA
    )
    connection.autocommit = True
    return connection


def rows(connection, text, values=None):
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        return cursor.fetchall()


def sqlstate(work):
    try:
        work()
    except psycopg2.Error as error:
        return error.pgcode
    raise AssertionError("no error came")


def cancelled(connection, text):
    later(connection.cancel)
    return sqlstate(lambda: rows(connection, text))


with check("connect"):
    rows(connect("READER", GATEWAY_PORT), "select 1")
reader, designer = connect("READER"), connect("DESIGNER")
with check("masked") as line:
    line["rows"] = texts(rows(reader, MASKED))
with check("types") as line, reader.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
    cursor.execute("select * from kinds where id = %s", [1])
    line["values"] = kinds(cursor.fetchone())
with check("errors") as line:
    statements = ("select 1 / (id - id) from plain", "select id from customers order by ssn", "selec 1")
    line["sqlstates"] = [sqlstate(lambda one=one: rows(reader, one)) for one in statements]
with check("cancel") as line:
    line["sqlstate"] = cancelled(reader, SLOW)
with check("cancel-held") as line:
    line["sqlstate"] = cancelled(designer, HELD)
with check("approved") as line:
    line["total"] = page(lambda last: rows(designer, PAGE, [last]))
with check("rejected") as line:
    line["sqlstate"] = sqlstate(lambda: rows(designer, f"{PAGE} {REJECT}", [0]))
    rows(designer, "select 1")
with check("copy-out") as line, open(f"{CA}.copy", "w+", encoding="utf-8") as file, reader.cursor() as cursor:
    try:
        cursor.copy_expert("copy customers to stdout", file)
        file.seek(0)
        line["data"] = file.read()
    except psycopg2.Error as error:
        line["sqlstate"] = error.pgcode
with check("cursor") as line:
    # DECLARE and FETCH: rows, or a clear refusal.
    try:
        connection = connect("READER")
        connection.autocommit = False
        with connection.cursor("named") as cursor:
            cursor.execute("select id, ssn, email from customers")
            line["ok"] = len(cursor.fetchmany(30)) == 30
    except psycopg2.Error as error:
        line["ok"], line["detail"] = error.pgcode in ("0A000", "42501"), str(error)
with check("execute_values") as line, reader.cursor() as cursor:
    values = [(number, "psycopg2") for number in range(12001, 12101)]
    psycopg2.extras.execute_values(cursor, "insert into arrivals values %s", values)
    line["ok"] = rows(reader, "select count(*) from arrivals where label = 'psycopg2'") == [(100,)]
with check("session") as line:
    connection = connect("READER")
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
    line["ok"] = len(rows(connection, MASKED)) == 20
    connection.rollback()
    # What pools of this driver send.
    connection.reset()
