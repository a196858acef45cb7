"""psql on a terminal: types the beginning of a line and Tab, and looks at what psql made of it."""

import json
import os
import pty
import select
import sys
import time

PROMPT = "crm=> "


def read(terminal, is_done, seconds=5.0):
    """What the terminal shows until `is_done` likes it, or time is up."""
    shown, end = "", time.monotonic() + seconds
    while time.monotonic() < end and not is_done(shown):
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 65536).decode("utf-8", "replace")
            except OSError:
                break
    return shown


def main(wanted):
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="dumb", INPUTRC="/dev/null", HISTFILE="/dev/null", PSQL_HISTORY="/dev/null")
        os.execlp("psql", "psql", "--no-psqlrc", "--quiet", "-v", f"PROMPT1={PROMPT}")
    wrong = []
    start = read(terminal, lambda shown: PROMPT in shown)
    if PROMPT not in start:
        wrong.append(f"no prompt: {start!r}")
    for typed, completed in wanted.items():
        if wrong and "no prompt" in wrong[0]:
            break
        os.write(terminal, typed.encode() + b"\t")
        has = lambda shown, word=completed.lower(): word in shown.replace("\a", "").lower()  # noqa: E731
        shown = read(terminal, has, 3.0)
        if not has(shown):
            wrong.append(f"{typed!r} became {shown!r}")
        # Ctrl-C throws the line away; an error of the completion's query stays hidden, as psql wants it.
        os.write(terminal, b"\x03")
        read(terminal, lambda shown: PROMPT in shown, 3.0)
    os.write(terminal, b"\\q\n")
    read(terminal, lambda _: False, 0.5)
    os.close(terminal)
    os.waitpid(process, 0)
    print("; ".join(wrong) or "completed")


main(json.loads(sys.argv[1]))
