"""The options of other bridges for a stdio server: supergateway, mcp-proxy of npm, and mcp-proxy of PyPI.

Those that mean the same as an option of ours are further names of it. Those here are read otherwise, ignored with a notice, or
refused with a text that names what to write instead.
"""

import argparse
from functools import partial
from typing import Final

from .option_types import add_calling, add_foreign, file, milliseconds, origin, path, port, size

# The paths of the transports.
DEFAULT_PATHS: Final = {"mcp": "/mcp", "sse": "/sse", "messages": "/messages", "ws": "/ws", "pipe": "/pipe"}
# The transports by the names of supergateway, with the paths that each serves.
OUTPUTS: Final = {"streamableHttp": ("mcp",), "sse": ("sse", "messages"), "ws": ("ws",)}
# The same by the names of mcp-proxy (npm).
_OUTPUTS: Final = {"sse": "sse", "stream": "streamableHttp"}

# Options without effect: the number of their values, and the reason.
IGNORED: Final = {
    "--baseUrl": (1, "event streams name the path of their messages without a host"),
    "--header": (1, "responses have no additional headers; `connect URL` sends headers to a server"),
    "--stateless": (0, "clients choose: those of 2026-07-28 have no sessions, and the others do"),
    "--no-stateless": (0, "sessions are always stateful"),
    "--modern": (0, "clients of every revision are served"),
    "--no-modern": (0, "clients of every revision are served"),
    "--connectionTimeout": (1, "see --limit start_seconds=NUMBER"),
    "--keepAliveTimeout": (1, "streams are kept open by heartbeats; see --limit heartbeat_seconds=NUMBER"),
    "--eventStore": (0, "missed events can always be replayed"),
    "--no-eventStore": (0, "see --limit replay_bytes=NUMBER"),
    "--eventStoreMaxEvents": (1, "see --limit replay_bytes=NUMBER"),
    "--corsAddAllowedHeader": (1, "the headers that MCP clients need are allowed for each origin of --cors"),
    "--expose-header": (1, "the headers that MCP clients need are exposed to each origin of --cors"),
    "--no-pass-environment": (0, "the environment is always filtered; --env KEY passes a variable"),
    "--protocolVersion": (1, "clients of every revision are served"),
    "--gracefulShutdownTimeout": (1, "see --limit stop_seconds=NUMBER"),
    "--no-debug": (0, "see --log-level"),
}
_ON_COMMAND_LINE: Final = "a token on the command line is visible to every user of the machine"
# Options that are refused: the number of their values, and what to write instead.
REFUSED: Final = {
    "--token": (1, f"{_ON_COMMAND_LINE}; use --token-file FILE"),
    "--oauth2Bearer": (1, f"{_ON_COMMAND_LINE}; use `mcp-bridge connect URL --token-file FILE`"),
    "--apiKey": (1, f"{_ON_COMMAND_LINE}; --token-file FILE has the one that clients send as a bearer token"),
    "--shell": (0, "no shell is involved; to use one, run it as the server: --stdio -- sh -c 'COMMAND'"),
    "--tunnel": (
        0,
        "the bridge opens no tunnel; run one beside it, such as `ssh -R`, with its name in --allowed-host HOST",
    ),
    "--tunnelSubdomain": (
        1,
        "the bridge opens no tunnel; run one beside it, with its name in --allowed-host",
    ),
    "--sslCa": (1, "client certificates are not checked; --tls-cert has the certificate of the bridge"),
    "--pass-environment": (
        0,
        "servers get a filtered environment; pass the variables that a server needs: --env KEY, or --env-file FILE",
    ),
    "--named-server-config": (
        1,
        "convert it with `mcp-bridge config import FILE`, and run the result with `mcp-bridge serve`",
    ),
}


def _add_variable(
    _parser: argparse.ArgumentParser, options: argparse.Namespace, values: list[str], _: str
) -> None:
    options.env = [*options.env, "=".join(values)]


def add_origins(
    parser: argparse.ArgumentParser, options: argparse.Namespace, values: list[str], option: str
) -> None:
    """Add allowed origins, and explain why other bridges accept more than origins."""
    if not values or "*" in values:
        parser.error(
            f"{option}: not every origin can be allowed, because every web page could then use the server; "
            f"name those that may: {option} http://localhost:6274"
        )
    if any(value.startswith("/") for value in values):
        parser.error(f"{option}: patterns are not supported; name each origin, such as http://localhost:6274")
    try:
        options.cors = [*options.cors, *map(origin, values)]
    except argparse.ArgumentTypeError as fault:
        parser.error(f"argument {option}: {fault}")


def _add_limit(
    parser: argparse.ArgumentParser, options: argparse.Namespace, values: list[str], option: str
) -> None:
    """Set a limit under another name, and in the unit of that name."""
    try:
        if option == "--requestTimeout":
            limit = f"call_seconds={milliseconds(values[0]) / 1000}"
        else:
            limit = f"body={size(values[0])}"
    except argparse.ArgumentTypeError as fault:
        parser.error(f"argument {option}: {fault}")
    options.limit = [*options.limit, limit]


def _add_server(
    parser: argparse.ArgumentParser, options: argparse.Namespace, values: list[str], option: str
) -> None:
    if any(name == values[0] for name, _ in options.named_servers):
        parser.error(f"{option}: the server {values[0]} is given twice")
    options.named_servers = [*options.named_servers, (values[0], values[1])]


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, which `--help` does not list."""
    add_foreign(parser, IGNORED, REFUSED)
    add_calling(parser, "-e", 2, _add_variable)
    add_calling(parser, "--named-server", 2, _add_server)
    parser.set_defaults(named_servers=[])
    add = partial(parser.add_argument, help=argparse.SUPPRESS)
    add("--debug", dest="log_level", action="store_const", const="debug")
    # Of mcp-proxy (PyPI).
    add("--sse-host", dest="host")
    add("--sse-port", dest="port", type=port)
    add_calling(parser, "--allow-origin", "*", add_origins)
    # Of mcp-proxy (npm).
    add("--sslCert", dest="tls_cert", type=file)
    add("--sslKey", dest="tls_key", type=file)
    add("--upstreamProtocol", dest="era", choices=["auto", "legacy", "modern"])
    add("--streamEndpoint", dest="mcp_path", type=path)
    add("--sseEndpoint", dest="sse_path", type=path)
    add("--sessionIdleTimeout", dest="session_timeout", type=milliseconds)
    add("--server", dest="output_transport", type=_output)
    add("--endpoint", type=path)
    for name in ("--requestTimeout", "--maxBodySize"):
        add_calling(parser, name, 1, _add_limit)


def _output(text: str) -> str:
    try:
        return _OUTPUTS[text]
    except KeyError:
        raise argparse.ArgumentTypeError(f"must be {' or '.join(_OUTPUTS)}, not {text!r}") from None


def paths_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the path of each transport, empty for those that are not served."""
    paths: dict[str, str | None] = {name: getattr(options, f"{name}_path") for name in DEFAULT_PATHS}
    output = options.output_transport
    if output == "ws":
        # supergateway serves WebSocket at the path of messages.
        paths["ws"] = paths["ws"] or paths["messages"]
    elif output and options.endpoint:
        name = OUTPUTS[output][0]
        paths[name] = paths[name] or options.endpoint
    served = OUTPUTS[output] if output else tuple(DEFAULT_PATHS)
    return {name: (paths[name] or usual) if name in served else "" for name, usual in DEFAULT_PATHS.items()}
