"""`fault.py KIND COMMAND...`: run a stdio server and change one message that it sends or receives, for the self-test.

The kinds are in FAULTS, each a function of a line that returns the lines in its place, or None where it does not apply.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import BinaryIO

Change = Callable[[bytes], list[bytes] | None]


def where(mark: bytes, old: bytes, new: bytes) -> Change:
    """Replace the bytes once in the first line with the mark."""

    def change(line: bytes) -> list[bytes] | None:
        return [line.replace(old, new, 1)] if mark in line and old in line else None

    return change


def is_notification(line: bytes) -> bool:
    return b'"notifications/progress"' in line


# Output of the server.
OUTPUT: Mapping[str, Change] = {
    "one byte of a result": where(b'"content"', b'"text"', b'"tExt"'),
    "one space in a result": where(b'"inputSchema"', b'"tools"', b' "tools"'),
    "one byte of an error": where(b'"error"', b'"message":"', b'"message":"x'),
    "an escape in a result": where(b"\\u00fc", b"\\u00fc", b"\\u00FC"),
    "one byte of a request": where(b'"elicitation/create"', b"which", b"Which"),
    "one byte of a notification": where(b'"notifications/progress"', b'"total"', b'"tOtal"'),
    "a lost notification": lambda line: [] if is_notification(line) else None,
    "a repeated notification": lambda line: [line, line] if is_notification(line) else None,
    "a result of another type": where(b'"content"', b'"result"', b'"error"'),
}
# Input of the server.
INPUT: Mapping[str, Change] = {
    "one byte of an argument": where(b'"tools/call"', b"which", b"Which"),
    "one space in an argument": where(b'"tools/call"', b'"arguments"', b'"arguments" '),
    "one byte of an answer": where(b'"decline"', b"decline", b"dEcline"),
}
FAULTS = {**OUTPUT, **INPUT}


def copy(source: BinaryIO, target: BinaryIO, change: Change | None) -> None:
    for line in source:
        changed = change(line) if change else None
        if changed is not None:
            # Once only.
            change = None
        target.writelines([line] if changed is None else changed)
        target.flush()
    target.close()


def main(kind: str, *command: str) -> int:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        ways = (sys.stdin.buffer, server.stdin, INPUT.get(kind))
        threading.Thread(target=copy, args=ways, daemon=True).start()
        copy(server.stdout, sys.stdout.buffer, OUTPUT.get(kind))
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
