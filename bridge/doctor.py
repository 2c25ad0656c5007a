"""What is wrong with this machine and this configuration, and how to mend it: `mcp-bridge doctor`."""

import os
import re
import resource
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from . import config
from .approval import Approval, NotApproved
from .asking import NoDaemon, Refused, ask, call, result_of
from .config import BadConfig
from .credentials import BOOT, BadCredential, default_token, directory_in
from .environment import named
from .helpers import Helpers
from .program import found_program
from .settings import CONTROL, ServerConfig, Settings
from .trust import replaceable_of, replaceable_places

if TYPE_CHECKING:  # which loads the event loop
    from .certificates import Loaded

GOOD: Final = "good"
DOUBTFUL: Final = "doubtful"
WRONG: Final = "wrong"

# How long before the end of a certificate it is mentioned.
_AHEAD: Final = timedelta(days=14)
# How long a server may take to start and to answer, in seconds.
_PATIENCE: Final = 20.0
# What every connection, session and process may need of descriptors at the default limits.
_DESCRIPTORS: Final = 8192
# Programs that fetch what they run, and the options of theirs that take no value.
_FETCHERS: Final = frozenset({"npx", "uvx", "bunx", "pnpx"})
_CONTAINERS: Final = frozenset({"docker", "podman"})
_PINNED: Final = re.compile(r"[^@]+(?:@|==)\d")


@attrs.frozen
class Finding:
    """`kind` is GOOD, DOUBTFUL or WRONG; `mend` is what to do about it."""

    kind: str
    text: str
    mend: str = ""


def examine(path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything, and ask each server of a running daemon what it offers, which starts it if need be."""
    yield from _machine(environment)
    from .daemon import check  # noqa: PLC0415 - which needs the event loop

    try:
        planned = config.plan(path, environment)
        settings = config.resolved(planned, Helpers(planned.limits.helper_seconds))
        certificate = check(settings, environment)
    except BadConfig as fault:
        yield Finding(WRONG, f"the configuration cannot be used: {fault}", _mend(path))
        return
    yield Finding(GOOD, f"{path}: {settings.own_servers} servers")
    yield from _default_token(settings, environment)
    yield from _certificate(certificate)
    for server in settings.servers:
        yield from _server(server)
    yield from _replaceable(settings)
    yield from _daemon(settings, certificate)


def _mend(path: Path) -> str:
    if path.exists():
        return "mcp-bridge config check says so again after you have mended it"
    return f"write {path}; mcp-bridge config import FILE makes one of what another client has"


def _machine(environment: Mapping[str, str]) -> Iterator[Finding]:
    if runtime := directory_in(environment, "XDG_RUNTIME_DIR"):
        yield Finding(GOOD, f"XDG_RUNTIME_DIR is {runtime}")
    else:
        yield Finding(
            DOUBTFUL,
            "XDG_RUNTIME_DIR is not set, so the Unix socket is in a directory that outlives the boot",
            "log in through a session of systemd, or set it to a directory of yours on a tmpfs",
        )
    if os.geteuid() == 0:
        yield Finding(DOUBTFUL, "you are root, and every server would be", "use an ordinary user")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < _DESCRIPTORS:
        yield Finding(
            DOUBTFUL,
            f"a process may have {limit} open files, and {_DESCRIPTORS} are needed at the default limits",
            "raise LimitNOFILE= of the unit, or lower the limits of sessions and connections",
        )


def _replaceable(settings: Settings) -> Iterator[Finding]:
    for server in settings.servers:
        for reason in replaceable_of(server):
            yield Finding(
                WRONG,
                f"servers.{server.name}: others could replace what it executes: {reason}",
                "let nobody else write there, or use a copy of yours",
            )
    for reason in replaceable_places(settings):
        yield Finding(WRONG, f"listen: unix: {reason}", "choose a directory of your own")


def _default_token(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not settings.authenticate or settings.token_source not in ("", BOOT):
        return
    try:
        yield Finding(GOOD, f"the token is in {default_token(settings.token_source, environment)[0]}")
    except BadCredential as fault:
        yield Finding(WRONG, str(fault), "remove the file; the next start mints another token")


def _server(server: ServerConfig) -> Iterator[Finding]:
    if server.fault and not server.not_there:
        yield Finding(WRONG, f"servers.{server.name}: {server.fault}", "it is failed until this is mended")
        return
    program = found_program(server.launch.argv, server.launch.env)
    if program is None:
        yield Finding(
            WRONG,
            f"servers.{server.name}: there is no program {server.launch.argv[0]!r}",
            "install it, or name it with its absolute path",
        )
        return
    if server.pin or server.needs_pin:
        try:
            Approval().check(server)
        except NotApproved as fault:
            yield Finding(WRONG, f"servers.{server.name}: {fault}", f"mcp-bridge approve {server.name}")
            return
    if server.launch.cwd is not None and not Path(server.launch.cwd).is_dir():
        yield Finding(WRONG, f"servers.{server.name}: cwd {server.launch.cwd} is no directory", "make it")
    if Path(program).stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield Finding(
            DOUBTFUL,
            f"servers.{server.name}: {program} is set-user-ID or set-group-ID, which has no effect for a server",
            "run the daemon as the user whose rights the server needs",
        )
    lacking = lacking_for_a_container(server.launch.argv)
    if lacking:
        yield Finding(
            DOUBTFUL,
            f"servers.{server.name}: its container may not hear it, or outlive it, without {', '.join(lacking)}",
            f"{Path(program).name} run --rm --init -i IMAGE",
        )
    package = unpinned(server.launch.argv)
    if package:
        yield Finding(
            DOUBTFUL,
            f"servers.{server.name}: W031: {package} is fetched in whatever version there is at each start",
            f"name a version, such as {package}@1.2.3",
        )
    else:
        yield Finding(GOOD, f"servers.{server.name}: {program}")


def unpinned(argv: tuple[str, ...]) -> str:
    """The package that a command fetches without naming a version, if it does (attacks V31)."""
    if Path(argv[0]).name not in _FETCHERS:
        return ""
    words = iter(argv[1:])
    for word in words:
        if word in ("--from", "--package", "-p"):
            word = next(words, "")  # noqa: PLW2901 - its value is the package
        elif word.startswith("-"):
            continue
        name = word.removeprefix("@")
        return "" if _PINNED.match(name) else word
    return ""


def lacking_for_a_container(argv: tuple[str, ...]) -> list[str]:
    """The options that a command which starts a container should have, and has not.

    The program that we end is not the container: that goes with its standard input, if it has one and its first process
    takes signals as an init does.
    """
    if Path(argv[0]).name not in _CONTAINERS or "run" not in argv:
        return []
    given = set(argv[argv.index("run") + 1 :])
    letters = {letter for word in given if re.fullmatch("-[a-zA-Z]+", word) for letter in word}
    lacking = [option for option in ("--rm", "--init") if option not in given]
    return lacking if "i" in letters or "--interactive" in given else [*lacking, "-i"]


def _certificate(certificate: "Loaded | None") -> Iterator[Finding]:
    if certificate is None:
        return
    faults = certificate.faults(_AHEAD)
    for reason in faults:
        yield Finding(DOUBTFUL, reason, "replace the file, then mcp-bridge reload")
    if not faults:
        yield Finding(GOOD, certificate.summary)


def _daemon(settings: Settings, certificate: "Loaded | None") -> Iterator[Finding]:
    if settings.unix is None:
        yield Finding(DOUBTFUL, "listen: unix is false, so the daemon cannot be asked how it is")
        return
    try:
        answer = ask(settings.unix, "GET", f"{CONTROL}/status")
    except (NoDaemon, Refused, ConnectionError) as fault:
        yield Finding(DOUBTFUL, str(fault), "systemctl --user start mcp-bridge, or mcp-bridge serve")
        if settings.port and not _is_free(settings.host, settings.port):
            yield Finding(
                WRONG,
                f"another program listens on {settings.host} port {settings.port}",
                "end it, or choose another port for listen.http",
            )
        return
    yield Finding(GOOD, f"the daemon answers: pid {answer['pid']}, version {answer['version']}")
    yield from _addresses(answer)
    used = answer.get("certificate")  # not sent by a daemon from before an update
    if used and certificate is not None and used != certificate.fingerprint:
        yield Finding(
            DOUBTFUL,
            f"the daemon uses another certificate than that in {certificate.file}",
            "mcp-bridge reload",
        )
    if answer.get("cgroup"):  # not said by a daemon from before an update
        yield Finding(GOOD, f"each server process has a cgroup of its own in {answer['cgroup']}")
    running = {one["name"]: one for one in answer["servers"]}
    for server in settings.servers:
        if server.name not in running:
            yield Finding(
                DOUBTFUL, f"servers.{server.name}: the daemon does not know it yet", "mcp-bridge reload"
            )
        else:
            yield from _running(settings.unix, running[server.name])


def _addresses(answer: dict[str, Any]) -> Iterator[Finding]:
    if "addresses" in answer:  # not sent by a daemon from before an update
        shown = ", ".join(answer["addresses"])
        passed = ", the sockets that were passed to it, and not on listen.http" if answer["passed"] else ""
        yield Finding(GOOD, f"it listens on {shown}{passed}")


def _running(unix: Path, one: dict[str, Any]) -> Iterator[Finding]:
    if one.get("withheld"):  # not said by a daemon from before an update
        yield Finding(
            DOUBTFUL,
            f"servers.{one['name']}: set in the daemon and not passed to it: {named(one['withheld'])}",
            'pass_env = ["NAME", "@GROUP"] passes those that it needs',
        )
    if one["state"] == "failed":
        yield Finding(
            WRONG,
            f"servers.{one['name']}: the daemon cannot start it: {one['fault']}",
            f"mend that, then mcp-bridge restart {one['name']}",
        )
        return
    if one["state"] == "failing":
        tail = one["stderr"][-1] if one["stderr"] else "it has said nothing on stderr"
        yield Finding(
            WRONG,
            f"servers.{one['name']}: it {one['last_exit']}, again and again: {tail}",
            f"mcp-bridge logs {one['name']}",
        )
        return
    if one["state"] == "silent":
        yield Finding(
            DOUBTFUL,
            f"servers.{one['name']}: a process of it does not answer; it hangs, or works on something for long",
            f"mcp-bridge restart {one['name']} starts it anew",
        )
    began = time.monotonic()
    try:
        result_of(call(unix, one["name"], "server/discover", {}, patience=_PATIENCE))
    except Refused as fault:
        yield Finding(
            WRONG, f"servers.{one['name']}: it does not answer: {fault}", f"mcp-bridge logs {one['name']}"
        )
    else:
        yield Finding(GOOD, f"servers.{one['name']}: it answers, after {time.monotonic() - began:.1f} s")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(1)
        return sock.connect_ex((host, port)) != 0
