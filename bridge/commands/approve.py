"""`mcp-bridge approve`: pin the commands of servers by a hash."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config import edit
from ..core.exit_codes import EX_OK
from ..log import escaped
from ..runtime.pinning import PinChecker, Subject
from .effective import find_process_server, resolved
from .invocation import Invocation
from .output import notice, print_json, print_line
from .reload import report_change


def approve(invocation: Invocation) -> int:
    """Write the pin of each named server into the configuration, and print what it covers. Raises BadConfig and PinMismatch.

    With `--definitions` the definitions of the servers are approved instead.
    """
    if invocation.options.definitions:
        from .approve_definitions import approve_definitions  # noqa: PLC0415 - only with this option

        return approve_definitions(invocation)
    source = invocation.source
    servers = [one for one in resolved(source.file, source.environment).servers if one.aggregate is None]
    text = source.file.read_bytes().decode()
    checker = PinChecker()
    found: list[dict[str, object]] = []
    for name in invocation.options.servers:
        server = find_process_server(source.file, servers, name)
        subject = checker.subject(server)
        text = edit.with_pin(text, name, subject.pin)
        found.append(_as_json(name, subject, allowed=server.cwd_allowed))
        if not invocation.options.json:
            print_line(escaped(name))
            for key, value in _rows(subject, "that of each client" if server.cwd_allowed else subject.cwd):
                print_line(escaped(f"  {key:<12}{value}"))
        for remark in _remarks(name, subject):
            notice(remark)
        if server.cwd_trust:
            notice(
                f"warning: {name}: cwd_trust is set, so the directory of a client may have code that is executed; "
                "changes to it are not detected"
            )
    edit.rewrite(source.file, text)
    if invocation.options.json:
        print_json(found)
    report_change(source)
    return EX_OK


def _as_json(name: str, subject: Subject, *, allowed: Sequence[str]) -> dict[str, object]:
    return {
        "server": name,
        "command": list(subject.argv),
        # The directory of the client is not pinned.
        "cwd": None if allowed else subject.cwd or None,
        "variables": sorted(subject.variables),
        "files": [{"file": file, "sha256": digest} for file, digest in subject.files],
        "pin": subject.pin,
    }


def _rows(subject: Subject, cwd: str) -> Iterator[tuple[str, str]]:
    yield "command", " ".join(subject.argv)
    yield "cwd", cwd or "inherited from the daemon"
    yield "variables", ", ".join(sorted(subject.variables)) or "none"
    for file, digest in subject.files:
        yield "file", f"{file} ({digest})"
    yield "pin", subject.pin


def _remarks(name: str, subject: Subject) -> Iterator[str]:
    for reason in subject.unknown:
        yield f"warning: {name}: {reason}; changes to it are not detected"
    for file in subject.data:
        yield f"{name}: {file} is treated as data and not covered by the pin"
    here = {os.path.join(Path.cwd(), word) for word in subject.argv[1:] if not word.startswith("/")}  # noqa: PTH118 - a text
    if not subject.cwd and here & {file for file, _ in subject.files}:
        yield (
            f"{name}: relative file names are resolved in {Path.cwd()}; "
            "the daemon may run in another directory, so set cwd"
        )
    if "/" not in subject.argv[0]:
        yield (f"{name}: the PATH of the daemon may have another program of this name; use an absolute path")
