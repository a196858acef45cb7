"""psqlODBC through pyodbc: with statements that the server prepares (the driver's default), without, and with DECLARE and FETCH."""

import json
import os
import re

import pyodbc
from checks import CA, DATABASE, GATEWAY_PORT, HELD, HOST, PORT, REJECT, SLOW, check, kinds, later, login, page, texts

MASKED = "select id, ssn, email, card_number, notes, profile, name from customers where id <= 20 order by id"
PAGE = "select id, ssn, email from customers where id > ? order by id limit 100"

# libpq inside the driver takes the root certificate from here.
os.environ["PGSSLROOTCERT"] = CA


def connect(who, port=PORT, **options):
    user, password = login(who)
    parts = {
        "Driver": os.environ["CLIENT_ODBC_DRIVER"], "Server": HOST, "Port": port, "Database": DATABASE,
        "UID": user, "PWD": password, "SSLmode": "verify-full", **options,
    }  # fmt: skip
    return pyodbc.connect(";".join(f"{name}={value}" for name, value in parts.items()), autocommit=True)


def sqlstate(work):
    try:
        work()
    except pyodbc.Error as error:
        return error.args[0]
    raise AssertionError("no error came")


def cancelled(connection, text):
    cursor = connection.cursor()
    later(cursor.cancel)
    return sqlstate(lambda: cursor.execute(text).fetchall())


def array(text, convert):
    """The driver gives arrays as text."""
    items = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,{}]+)', text)
    return [quoted or (None if bare == "NULL" else convert(bare)) for quoted, bare in items]


def row_of_kinds(connection):
    cursor = connection.cursor().execute("select * from kinds where id = ?", 1)
    row = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
    row["flag"] = {"1": True, "0": False}.get(row["flag"], row["flag"])
    row.update(doc=json.loads(row["doc"]), numbers=array(row["numbers"], int), names=array(row["names"], str))
    return row


def loop(connection):
    return page(lambda last: connection.cursor().execute(PAGE, last).fetchall())


with check("connect"):
    connect("READER", GATEWAY_PORT).execute("select 1").fetchall()
reader, designer = connect("READER"), connect("DESIGNER")
with check("masked") as line:
    line["rows"] = texts(reader.execute(MASKED).fetchall())
with check("types") as line:
    from datetime import timezone

    row = row_of_kinds(reader)
    # A timestamp with time zone comes as the session's local time; the session's time zone is the target's, UTC.
    line["values"] = kinds({**row, "at": row["at"].replace(tzinfo=timezone.utc), "tag": str(row["tag"]).lower()})
with check("errors") as line:
    statements = ("select 1 / (id - id) from plain", "select id from customers order by ssn", "selec 1")
    line["sqlstates"] = [sqlstate(lambda one=one: reader.execute(one)) for one in statements]
with check("prepared") as line:
    cursor = reader.cursor()
    query = "select id, ssn, email from customers where id = ?"
    line["rows"] = texts(cursor.execute(query, number).fetchone() for number in range(1, 13))
with check("cancel") as line:
    line["sqlstate"] = cancelled(reader, SLOW)
with check("cancel-held") as line:
    line["sqlstate"] = cancelled(designer, HELD)
with check("approved") as line:
    line["total"] = loop(designer)
with check("approved, UseServerSidePrepare=0") as line:
    line["ok"] = loop(connect("DESIGNER", UseServerSidePrepare=0)) == 300
with check("rejected") as line:
    line["sqlstate"] = sqlstate(lambda: designer.execute(PAGE.replace("?", "0") + REJECT))
    designer.execute("select 1").fetchall()
with check("UseDeclareFetch=1") as line:
    # Rows, or a clear refusal.
    rows = []
    work = lambda: rows.extend(connect("READER", UseDeclareFetch=1, Fetch=50).execute("select * from customers").fetchall())
    try:
        line["detail"] = sqlstate(work)
        line["ok"] = line["detail"] in ("0A000", "42501")
    except AssertionError:
        line["ok"] = len(rows) == 300
with check("catalogue") as line:
    cursor = reader.cursor()
    found = [
        {"customers", "customer_contacts"} <= {row.table_name for row in cursor.tables(schema="public")},
        [row.column_name for row in cursor.columns(table="customers")][:4] == ["id", "name", "email", "ssn"],
        [row.column_name for row in cursor.primaryKeys(table="customers")] == ["id"],
        cursor.statistics(table="customers").fetchall() != [],
    ]
    line["ok"], line["detail"] = all(found), str(found)
with check("transaction") as line:
    connection = connect("READER")
    connection.autocommit = False
    connection.execute("insert into arrivals values (9501, 'gone')")
    connection.rollback()
    line["ok"] = connection.execute("select id from arrivals where id = 9501").fetchall() == []
