"""Run a command with a planted fault: `damage.py KIND COMMAND...` passes its stdin and stdout, and damages messages on stdout."""

import json
import subprocess
import sys

DROPPED = {
    "no elicitation": "elicitation/create",
    "no sampling": "sampling/createMessage",
    "no progress": "notifications/progress",
    "no log message": "notifications/message",
    "no change": "notifications/resources/updated",
}


def damaged(kind: str, line: bytes) -> bytes:
    """Return the line with the fault, or nothing."""
    message = json.loads(line)
    if kind == "another letter":
        return line.replace("é".encode(), b"e").replace(b"\\u00e9", b"e")
    if kind == "no error":
        return line.replace(b'"isError":true', b'"isError":false')
    return b"" if message.get("method") == DROPPED[kind] else line


def main() -> int:
    kind, *command = sys.argv[1:]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            sys.stdout.buffer.write(damaged(kind, line))
            sys.stdout.buffer.flush()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
