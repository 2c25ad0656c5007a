"""`mcp-bridge check`: examine what servers offer, and report what is wrong or suspicious in it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ...validators.counted import counted
from ..config.package_spec import find_package
from ..config.settings import CONTROL, ServerConfig
from ..core.exit_codes import EX_FAILED, EX_OK
from ..core.findings import ERROR, WARNING, Finding
from ..core.server_check import Offer, about_server, check_offer, tools_of_others
from ..core.suggestion import alternatives
from ..log import escaped
from .control_client import ErrorResponse, request
from .doctor.unused import unused_features
from .invocation import BadUsage, Invocation
from .output import print_json, print_line, stdout_terminal
from .progress import Progress
from .server_lists import read_offer
from .text_width import wrapped
from .threads import AT_ONCE, map_in_threads

# The module of the command of an aggregate (config/load.py).
_AGGREGATE: Final = "mcpbridged.bridge.aggregate.server"
_INDENT: Final = " " * 8


def check(invocation: Invocation) -> int:
    """Print the findings about servers, and return 1 if one of them is an error. Raises Unreachable and ErrorResponse."""
    options = invocation.options
    if bool(options.servers) == options.all:
        raise BadUsage("check: name servers, or use --all")
    unix = invocation.socket()
    states = {one["name"]: one for one in request(unix, "GET", f"{CONTROL}/status")["servers"]}
    for name in options.servers:
        if name not in states:
            raise ErrorResponse(f"there is no server {name!r}{alternatives(name, [*states])}")
    own = [name for name, state in states.items() if not _is_aggregate(state)]
    names = [*dict.fromkeys(options.servers)] or own
    with Progress() as progress:
        tally = progress.count("checked", len(names))
        offers = [*map_in_threads(lambda name: read_offer(unix, name), names, AT_ONCE, tally.one_more)]
    found = {
        offer.server: [
            *check_offer(offer, tools_of_others(offers, offer.server)),
            *_about_state(states[offer.server], offer),
        ]
        for offer in offers
    }
    errors = sum(one.severity == ERROR for findings in found.values() for one in findings)
    if options.json:
        print_json(_as_json(offers, found, errors))
    else:
        for line in lines_of(offers, found, stdout_terminal(invocation.environment).width):
            print_line(line)
    return EX_FAILED if errors else EX_OK


def _is_aggregate(state: Mapping[str, Any]) -> bool:
    """Return whether a server has the definitions of others, which are checked by themselves."""
    return _AGGREGATE in state["command"]


def _about_state(state: Mapping[str, Any], offer: Offer) -> list[Finding]:
    """Return the findings about the command of a server and the use of its capabilities."""
    found: list[Finding] = []
    package = find_package(tuple(state["command"])) if state["command"] else None
    if package is not None and not package.is_pinned:
        found.append(
            about_server(
                WARNING,
                "package-unpinned",
                f"the version of the package {package.spec} is not pinned, so it may change at each start",
                f"pin a version, such as {package.spec}@1.2.3",
            )
        )
    if not _is_aggregate(state):
        found += [
            about_server(WARNING, "capability-unused", one.text, "; ".join([one.fix, *one.commands]))
            for one in unused_features(state, ServerConfig(offer.server), offer.capabilities, time.time())
        ]
    return found


def _as_json(
    offers: Sequence[Offer], found: Mapping[str, Sequence[Finding]], errors: int
) -> dict[str, object]:
    warnings = sum(map(len, found.values())) - errors
    return {
        "error": errors,
        "warning": warnings,
        "servers": [
            {
                "server": offer.server,
                "definitions": len([*offer.definitions]),
                "findings": [*map(attrs.asdict, found[offer.server])],
            }
            for offer in offers
        ],
    }


def lines_of(offers: Sequence[Offer], found: Mapping[str, Sequence[Finding]], width: int | None) -> list[str]:
    """Return the findings with their fixes, the errors of a server first, and a line for each server. Text of a server is escaped."""
    room = width and max(width - len(_INDENT), 1)
    lines: list[str] = []
    for offer in offers:
        findings = sorted(found[offer.server], key=lambda one: one.severity != ERROR)
        for one in findings:
            place = " ".join(filter(None, [one.kind, one.name, one.where]))
            text = f"{offer.server}: {place + ': ' if place else ''}{one.text} [{one.id}]"
            first, *others = wrapped(escaped(text), room)
            lines.append(f"{one.severity:<7} {first}")
            others += wrapped(escaped(one.fix), room)
            lines += [f"{_INDENT}{line}" for line in others]
        errors = sum(one.severity == ERROR for one in findings)
        count = counted(len([*offer.definitions]), "definition")
        summary = f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}"
        lines.append(escaped(f"{offer.server}: {count}: {summary if findings else 'no findings'}"))
    return lines
