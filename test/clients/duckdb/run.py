"""DuckDB's postgres extension: it attaches a database, and reads tables by COPY in the binary format, in several connections."""

import glob
import os

import duckdb
import duckdb_ext
from checks import CA, DATABASE, GATEWAY_PORT, HOST, PORT, check, login, texts

COLUMNS = "select id, ssn, email, card_number, notes, name from {} where id <= 20 order by id"


def attached(who, port=PORT, *settings):
    user, password = login(who)
    [extension] = glob.glob(f"{os.path.dirname(duckdb_ext.__file__)}/extensions/*/*/postgres_scanner.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"load '{extension}'")
    for setting in settings:
        connection.execute(setting)
    address = f"host={HOST} port={port} dbname={DATABASE} user={user} password={password} sslmode=verify-full sslrootcert={CA}"
    connection.execute(f"attach '{address}' as crm (type postgres, read_only)")
    return connection


def refused_or_rows(work):
    """Errors of the extension have no SQLSTATE; the message is the gateway's."""
    try:
        return {"data": str(work())}
    except duckdb.Error as error:
        is_refusal = "countersign: " in str(error) and "COPY" in str(error)
        return {"sqlstate": "0A000"} if is_refusal else {"ok": False, "detail": str(error)}


with check("connect"):
    attached("READER", GATEWAY_PORT).execute("select 1")
with check("attach") as line:
    tables = {row[0] for row in attached("READER").execute("select table_name from duckdb_tables()").fetchall()}
    line["ok"], line["detail"] = {"customers", "kinds", "plain"} <= tables, str(tables)
with check("copy-out") as line:
    reader = attached("READER")
    line.update(refused_or_rows(lambda: reader.execute("select id, ssn, email from crm.customers").fetchall()))
with check("postgres_query") as line:
    reader = attached("READER")
    query = COLUMNS.format("customers")
    line.update(refused_or_rows(lambda: reader.execute(f"from postgres_query('crm', '{query}')").fetchall()))
with check("masked") as line:
    reader = attached("READER", PORT, "set pg_use_text_protocol = true")
    line["rows"] = texts(reader.execute(COLUMNS.format("crm.customers")).fetchall())
