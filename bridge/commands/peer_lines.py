"""Read the command lines of other bridges up to the server: where their options end, and what they spell otherwise.

yargs, which supergateway and mcp-proxy (npm) use, accepts `--base-url` for `--baseUrl`, and `--flag=true` or `--flag false` for
a flag.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from . import peer_client_options as client
from . import peer_server_options as server

# Options that take all words up to the next option.
_MANY: Final = frozenset({"--cors", "--allow-origin", "--allowed-host"})
# The number of values of options that are further names of ours. It is 1 for the others with a value.
_COUNTS: Final = {
    **{name: count for reasons in (server.IGNORED, server.REFUSED) for name, (count, _) in reasons.items()},
    **{name: count for reasons in (client.IGNORED, client.REFUSED) for name, (count, _) in reasons.items()},
    **dict.fromkeys(("-e", "--named-server", "-H", "--headers"), 2),
    **dict.fromkeys(
        ("--debug", "--stateful", "--no-auth", "--no-network", "--allow-root", "-h", "--help", "--version"), 0
    ),
}
# Flags of other bridges that yargs reads. `--no-flag` has no value.
_FLAGS: Final = frozenset({name for name, count in _COUNTS.items() if not count and name.startswith("--")})
_CAMEL: Final = (
    *(name for name in _COUNTS if re.search("[A-Z]", name) and name.startswith("--")),
    *("--outputTransport", "--ssePath", "--messagePath", "--streamableHttpPath", "--healthEndpoint"),
    *("--sessionTimeout", "--streamableHttp", "--sslCert", "--sslKey", "--upstreamProtocol"),
    *("--streamEndpoint", "--sseEndpoint", "--sessionIdleTimeout", "--requestTimeout", "--maxBodySize"),
)
_USUAL: Final[Mapping[str, str]] = {
    re.sub("[A-Z]", lambda found: f"-{found[0].lower()}", name): name
    for name in _CAMEL
    # A name of ours.
    if name != "--logLevel"
}
# Options that mcp-proxy (PyPI) also takes after the command. Here they are arguments of the server.
_AFTER: Final = frozenset(
    {
        "--port",
        "--host",
        "--sse-port",
        "--sse-host",
        "-e",
        "--env",
        "--cwd",
        "--named-server",
        "--allow-origin",
    }
    | {"--expose-header", "--stateless", "--no-stateless", "--pass-environment", "--named-server-config"}
)
_SWITCHES: Final = ("true", "false")


def end_of_options(arguments: Sequence[str]) -> int:
    """Return the position of the first word that is neither an option nor the value of one, or of `--`."""
    at = 0
    while at < len(arguments):
        name, equals, _ = arguments[at].partition("=")
        if name == "--" or not name.startswith("-"):
            return at
        at += 1
        if equals:
            continue
        name = _USUAL.get(name, name)
        if name in _MANY:
            most = len(arguments)
        elif name == "--stdio" or not (count := _COUNTS.get(name, 1)):
            most = int(name == "--stdio" or _is_switch(name, arguments[at : at + 1]))
        elif name == "--verify-ssl" and "://" in "".join(arguments[at : at + 1]):
            # Its value can be left out.
            most = 0
        else:
            most = count
        end = at + most
        while at < min(end, len(arguments)) and not arguments[at].startswith("-"):
            at += 1
    return at


def misplaced_option(command: Sequence[str]) -> str:
    """Return the first option after the name of a server's command that is one of mcp-proxy (PyPI); empty if none is."""
    return next((name for word in command[1:] if (name := word.partition("=")[0]) in _AFTER), "")


def _is_switch(name: str, following: Sequence[str]) -> bool:
    return name in _FLAGS and bool(following) and following[0] in _SWITCHES


def usual_spelling(arguments: Sequence[str]) -> list[str]:
    """Return arguments whose options are spelled as in the manuals of other bridges. A flag that is false is left out."""
    end = end_of_options(arguments)
    found: list[str] = []
    at = 0
    while at < end:
        name, equals, value = arguments[at].partition("=")
        name = _USUAL.get(name, name)
        at += 1
        if name in _FLAGS and (value in _SWITCHES or (not equals and _is_switch(name, arguments[at:end]))):
            if not equals:
                value = arguments[at]
                at += 1
            if value == "true":
                found.append(name)
            continue
        found.append(f"{name}{equals}{value}")
    return [*found, *arguments[end:]]
