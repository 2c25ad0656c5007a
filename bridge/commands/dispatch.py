"""One door for the person: the commands beside `mcp-bridge --stdio`. They talk to the daemon over its Unix socket.

Everything that a server or a client has said is escaped before it reaches the terminal.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, cast
from urllib.parse import quote

import attrs
import msgspec

from ...validators import stateless_request
from ..config import schema
from ..config.addresses import BadAddress, NotOurs, shown_address
from ..config.child_environment import named
from ..config.credentials import BOOT, BadCredential, new_token, read_secret, read_token, rotate_token
from ..config.helper_programs import Helpers
from ..config.import_clients import BadImport, import_servers
from ..config.schema import BadConfig
from ..config.settings import AGGREGATE, ALL, CONTROL, ServerConfig, Settings
from ..config.trust import replaceable_of, replaceable_places
from ..core.exit_codes import EX_CONFIG, EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNAVAILABLE, EX_USAGE
from ..log import LineLog, escaped, tell
from ..runtime.pinning import PinChecker, PinMismatch, Subject
from . import doctor
from .client_config import CLIENTS, client_config, connecting
from .completion import SHELLS, completion
from .control_client import NoDaemon, Refused, ask, call, follow, result_of
from .parser import COMMANDS, Parser, form_of
from .running_daemon import Place, locate, not_in_path
from .table import table
from .wrapper_options import options_parser

# The commands that work with the file of the running daemon. The others need no more of a file than where its socket is.
_OF_THE_DAEMON: Final = frozenset({"reload", "env", "config", "approve", "token", "client-config", "doctor"})
_WATCH_SECONDS: Final = 1.0
# A reload asks the helpers of all secrets, one after the other, and a restart may have to wait for it, in seconds.
_HELPERS_SECONDS: Final = 600.0
# `connect --wait`: a day, in seconds.
_LONGEST_WAIT: Final = 86400


def parser(form: str = "text") -> argparse.ArgumentParser:
    """The grammar of all commands, and the form of its errors."""
    top = Parser(prog="mcp-bridge", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)

    def command(name: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name], allow_abbrev=False)
        found.form = form
        found.add_argument(
            "--config", type=Path, metavar="FILE", help="the configuration (default: see mcp-bridge.toml(5))"
        )
        return found

    serve = command("serve")
    serve.add_argument("--allow-root", action="store_true", help="do not warn when running as root")
    serve.add_argument(
        "--log-format", choices=["text", "json"], help="for people or for machines (default: see log.format)"
    )
    status = command("status")
    status.add_argument("--json", action="store_true", help="for machines")
    status.add_argument("--watch", action="store_true", help="again every second")
    command("ps").add_argument("--json", action="store_true", help="for machines")
    logs = command("logs")
    logs.add_argument("server", metavar="NAME")
    logs.add_argument("-f", "--follow", action="store_true", help="and what comes from now on")
    command("tap").add_argument("server", metavar="NAME")
    command("tools").add_argument("server", metavar="NAME")
    called = command("call")
    called.add_argument("server", metavar="NAME")
    called.add_argument("tool", metavar="TOOL")
    called.add_argument(
        "arguments", metavar="ARGUMENTS", nargs="?", default="{}", help="a JSON object (default {})"
    )
    connected = command("connect")
    connected.add_argument("server", metavar="NAME|URL")
    connected.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the bearer token for a URL, in a file of mode 0600"
    )
    connected.add_argument(
        "--wait",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for a daemon that does not answer, or has ended (default 30; 0: not at all)",
    )
    command("restart").add_argument("server", metavar="NAME")
    command("reload")
    command("env").add_argument("server", metavar="NAME")
    configured = command("config")
    configured.add_argument("action", choices=["check", "show", "import", "schema"])
    configured.add_argument("file", nargs="?", type=Path, metavar="FILE", help="what to import")
    command("approve").add_argument("servers", nargs="+", metavar="NAME")
    tokens = command("token")
    tokens.add_argument("action", choices=["new", "list", "revoke", "rotate"])
    tokens.add_argument("name", nargs="?", metavar="NAME")
    tokens.add_argument(
        "--servers",
        nargs="+",
        default=["*"],
        metavar="SERVER",
        help="what a new token may use (default: all)",
    )
    clients = command("client-config")
    clients.add_argument("client", choices=CLIENTS)
    clients.add_argument("server", metavar="NAME")
    clients.add_argument(
        "--http", action="store_true", help="over HTTP, with the token, instead of by a command"
    )
    command("doctor")
    command("completion").add_argument("shell", choices=SHELLS)
    return top


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0 to {_LONGEST_WAIT}, unlike {text}")
    return seconds


def command(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Carry out one command, and answer the exit code."""
    given = _given(arguments)
    try:
        given.place = _place(given, environment)
        return _COMMANDS[given.command](given, given.place.file, environment)
    except (BadConfig, BadCredential, BadImport) as fault:
        return _failed(EX_CONFIG, str(fault))
    except (NoDaemon, NotOurs) as fault:
        return _failed(EX_UNAVAILABLE, str(fault))
    except BadAddress as fault:
        return _failed(EX_USAGE, str(fault))
    except (Refused, PinMismatch) as fault:
        return _failed(EX_FAILED, str(fault))
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:  # whoever read us has seen enough
        return EX_OK
    except (ConnectionError, TimeoutError, http.client.HTTPException) as fault:
        return _failed(EX_UNAVAILABLE, f"the daemon has not answered to the end: {fault}")
    except OSError as fault:  # most likely the disk that our output goes to is full
        return _failed(EX_FAILED, str(fault))


def _given(arguments: list[str]) -> argparse.Namespace:
    """Return what these arguments mean. Leaves with 64 for wrong usage."""
    # Of the others no program reads the errors as events.
    form = form_of(arguments) if arguments[0] == "serve" else "text"
    given, rest = parser(form).parse_known_args(arguments)
    if rest:
        usage = Parser(prog=f"mcp-bridge {given.command}")
        usage.form = form
        usage.error(f"unrecognized arguments: {' '.join(rest)}")
    return given


def _place(given: argparse.Namespace, environment: Mapping[str, str]) -> Place:
    """Return the file and the variables for a command, and name the file where it is the daemon's and not the usual one."""
    usual = schema.default_path(environment)
    if given.command not in _OF_THE_DAEMON or vars(given).get("action") == "schema":
        return Place(given.config or usual, environment)
    place = locate(given.config, environment)
    if given.config is None and place.file != usual:
        tell(f"mcp-bridge: {escaped(str(place.file))} is the configuration of the running daemon\n")
    return place


def _failed(code: int, text: str) -> int:
    tell("".join(f"mcp-bridge: {escaped(line)}\n" for line in text.splitlines()))
    return code


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# ---- the daemon itself


def _serve(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    from ..daemon.app import run  # noqa: PLC0415 - the other commands need no event loop

    log = LineLog(form=given.log_format or schema.log_format_of(path))
    log.take_over()
    try:
        # Absolute, because commands that are run elsewhere ask the daemon for it.
        settings = schema.plan(path.absolute(), environment, given.log_format or "")
    except (BadConfig, BadCredential) as fault:
        text = "\nmcp-bridge: ".join(map(escaped, str(fault).splitlines()))
        log.always("error", "cannot_start", text, reason=str(fault), code=EX_CONFIG)
        return EX_CONFIG
    return run(attrs.evolve(settings, as_root=given.allow_root), environment)


def _socket(path: Path, environment: Mapping[str, str]) -> Path:
    try:
        listen = schema.read(path).listen if path.exists() else schema.Listen()
    except BadConfig as fault:
        usual = schema.default_socket(environment)
        if not usual.exists():
            raise
        tell(f"mcp-bridge: {escaped(str(fault))}; asking the daemon at {usual}\n")
        return usual
    unix = schema.socket_of(listen.unix, environment)
    if unix is None:
        raise BadConfig(f"{path}: listen: unix is false, so the daemon cannot be asked")
    return unix


# ---- how it is


def _status(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    unix = _socket(path, environment)
    while True:
        answer = ask(unix, "GET", f"{CONTROL}/status")
        text = json.dumps(answer, indent=2) if given.json else _status_table(answer)
        if not given.watch:
            _say(text)
            return EX_OK
        _say(f"\x1b[2J\x1b[H{text}" if sys.stdout.isatty() else text)
        time.sleep(_WATCH_SECONDS)


def _status_table(answer: dict[str, Any]) -> str:
    head = (
        f"mcp-bridge {answer['version']}, pid {answer['pid']}, up {_duration(answer['uptime'])}, "
        f"{_size(answer['memory'])}, on {', '.join(_addresses(answer))}"
    )
    columns = (
        "server",
        "state",
        "era",
        "processes",
        "sessions",
        "in flight",
        "calls",
        "errors",
        "restarts",
        "memory",
    )
    rows = [
        (
            one["name"],
            one["state"],
            one["era"],
            len(one["pids"]),
            one["sessions"],
            one["in_flight"],
            one["calls"],
            one["errors"],
            one["restarts"],
            _size(one["memory"]),
        )
        for one in answer["servers"]
    ]
    lines = [escaped(head), table(columns, rows)]
    lines.extend(escaped(f"warning: {reason}") for reason in answer.get("warnings", ()))
    if answer.get("refusals"):
        counted = ", ".join(f"{kind} {count}" for kind, count in answer["refusals"].items())
        lines.append(escaped(f"refused: {counted}"))
    for one in answer["servers"]:
        lines.extend(
            escaped(f"{one['name']}: without {name}: {why}") for name, why in one.get("left_out", {}).items()
        )
        if one["last_exit"]:
            lines.append(escaped(f"{one['name']}: the last process {one['last_exit']}"))
            lines.extend(escaped(f"  {line}") for line in one["stderr"])
        if one["fault"].startswith("the last process "):
            lines.append(escaped(f"{one['name']}: {one['state']}: {one['fault']}"))
        # A daemon from before an update does not have it.
        if one.get("withheld"):
            lines.append(
                escaped(f"{one['name']}: set in the daemon and not passed: {named(one['withheld'])}")
            )
    return "\n".join(lines)


def _addresses(answer: dict[str, Any]) -> list[str]:
    """Return the addresses for clients: all that were passed to the daemon, or the one that it has bound itself."""
    # A daemon from before an update does not send them.
    return answer["addresses"] if answer.get("passed") else [answer["url"]]


def _passed_url(path: Path, environment: Mapping[str, str]) -> str:
    """Return the first TCP address that was passed to the running daemon; empty if there is none, or no daemon."""
    try:
        answer = ask(_socket(path, environment), "GET", f"{CONTROL}/status")
    except (BadConfig, NoDaemon, Refused, ConnectionError):
        return ""
    found = [one for one in _addresses(answer) if not one.startswith("unix:")] if answer.get("passed") else []
    return found[0] if found else ""


def _ps(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    answer = ask(_socket(path, environment), "GET", f"{CONTROL}/status")
    rows = [(pid, one["name"], " ".join(one["command"])) for one in answer["servers"] for pid in one["pids"]]
    if given.json:
        _say(json.dumps([{"pid": pid, "server": name} for pid, name, _ in rows]))
    else:
        _say(table(("pid", "server", "command"), rows))
    return EX_OK


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _logs(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    unix = _socket(path, environment)
    asked = f"{CONTROL}/logs?server={quote(given.server)}"
    for told in follow(unix, f"{asked}&follow=1") if given.follow else [ask(unix, "GET", asked)]:
        for entry in cast("list[dict[str, Any]]", told if isinstance(told, list) else [told]):
            _say(_entry(entry))
    return EX_OK


def _entry(entry: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["at"]))
    of = f" [{entry['pid']}]" if entry["pid"] else ""
    return escaped(f"{at}{of} {entry['kind']}: {entry['text']}")


def _tap(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    for one in follow(_socket(path, environment), f"{CONTROL}/tap?server={quote(given.server)}"):
        arrow = "->" if one["direction"] == "to server" else "<-"
        _say(escaped(f"{arrow} {one['line']}"))
    return EX_OK


def _connect(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    from .connect import Place, connect  # noqa: PLC0415 - the other commands need no event loop

    token = read_token(given.token_file) if given.token_file else ""
    if "://" in given.server:
        place = Place.at(given.server, token)
    elif token:
        raise BadAddress("--token-file goes with a URL; on the Unix socket your uid is the credential")
    else:
        place = Place.of_daemon(_socket(path, environment), given.server)
    connect(place, schema.limits_of(path, "" if "://" in given.server else given.server), given.wait)
    return EX_OK


def _restart(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    ask(
        _socket(path, environment),
        "POST",
        f"{CONTROL}/restart?server={quote(given.server)}",
        _HELPERS_SECONDS,
    )
    _say(f"{given.server}: restarted; calls in flight are answered by the former process")
    return EX_OK


def _reload(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    place: Place = given.place
    if place.other is not None:
        raise BadConfig(
            f"the daemon reads {place.other} and not {path}; without --config it reads its own file again"
        )
    try:
        changes = ask(place.unix or _socket(path, environment), "POST", f"{CONTROL}/reload", _HELPERS_SECONDS)
    except Refused as fault:
        raise BadConfig(str(fault)) from None
    for what in ("added", "changed", "removed", "kept"):
        if changes[what]:
            _say(f"{what}: {', '.join(changes[what])}")
    if changes["stale"]:
        tell(f"mcp-bridge: what has changed in {', '.join(changes['stale'])} needs a restart of the daemon\n")
    for reason in changes.get("warnings", ()):
        tell(f"mcp-bridge: warning: {escaped(reason)}\n")
    return EX_OK


# ---- a client at hand


def _tools(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    unix = _socket(path, environment)
    rows = [
        (tool["name"], ", ".join(tool.get("inputSchema", {}).get("properties", {})), _first_line(tool))
        for tool in _listed(unix, given.server)
    ]
    _say(table(("tool", "arguments", "description"), rows))
    return EX_OK


def _first_line(tool: Mapping[str, Any]) -> str:
    lines = str(tool.get("description", "")).strip().splitlines()
    return lines[0][:100] if lines else ""


def _listed(unix: Path, server: str) -> Iterable[dict[str, Any]]:
    known = [one["name"] for one in ask(unix, "GET", f"{CONTROL}/status")["servers"]]
    if server not in known:
        raise Refused(f"there is no server {server!r}; there are: {', '.join(known) or 'none'}")
    params: dict[str, object] = {}
    while True:
        result = result_of(call(unix, server, "tools/list", params))
        yield from result["tools"]
        if "nextCursor" not in result:
            return
        params = {"cursor": result["nextCursor"]}


def _call(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    try:
        arguments: Any = json.loads(given.arguments, parse_constant=_no_constant)
        json.dumps(arguments, ensure_ascii=False).encode()
    except ValueError as fault:
        return _failed(EX_USAGE, f"the arguments are no JSON: {fault}")
    if not isinstance(arguments, dict):
        return _failed(EX_USAGE, f"the arguments are a JSON object, not {given.arguments!r}")
    unix = _socket(path, environment)
    tool = next((tool for tool in _listed(unix, given.server) if tool["name"] == given.tool), None)
    if tool is None:
        raise Refused(
            f"{given.server} has no tool {given.tool!r}; `mcp-bridge tools {given.server}` lists them"
        )
    params: dict[str, object] = {"name": given.tool, "arguments": arguments}
    headers = _mirrored(tool, cast("dict[str, Any]", arguments))
    result = result_of(_shown(call(unix, given.server, "tools/call", params, headers)))
    blocks: Any = result.get("content")
    if not isinstance(blocks, list) or not blocks:
        blocks = [result]
    for block in cast("list[Any]", blocks):
        text: Any = cast("dict[str, Any]", block).get("text") if isinstance(block, dict) else None
        _say("\n".join(map(escaped, (text if isinstance(text, str) else json.dumps(block)).splitlines())))
    return EX_FAILED if result.get("isError") else EX_OK


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is none of its numbers")


def _shown(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if message.get("method") == "notifications/progress":
            params = message["params"]
            total = f"/{params['total']}" if "total" in params else ""
            said = f": {params['message']}" if "message" in params else ""
            tell(escaped(f"{params['progress']}{total}{said}") + "\n")
        yield message


def _mirrored(tool: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for mirror in stateless_request.mirrors(msgspec.json.encode(tool.get("inputSchema", {}))):
        value: Any = arguments
        for name in mirror.path:
            value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            headers[mirror.header] = stateless_request.encode_value(text)
    return headers


# ---- configurations


def _config(given: argparse.Namespace, path: Path, _environment: Mapping[str, str]) -> int:
    if given.file is not None and given.action != "import":
        return _failed(EX_USAGE, f"config {given.action} takes no FILE; say --config {given.file}")
    match given.action:
        case "schema":
            _say(json.dumps(schema.json_schema(), indent=2))
        case "check":
            from ..daemon.app import check  # noqa: PLC0415 - the other commands need no event loop

            settings = _resolved(path, given.place.environment)
            faults = [f"{path}: servers.{one.name}: {one.fault}" for one in settings.servers if one.fault]
            faults += [
                f"{path}: servers.{one.name}: others could replace what it executes: {reason}"
                for one in settings.servers
                for reason in replaceable_of(one)
            ]
            faults += [f"{path}: listen: unix: {reason}" for reason in replaceable_places(settings)]
            if faults:
                raise BadConfig("\n".join(faults))
            certificate = check(settings, given.place.environment)
            for reason in certificate.faults() if certificate else ():
                tell(f"mcp-bridge: warning: {path}: listen: tls_cert: {escaped(reason)}\n")
            _say(f"{path}: {settings.own_servers} servers, {len(settings.tokens)} tokens, no fault")
        case "show":
            _show(_resolved(path, given.place.environment))
        case _:
            if given.file is None:
                return _failed(EX_USAGE, "config import needs the FILE to import")
            return _import(given.file, path)
    return EX_OK


def _resolved(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings with the secrets of all servers that can be had. Raises BadConfig."""
    planned = schema.plan(path, environment)
    return schema.resolved(planned, Helpers(planned.limits.helper_seconds))


def _check_resolved(path: Path, server: ServerConfig) -> None:
    """Raise BadConfig for a server whose variables cannot all be had."""
    if server.fault and not server.not_there:
        raise BadConfig(f"{path}: servers.{server.name}: {server.fault}")


def _show(settings: Settings) -> None:
    _say(f"http   {settings.host}:{settings.port}" if settings.port is not None else "http   off")
    _say(f"unix   {settings.unix or 'off'}")
    for server in settings.servers:
        _say(f"\n{server.name}")
        for key, value in _effective(server):
            _say(escaped(f"  {key:<12}{value}"))


def _env(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    place: Place = given.place
    if place.daemon is None:
        tell("mcp-bridge: no daemon runs with this configuration; these are the variables of this shell\n")
    elif lacking := not_in_path(environment, place.environment):
        directories = escaped(os.pathsep.join(lacking))
        tell(f"mcp-bridge: the PATH of the daemon is not that of this shell, and lacks {directories}\n")
    servers = {server.name: server for server in _resolved(path, place.environment).servers}
    if given.server not in servers:
        raise BadConfig(f"{path}: {schema.why_not_served(given.server, schema.read(path), servers)}")
    _check_resolved(path, servers[given.server])
    for key, value in _variables(servers[given.server]):
        _say(escaped(f"{key}={value}"))
    return EX_OK


def _effective(server: ServerConfig) -> Iterable[tuple[str, str]]:
    launch = server.launch
    if server.fault:
        yield "failed", server.fault
    yield "command", " ".join(launch.argv)
    yield "cwd", launch.cwd or "that of the daemon"
    yield "umask", "that of the daemon's start" if launch.umask is None else f"{launch.umask:04o}"
    yield "tmp", "of its own" if launch.private_tmp else "shared"
    for name, limit in launch.rlimits.items():
        yield "rlimit", f"{name}={limit}"
    yield "share", server.share or "session; client or principal for stateless clients"
    yield "era", server.era
    yield "pin", server.pin or ("none, so it is not started" if server.needs_pin else "none")
    yield "features", f"deny {', '.join(server.without) or 'none'}"
    yield "tools", f"allow {', '.join(server.allow)}; deny {', '.join(server.deny) or 'none'}"
    for key, value in _variables(server):
        yield "env", f"{key}={value}"


def _variables(server: ServerConfig) -> Iterable[tuple[str, str]]:
    """What its processes have in their environment, without what must not be shown."""
    found = {key: "[secret]" if key in server.hidden else value for key, value in server.launch.env.items()}
    if server.launch.private_tmp:
        found["TMPDIR"] = "[a directory of its own]"
    for variable, header in server.from_headers.items():
        otherwise = f", or {found[variable]}" if variable in found else ""
        found[variable] = f"[the header {header} of the client{otherwise}]"
    return sorted(found.items())


def _import(file: Path, path: Path) -> int:
    known = list(schema.read(path).servers) if path.exists() else []
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as fault:
        raise BadImport(f"{file} cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise BadImport(f"{file} is not UTF-8 at byte {fault.start}") from None
    imported = import_servers(text, known)
    for note in imported.notes:
        tell(f"mcp-bridge: {escaped(note)}\n")
    _say(imported.toml)
    return EX_OK


def _approve(given: argparse.Namespace, path: Path, _environment: Mapping[str, str]) -> int:
    place: Place = given.place
    known = {one.name: one for one in _resolved(path, place.environment).servers if one.name != AGGREGATE}
    text = path.read_bytes().decode()
    approval = PinChecker()
    for name in given.servers:
        if name not in known:
            raise BadConfig(f"{path}: {schema.why_not_served(name, schema.read(path), known)}")
        _check_resolved(path, known[name])
        subject = approval.subject(known[name])
        text = schema.with_pin(text, name, subject.pin)
        _say(escaped(name))
        for key, value in _approved(subject):
            _say(escaped(f"  {key:<12}{value}"))
        for reason in subject.unknown:
            tell(f"mcp-bridge: warning: {escaped(f'{name}: {reason}')}; a change of that is not noticed\n")
        for file in subject.data:
            tell(f"mcp-bridge: {escaped(f'{name}: {file}')} is taken for data and is no part of the pin\n")
        here = {os.path.join(Path.cwd(), word) for word in subject.argv[1:] if not word.startswith("/")}  # noqa: PTH118
        if not subject.cwd and here & {file for file, _ in subject.files}:
            tell(
                f"mcp-bridge: {escaped(name)}: a file that is named without its directory is looked for in {Path.cwd()}; "
                "the daemon may run in another one, so set cwd\n"
            )
        if "/" not in subject.argv[0]:
            tell(
                f"mcp-bridge: {escaped(name)}: the daemon may find another program of this name in its PATH; "
                "an absolute path is always the same\n"
            )
    schema.rewrite(path, text)
    _tell_of_change(place)
    return EX_OK


def _tell_of_change(place: Place) -> None:
    if place.other is None:
        tell(f"mcp-bridge: {place.file} has changed; mcp-bridge reload tells the daemon\n")
    else:
        tell(f"mcp-bridge: {place.file} has changed; the daemon that runs reads {place.other}\n")


def _approved(subject: Subject) -> Iterable[tuple[str, str]]:
    yield "command", " ".join(subject.argv)
    yield "cwd", subject.cwd or "that of the daemon"
    yield "variables", ", ".join(sorted(subject.variables)) or "none of its own"
    for file, digest in subject.files:
        yield "file", f"{file} ({digest})"
    yield "pin", subject.pin


# ---- credentials


def _token(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    if given.action == "rotate":
        if given.name is not None:
            return _failed(
                EX_USAGE, "token rotate takes no NAME; `token revoke` and `token new` replace others"
            )
        return _rotate(given.place, environment)
    if given.action == "list":
        if given.name is not None:
            return _failed(EX_USAGE, "token list takes no NAME; it lists all")
        tokens = schema.read(path).tokens
        rows = [(name, ", ".join(one.servers), *_role(one)) for name, one in tokens.items()]
        _say(table(("token", "servers", "tools", "features"), rows))
        return EX_OK
    if given.name is None:
        return _failed(EX_USAGE, f"token {given.action} needs a NAME")
    file = schema.read(path)
    known = file.tokens
    text = path.read_bytes().decode()
    if given.action == "revoke":
        if given.name not in known:
            raise BadConfig(
                f"{path}: there is no token {given.name!r}; there are {', '.join(known) or 'none'}"
            )
        schema.rewrite(path, schema.without_token(text, given.name))
    else:
        schema.check_name("tokens", given.name)
        schema.check_rights(given.name, given.servers, file)
        if given.name in known:
            raise BadConfig(f"{path}: there is a token {given.name!r} already; revoke it first")
        token = new_token()
        schema.rewrite(path, schema.with_token(text, given.name, _hash_of(token), given.servers))
        _say(token)
        tell("mcp-bridge: the token is shown this once; only its hash is kept\n")
    _tell_of_change(given.place)
    return EX_OK


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _rotate(place: Place, environment: Mapping[str, str]) -> int:
    """Replace the default token, and let a running daemon read it."""
    path = place.file
    listen = schema.read(path).listen if path.exists() else schema.Listen()
    if listen.token not in ("", BOOT):
        raise BadConfig(
            f"{path}: listen: token names where the token is kept; put another one there, then mcp-bridge reload"
        )
    tell(
        f"mcp-bridge: {rotate_token(listen.token, environment)} holds a new token; the former one is refused\n"
    )
    _reload_if_running(place, environment)
    return EX_OK


def _reload_if_running(place: Place, environment: Mapping[str, str]) -> None:
    """Let the daemon read its files again, if one runs."""
    try:
        ask(place.unix or _socket(place.file, environment), "POST", f"{CONTROL}/reload", _HELPERS_SECONDS)
    except NoDaemon:
        pass
    except (BadConfig, Refused) as fault:
        tell(f"mcp-bridge: the daemon has not read its configuration again: {escaped(str(fault))}\n")


def _role(token: schema.Token) -> tuple[str, str]:
    """Which tools and features it may use."""
    tools = ", ".join(token.tools.get("allow", (ALL,))) or "none"
    denied, without = token.tools.get("deny", ()), token.features.get("deny", ())
    if denied:
        tools += f", not {', '.join(denied)}"
    return tools, f"{ALL}, not {', '.join(without)}" if without else ALL


def _client_config(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    settings = schema.plan(path, environment)
    known = [server.name for server in settings.servers]
    if given.server not in known:
        raise BadConfig(f"{path}: {schema.why_not_served(given.server, schema.read(path), known)}")
    if given.http:
        base = _passed_url(path, environment)
        if not (base or settings.port):
            raise BadConfig(f"{path}: listen: http names no port that a client could keep")
        base = base or shown_address(settings.scheme, (settings.host, settings.port))
        url = f"{base}/servers/{given.server}/mcp"
        try:
            client_config(given.client, given.server, url, "")
        except ValueError as fault:
            return _failed(EX_USAGE, str(fault))
        token = _token_of_client(given, settings, path, environment)
        pasted = client_config(given.client, given.server, url, token)
    else:
        # A client of the desktop has another PATH than a shell, and another directory.
        words = [os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0]), "connect", given.server]  # noqa: PTH100 - a link stays
        if given.config or path != schema.default_path(environment):
            words += ["--config", os.path.abspath(path)]  # noqa: PTH100 - likewise
        pasted = connecting(given.client, given.server, words)
    tell(f"mcp-bridge: {pasted.where}\n")
    _say(pasted.text.rstrip("\n"))
    return EX_OK


def _token_of_client(
    given: argparse.Namespace, settings: Settings, path: Path, environment: Mapping[str, str]
) -> str:
    """Return the token to paste: one of the client's own, unless the operator keeps the owner's token somewhere."""
    if not settings.authenticate:
        return ""
    if settings.token_source not in ("", BOOT) and settings.file:
        return read_secret(settings.token_source, environment, settings.file.parent)
    name = schema.token_name(given.client, given.server)
    token = new_token()
    text = path.read_bytes().decode()
    if name in schema.read(path).tokens:
        text = schema.with_key(text, "tokens", name, "sha256", _hash_of(token))
        tell(f"mcp-bridge: the token {name} is replaced; what was pasted with the former one is refused\n")
    else:
        text = schema.with_token(text, name, _hash_of(token), [given.server])
    schema.rewrite(path, text)
    tell(f"mcp-bridge: {path} has the token {name} now; `mcp-bridge token revoke {name}` takes it away\n")
    _reload_if_running(given.place, environment)
    return token


class _Progress:
    """The last line of the terminal, for how far a command is. Nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._lock = threading.Lock()

    def show(self, text: str) -> None:
        """Show this in place of what was shown before."""
        if self._shown:
            with self._lock:
                tell(f"\r\x1b[K{text}")

    def clear(self) -> None:
        """Leave the line to what comes now."""
        self.show("")


def _doctor(given: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> int:
    progress = _Progress()
    try:
        return _examined(doctor.examine(path, environment, given.place, progress.show), progress)
    finally:
        progress.clear()


def _examined(findings: Iterable[doctor.Finding], progress: _Progress) -> int:
    worst = EX_OK
    for finding in findings:
        progress.clear()
        _say(escaped(f"{finding.kind:<9} {finding.text}"))
        if finding.mend:
            _say(escaped(f"{'':<9} {finding.mend}"))
        if finding.kind == doctor.WRONG:
            worst = EX_FAILED
    return worst


def _completion(given: argparse.Namespace, _path: Path, _environment: Mapping[str, str]) -> int:

    _say(completion(given.shell, parser(), options_parser()))
    return EX_OK


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace, Path, Mapping[str, str]], int]]] = {
    "serve": _serve,
    "status": _status,
    "ps": _ps,
    "logs": _logs,
    "tap": _tap,
    "tools": _tools,
    "call": _call,
    "connect": _connect,
    "restart": _restart,
    "reload": _reload,
    "env": _env,
    "config": _config,
    "approve": _approve,
    "token": _token,
    "client-config": _client_config,
    "doctor": _doctor,
    "completion": _completion,
}
with contextlib.suppress(AttributeError, ValueError):
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
