"""For the programs in Python: the environment that the runner made, and the lines it wants."""

import json
import os
import threading
import time
from contextlib import contextmanager

HOST = os.environ["CLIENT_HOST"]
PORT = int(os.environ["CLIENT_PORT"])
GATEWAY_PORT = int(os.environ["CLIENT_GATEWAY_PORT"])
CA = os.environ["CLIENT_CA"]
DATABASE = os.environ["CLIENT_DATABASE"]

SLOW = "select count(*) from plain a, plain b, plain c, plain d, plain e, plain f"
MASKED = "select id, ssn, email, card_number, notes, profile, name from customers where id <= 20 order by id"
HELD = "select id, ssn from customers /* leave waiting */"
REJECT = "/* please reject */"


def login(who):
    """User and password of a credential that the gateway issued."""
    return os.environ[f"CLIENT_{who}"], os.environ[f"CLIENT_{who}_PASSWORD"]


def report(check, **members):
    print(json.dumps({"check": check, **members}, default=str), flush=True)


@contextmanager
def check(name):
    """Runs one check, which fills the line; what it throws is its failure."""
    line = {}
    try:
        yield line
    except Exception as error:  # noqa: BLE001
        line = {"ok": False, "detail": f"{type(error).__name__}: {error}"[:400]}
    report(name, **line)


def texts(rows):
    """Rows as the runner wants them."""
    return [[None if value is None else str(value) for value in row] for row in rows]


def kinds(row):
    """The row of `kinds` from Python's own types; a type that is not the driver's usual one shows in the text."""
    plain = ("id", "big", "exact", "words", "tag")
    return {
        **{name: str(row[name]) for name in plain},
        "flag": {True: "true", False: "false"}[row["flag"]],
        "at": utc(row["at"]),
        "nothing": row["nothing"],
        "doc": row["doc"],
        "raw": bytes(row["raw"]).hex(),
        "numbers": row["numbers"],
        "names": row["names"],
    }


NIL = "00000000-0000-0000-0000-000000000000"


def masked_kinds(row):
    """What is wrong with the row of `masked_kinds`; empty = nothing."""
    expected = {
        "tag": NIL,
        "address": "0.0.0.0",
        "network": "0.0.0.0/32",
        "numbers": "[]",
        "words": "['****mple', None]",
        "days": "[datetime.date(1961, 1, 1)]",
        "exact": "81931000.00",
        "born": "1961-01-01",
        "flag": "None",
    }
    wrong = {name: str(row[name]) for name, value in expected.items() if str(row[name]) != value}
    if bytes(row["raw"]) != b"":
        wrong["raw"] = str(row["raw"])
    if not row["span"].isempty:
        wrong["span"] = str(row["span"])
    if "masked" not in str(row["body"]) or str(row["digest"])[14] != "8":
        wrong["body, digest"] = f"{row['body']}, {row['digest']}"
    return str(wrong) if wrong else ""


def utc(moment):
    from datetime import timezone

    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def page(next_page):
    """A paging loop: `next_page(last id)` gives rows that begin with the id."""
    last, total = 0, 0
    while rows := next_page(last):
        last, total = int(rows[-1][0]), total + len(rows)
    return total


def later(work, seconds=0.7):
    """Runs `work` in a thread of its own, while this one waits for a statement."""

    def run():
        time.sleep(seconds)
        work()

    threading.Thread(target=run, daemon=True).start()
