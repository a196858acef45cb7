"""asyncpg: everything in binary, every statement described before it is bound."""

import asyncio
import json
import ssl

import asyncpg
import asyncpg.introspection
from checks import CA, DATABASE, GATEWAY_PORT, HELD, HOST, MASKED, PORT, REJECT, SLOW, check, kinds, login, masked_kinds, texts

PAGE = "select id, ssn, email from customers where id > {} order by id limit 100"


async def connect(who, port=PORT):
    user, password = login(who)
    context = ssl.create_default_context(cafile=CA)
    return await asyncpg.connect(host=HOST, port=port, database=DATABASE, user=user, password=password, ssl=context)


async def sqlstate(work):
    try:
        await work
    except asyncpg.PostgresError as error:
        return error.sqlstate
    raise AssertionError("no error came")


async def cancelled(connection, text):
    """The driver's own cancel: a timeout sends a CancelRequest and then reads the server's answer."""
    task = asyncio.ensure_future(connection.fetch(text))
    await asyncio.sleep(0.7)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        # The connection is in step again only if the statement was really ended.
        await asyncio.wait_for(connection.fetch("select 1"), 5)
        return "cancelled"
    raise AssertionError("no error came")


async def page(next_page):
    last, total = 0, 0
    while rows := await next_page(last):
        last, total = rows[-1]["id"], total + len(rows)
    return total


async def main():
    with check("connect"):
        direct = await connect("READER", GATEWAY_PORT)
        await direct.fetchval("select 1")
        await direct.close()
    reader, designer = await connect("READER"), await connect("DESIGNER")
    with check("masked") as line:
        line["rows"] = texts(await reader.fetch(MASKED))
    with check("types") as line:
        row = dict(await reader.fetchrow("select * from kinds where id = $1", 1))
        line["values"] = kinds({**row, "doc": json.loads(row["doc"])})
    with check("masked types") as line:
        line["detail"] = masked_kinds(await reader.fetchrow("select * from masked_kinds"))
        line["ok"] = line["detail"] == ""
    with check("types, no arrays") as line:
        text = "select id, big, exact, flag, at, words, nothing, doc, tag, raw, ssn from kinds where id = $1"
        row = {**await reader.fetchrow(text, 1), "numbers": None, "names": None}
        line["detail"] = str(kinds({**row, "doc": json.loads(row["doc"])}))
    with check("introspection") as line:
        # What the driver asks about types that it does not know.
        found = await reader.fetch(asyncpg.introspection.INTRO_LOOKUP_TYPES, [1007, 1009])
        line["ok"] = len(found) >= 2
    with check("errors") as line:
        line["sqlstates"] = [
            await sqlstate(reader.fetch(text))
            for text in ("select 1 / (id - id) from plain", "select id from customers order by ssn", "selec 1")
        ]
    with check("prepared") as line:
        statement = await reader.prepare("select id, ssn, email from customers where id = $1")
        line["rows"] = texts([await statement.fetchrow(number) for number in range(1, 13)])
    with check("cancel") as line:
        line["sqlstate"] = {"cancelled": "57014"}.get(await cancelled(reader, SLOW))
    with check("cancel-held") as line:
        line["sqlstate"] = {"cancelled": "ZC003"}.get(await cancelled(designer, HELD))
    with check("approved") as line:
        line["total"] = await page(lambda last: designer.fetch(PAGE.format("$1"), last))
    with check("approved, no parameters") as line:
        line["ok"] = await page(lambda last: designer.fetch(PAGE.format(last))) == 300
    with check("rejected") as line:
        line["sqlstate"] = await sqlstate(designer.fetch(f"{PAGE.format(0)} {REJECT}"))
        await designer.fetch("select 1")
    with check("copy-out") as line:
        pieces = []

        async def keep(piece):
            pieces.append(piece)

        try:
            await reader.copy_from_table("customers", output=keep)
            line["data"] = b"".join(pieces).decode()
        except asyncpg.PostgresError as error:
            line["sqlstate"] = error.sqlstate
    with check("copy-in") as line:
        # In the binary format.
        records = [(number, f"asyncpg {number}") for number in range(3001, 3201)]
        await reader.copy_records_to_table("arrivals", records=records, columns=["id", "label"])
        line["ok"] = await reader.fetchval("select count(*) from arrivals where label like 'asyncpg %'") == 200
    with check("cursor") as line:
        async with reader.transaction():
            cursor = reader.cursor("select id, ssn, email from customers order by id", prefetch=70)
            line["ok"] = len([row async for row in cursor]) == 300
    with check("pool") as line:
        # A pool resets a connection that it takes back: with LISTEN, advisory locks and RESET ALL in one text.
        user, password = login("READER")
        context = ssl.create_default_context(cafile=CA)
        async with asyncpg.create_pool(
            host=HOST, port=PORT, database=DATABASE, user=user, password=password, ssl=context, min_size=1, max_size=1
        ) as pool:
            values = [await pool.fetchval("select id from plain where id = $1", number) for number in (1, 2, 3)]
        line["ok"] = values == [1, 2, 3]
    await reader.close()
    await designer.close()


asyncio.run(main())
