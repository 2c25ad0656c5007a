"""The command lines of other bridges for a remote server, as arguments of `connect URL`.

They are those of mcp-remote, of mcp-proxy of PyPI, and of supergateway with --sse or --streamableHttp. An option without a
counterpart is ignored with a notice, or refused with a text that names what to write instead.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from .option_types import add_calling, add_foreign
from .output import notice
from .parser import Parser

_URL: Final = re.compile(r"(?:https?|wss?)://", re.IGNORECASE)
# Options with the URL of a server, and its transport.
_URL_OPTIONS: Final = {"--sse": "sse", "--streamableHttp": "http"}
# The transports of other bridges. Those that try one after the other are detected.
_TRANSPORTS: Final = {
    "sse": "sse",
    "streamablehttp": "http",
    "http-only": "http",
    "sse-only": "sse",
    "http-first": "auto",
    "sse-first": "auto",
}
_KEPT: Final = "the login is kept for each server, and `mcp-bridge login URL` has its options"
# Options without effect: the number of their values, and the reason.
IGNORED: Final = {
    "--outputTransport": (1, "the output is stdio"),
    "--logLevel": (1, "connect writes errors only"),
    "--log-level": (1, "connect writes errors only"),
    "--debug": (0, "connect writes errors only"),
    "--no-debug": (0, "connect writes errors only"),
    "--silent": (0, "connect writes errors only"),
    "--allow-http": (0, "http:// is allowed; only credentials need https:// or this machine"),
    "--enable-proxy": (0, "the proxy variables of the environment are used; see --proxy"),
    "--host": (1, "the redirect of a login goes to 127.0.0.1"),
    "--callback-path": (1, "the redirect of a login has a path of its own"),
    "--auth-success-url": (1, "the page after a login is part of the bridge"),
    "--auth-timeout": (1, _KEPT),
    "--resource": (1, "the resource of a login is the URL"),
    "--headers-timeout": (1, "see the table limits of the configuration"),
    "--body-timeout": (1, "an idle stream is kept"),
    "--keep-alive": (0, "an idle stream is kept, and a lost one is opened again"),
    "--ping-interval": (1, "an idle stream is kept, and a lost one is opened again"),
    "--disable-cookies": (0, "no cookies are kept"),
    "--ipv4": (0, "all addresses of a name are tried"),
    "--protocolVersion": (1, "the revision is that of the client, and is translated for the server"),
    "--protocol": (1, "the revision is that of the client, and is translated for the server"),
}
_ON_COMMAND_LINE: Final = "a secret on the command line is visible to every user of the machine"
# Options that are refused: the number of their values, and what to write instead.
REFUSED: Final = {
    "--oauth2Bearer": (1, f"{_ON_COMMAND_LINE}; use --token-file FILE"),
    "--client-secret": (1, f"{_ON_COMMAND_LINE}; use --client-secret-file FILE"),
    "--token-url": (1, "the token endpoint is discovered; see `mcp-bridge connect --help` for OAuth clients"),
    "--username": (1, "use --header-file FILE with a line `Authorization: Basic ...`"),
    "--password": (1, f"{_ON_COMMAND_LINE}; use --header-file FILE with a line `Authorization: Basic ...`"),
    "--digest": (0, "digest authentication is not part of MCP; use --header-file FILE or OAuth"),
    "--no-verify-ssl": (0, "certificates are always checked; name the authority with --ca-file FILE"),
    "--ignore-tool": (
        1,
        "add the server to the configuration with `url` and `tools.deny`, and use `mcp-bridge connect NAME`",
    ),
    "--authorize-param": (1, "additional parameters of a login are not supported"),
    "--disable-resource-parameter": (0, "MCP requires the resource parameter of a login (RFC 8707)"),
    "--static-oauth-client-metadata": (
        1,
        "use --client-metadata-url, or scopes in the table oauth of the configuration",
    ),
    "--static-oauth-client-info": (1, "use --client-id and --client-secret-file FILE"),
    "--client-credentials": (
        0,
        "a login is that of a user; get a token from the authorization server, and use --token-file FILE",
    ),
    "--token-endpoint": (1, "the token endpoint is discovered"),
    "--device-code": (
        0,
        "run `mcp-bridge login URL`; if the browser is on another machine, paste the URL of its last page there",
    ),
    "--use-id-token": (0, "MCP servers get the access token of a login"),
}


def is_client_line(arguments: Sequence[str], end: int) -> bool:
    """Return whether these arguments connect to a URL. `end` is where the options before the URL or the server end."""
    names = [word.partition("=")[0] for word in arguments[:end]]
    if "--stdio" in names:
        return False
    return any(name in _URL_OPTIONS for name in names) or any(map(_URL.match, arguments[end : end + 1]))


def _verify(values: list[str], _: str) -> list[str]:
    # mcp-proxy (PyPI): a file, or whether certificates are checked.
    return [] if values[0].lower() in ("true", "1", "yes", "on") else ["--ca-file", *values]


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the value of --verify-ssl in one word."""
    found: list[str] = []
    for word in arguments:
        if found and found[-1] == "--verify-ssl" and not word.startswith("-") and not _URL.match(word):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return [word for word in found if word != "--verify-ssl"]


def connect_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `connect` that mean the same. Exits with 64 for an option that is refused."""
    parser = Parser(prog="mcp-bridge", allow_abbrev=False, add_help=False)
    found: list[str] = []

    def convert(
        name: str, count: int, convert_values: Callable[[list[str], str], list[str]], *more: str
    ) -> None:
        def on_option(
            _parser: argparse.ArgumentParser, _options: argparse.Namespace, values: list[str], option: str
        ) -> None:
            found.extend(convert_values(values, option))

        add_calling(parser, name, count, on_option, *more)

    add_foreign(parser, IGNORED, REFUSED)
    for name in _URL_OPTIONS:
        convert(name, 1, lambda values, option: [*values, "--transport", _URL_OPTIONS[option]])
    convert("--transport", 1, lambda values, option: [option, _TRANSPORTS.get(values[0], values[0])])
    convert("--headers", 2, lambda values, _: ["--header", ": ".join(values)], "-H")
    convert("--connect-timeout", 1, lambda values, _: ["--wait", *values])
    convert("--verify-ssl", 1, _verify)
    _, rest = parser.parse_known_args(
        [
            "--no-verify-ssl" if re.match("--verify-ssl=(?:false|0|no|off)\\Z", word) else word
            for word in _joined(arguments)
        ]
    )
    if any("${" in word for word in rest):
        parser.error("variables in --header are not replaced; use --header-file FILE with a line NAME: VALUE")
    for i, (word, following) in enumerate(pairwise(rest)):
        # mcp-remote: the port of the redirect.
        if _URL.match(word) and following.isdecimal():
            notice(f"the port {following} is ignored: a login uses a free port")
            del rest[i + 1]
            break
    return [*rest, *found]
