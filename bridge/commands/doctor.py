"""What is wrong with this machine and this configuration, and how to mend it: `mcp-bridge doctor`."""

import os
import re
import resource
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..config import schema
from ..config.child_environment import named
from ..config.credentials import BOOT, BadCredential, default_token, directory_in
from ..config.executable import found_program, why_no_script
from ..config.helper_programs import Helpers
from ..config.schema import BadConfig
from ..config.settings import CONTROL, ServerConfig, Settings
from ..config.trust import replaceable_of, replaceable_places
from ..runtime.pinning import PinChecker, PinMismatch
from .control_client import NoDaemon, Refused, ask, call, result_of
from .running_daemon import Place, locate, not_in_path
from .threads import side_by_side

if TYPE_CHECKING:  # which loads the event loop
    from ..daemon.certificates import Loaded

GOOD: Final = "good"
DOUBTFUL: Final = "doubtful"
WRONG: Final = "wrong"

# How long before the end of a certificate it is mentioned.
_AHEAD: Final = timedelta(days=14)
# How long a server may take to start and to answer, in seconds.
_PATIENCE: Final = 20.0
# How many servers are looked at, or asked, at the same time.
_AT_ONCE: Final = 8
# The program that the first line of a script has looked for in PATH (env(1)).
_LOOKED_FOR: Final = re.compile(rb"#!\s*/usr/bin/env\s+(?:-S\s+)?([\w.+-]+)")
_FIRST_LINE: Final = 256
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


def _unseen(_text: str) -> None:
    """Show no progress."""


def examine(
    path: Path,
    environment: Mapping[str, str],
    place: Place | None = None,
    progress: Callable[[str], None] = _unseen,
) -> Iterator[Finding]:
    """Look at everything, and ask each server of a running daemon what it offers, which starts it if need be.

    `environment` is that of this shell. `progress` is called on other threads.
    """
    yield from _machine(environment)
    from ..daemon.app import check  # noqa: PLC0415 - which needs the event loop

    place = place or locate(path, environment)
    try:
        planned = schema.plan(path, place.environment)
        settings = schema.resolved(planned, Helpers(planned.limits.helper_seconds))
        certificate = check(settings, place.environment)
    except BadConfig as fault:
        yield Finding(WRONG, f"the configuration cannot be used: {fault}", _mend(path))
        return
    yield Finding(GOOD, f"{path}: {settings.own_servers} servers")
    yield from _surroundings(place, environment)
    yield from _default_token(settings, environment)
    yield from _certificate(certificate)

    def look(server: ServerConfig) -> list[Finding]:
        return [*_server(server, place, environment), *_replaceable(server)]

    counted = _Count("looked at", len(settings.servers), progress)
    for findings in side_by_side(look, settings.servers, _AT_ONCE, counted.one_more):
        yield from findings
    for reason in replaceable_places(settings):
        yield Finding(WRONG, f"listen: unix: {reason}", "choose a directory of your own")
    yield from _daemon(settings, place.unix or settings.unix, certificate, progress)


class _Count:
    """How many servers are done, for the progress that is shown."""

    def __init__(self, what: str, total: int, progress: Callable[[str], None]) -> None:
        self._what = what
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        """Show that one more is done."""
        with self._lock:
            self._done += 1
            self._progress(f"{self._what}: {self._done} of {self._total} servers")


def _surroundings(place: Place, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Compare what the daemon has with what this shell has."""
    if place.other is not None:
        yield Finding(
            DOUBTFUL,
            f"the daemon that runs reads {place.other} and not {place.file}",
            f"mcp-bridge doctor without --config looks at {place.other}",
        )
    if place.daemon is None:
        return
    lacking = not_in_path(environment, place.environment)
    yield Finding(
        GOOD,
        f"the PATH of the daemon is {place.environment.get('PATH', os.defpath)}"
        + (f"; that of this shell has {os.pathsep.join(lacking)} as well" if lacking else ""),
    )
    umask = _umask()
    if int(place.daemon.umask, 8) == umask:
        yield Finding(GOOD, f"servers write files with the umask of this shell, {umask:04o}")
    else:
        yield Finding(
            DOUBTFUL,
            f"servers write files with the umask {place.daemon.umask}, and that of this shell is {umask:04o}",
            f'umask = "{umask:04o}" in [servers.NAME], or take UMask= out of the unit, and restart the daemon',
        )


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


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


def _replaceable(server: ServerConfig) -> Iterator[Finding]:
    for reason in replaceable_of(server):
        yield Finding(
            WRONG,
            f"servers.{server.name}: others could replace what it executes: {reason}",
            "let nobody else write there, or use a copy of yours",
        )


def _default_token(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not settings.authenticate or settings.token_source not in ("", BOOT):
        return
    try:
        yield Finding(GOOD, f"the token is in {default_token(settings.token_source, environment)[0]}")
    except BadCredential as fault:
        yield Finding(WRONG, str(fault), "remove the file; the next start mints another token")


def _server(server: ServerConfig, place: Place, environment: Mapping[str, str]) -> Iterator[Finding]:
    if server.fault and not server.not_there:
        yield Finding(WRONG, f"servers.{server.name}: {server.fault}", _mend_fault(server.fault, environment))
        return
    program = found_program(server.launch.argv, server.launch.env)
    if program is None:
        yield _not_found(server, server.launch.argv[0], "there is no program {}", place, environment)
        return
    wanted = _looked_for(program)
    if wanted and found_program((wanted,), server.launch.env) is None:
        yield _not_found(server, wanted, f"the first line of {program} names {{}}", place, environment)
    why = why_no_script(program)
    if why:
        yield Finding(
            WRONG, f"servers.{server.name}: {program} cannot be executed: {why}", "correct the script"
        )
        return
    if server.pin or server.needs_pin:
        try:
            PinChecker().check(server)
        except PinMismatch as fault:
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


def _mend_fault(fault: str, environment: Mapping[str, str]) -> str:
    name, _, reason = fault.partition(": ")
    if name in environment and reason.startswith("there is no such variable"):
        return (
            f"this shell has it: systemctl --user import-environment {name}, and restart the daemon, "
            "or keep its value in a file"
        )
    return "it is failed until this is mended"


def _not_found(
    server: ServerConfig, program: str, told: str, place: Place, environment: Mapping[str, str]
) -> Finding:
    """Return what is wrong with a program that the server's PATH does not have, with the directory that has it."""
    where = f"servers.{server.name}: {told.format(repr(program))}"
    ours = None if "/" in program else shutil.which(program, path=environment.get("PATH", os.defpath))
    if ours is None:
        return Finding(WRONG, where, "install it, or name it with its absolute path")
    directory = os.path.dirname(ours)  # noqa: PTH120 - a text
    whose = "the daemon" if place.daemon is not None else "the server"
    return Finding(
        WRONG,
        f"{where} in the PATH of {whose}; that of this shell has it in {directory}",
        f'path = ["{directory}"] in [servers.{server.name}], or command with the absolute path {ours}, and mcp-bridge reload; '
        "or, for all servers, systemctl --user import-environment PATH, or systemctl --user edit mcp-bridge with "
        f"Environment=PATH={directory}:{place.environment.get('PATH', os.defpath)} below [Service], and "
        "systemctl --user restart mcp-bridge",
    )


def _looked_for(program: str) -> str:
    """Return the program that env(1) is to find for a script, if its first line says so."""
    try:
        with open(program, "rb") as file:  # noqa: PTH123 - a text
            found = _LOOKED_FOR.match(file.read(_FIRST_LINE))
    except OSError:
        return ""
    return found[1].decode() if found else ""


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


def _daemon(
    settings: Settings,
    unix: Path | None,
    certificate: "Loaded | None",
    progress: Callable[[str], None],
) -> Iterator[Finding]:
    if unix is None:
        yield Finding(DOUBTFUL, "listen: unix is false, so the daemon cannot be asked how it is")
        return
    try:
        answer = ask(unix, "GET", f"{CONTROL}/status")
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

    def question(server: ServerConfig) -> list[Finding]:
        if server.name in running:
            one = running[server.name]
            if one["state"] == "failed" and one["fault"] == server.fault:
                # It was found without the daemon.
                return []
            return [*_running(unix, one)]
        what = f"servers.{server.name}: the daemon does not know it yet"
        return [Finding(DOUBTFUL, what, "mcp-bridge reload")]

    counted = _Count("asked", len(settings.servers), progress)
    for findings in side_by_side(question, settings.servers, _AT_ONCE, counted.one_more):
        yield from findings


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
        # The lines after the first are the end of its stderr.
        reason, *lines = map(str.strip, str(fault).split("\n"))
        reason = "; ".join([reason, *(line for line in lines if line not in reason)])
        yield Finding(
            WRONG, f"servers.{one['name']}: it does not answer: {reason}", f"mcp-bridge logs {one['name']}"
        )
    else:
        yield Finding(GOOD, f"servers.{one['name']}: it answers, after {time.monotonic() - began:.1f} s")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(1)
        return sock.connect_ex((host, port)) != 0
