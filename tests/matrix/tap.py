"""`tap.py FILE COMMAND...`: run a stdio server, and note in FILE the method of each message that it receives and sends.

A line is `received METHOD` or `sent METHOD`, or `sent RESULT_TYPE` for a result that has one. Messages pass unchanged.
"""

import json
import os
import subprocess
import sys
import threading
from typing import BinaryIO


def name_of(line: bytes) -> str | None:
    message = json.loads(line)
    if "method" in message:
        return message["method"]
    result = message.get("result")
    return result.get("resultType") if isinstance(result, dict) else None


def copy(source: BinaryIO, target: BinaryIO, verb: str, notes: int) -> None:
    for line in source:
        if name := name_of(line):
            # One write, because two taps may share a file.
            os.write(notes, f"{verb} {name}\n".encode())
        target.write(line)
        target.flush()
    target.close()


def main(file: str, *command: str) -> int:
    notes = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        received = (sys.stdin.buffer, server.stdin, "received", notes)
        threading.Thread(target=copy, args=received, daemon=True).start()
        copy(server.stdout, sys.stdout.buffer, "sent", notes)
    # stdin may still be open, and a thread waits for it.
    os._exit(server.returncode)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
