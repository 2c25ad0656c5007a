"""Check the program, the package and the container of a server, without running it."""

import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...config.executable import find_program, why_no_script, why_not_found, why_not_there
from ...config.package_spec import find_package
from ...config.settings import ServerConfig
from ...config.trust import replaceable_server_files
from ...runtime.pinning import PinChecker, PinMismatch
from ..running_daemon import ConfigSource
from .causes import install_commands, misspelt_fix
from .finding import ERROR, OK, WARNING, Finding

# The program that env(1) finds in PATH for the first line of a script.
_THROUGH_ENV: Final = re.compile(rb"#!\s*/usr/bin/env\s+(?:-S\s+)?([\w.+-]+)")
# Of a script (bytes).
_FIRST_LINE: Final = 256
_CONTAINERS: Final = frozenset({"docker", "podman"})


def check_server(
    server: ServerConfig, source: ConfigSource, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield the findings about the program, the pin, the directory and the package of a server."""
    if server.fault and not server.not_there:
        yield Finding(ERROR, f"{server.where}: {server.fault}", _fix_of_fault(server.fault, environment))
        return
    if server.remote is not None:
        yield Finding(OK, f"{server.where}: {server.remote.shown}")
        return
    program = find_program(server.launch.argv, server.launch.env)
    if program is None:
        yield _not_found(server, server.launch.argv[0], "", source, environment)
        return
    wanted = _interpreter_of(program)
    if wanted and find_program((wanted,), server.launch.env) is None:
        yield _not_found(server, wanted, f" (first line of {program})", source, environment)
    why = why_no_script(program)
    if why:
        yield Finding(ERROR, f"{server.where}: {program} cannot be executed: {why}", "correct the script")
        return
    if server.pin or server.needs_pin:
        try:
            PinChecker().check(server)
        except PinMismatch as fault:
            yield Finding(
                ERROR,
                f"{server.where}: {fault}",
                f"run mcp-bridge approve {server.name}",
                (f"mcp-bridge approve {server.name}", "mcp-bridge reload"),
            )
            return
    # The program is there, so the reason is the directory.
    if reason := why_not_there(server.launch):
        yield Finding(ERROR, f"{server.where}: {reason}", "create it")
    yield from _check_directories(server)
    if Path(program).stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield Finding(
            WARNING,
            f"{server.where}: {program} is set-user-ID or set-group-ID, which has no effect for servers",
            "run the daemon as the user whose permissions the server needs",
        )
    lacking = missing_container_options(server.launch.argv)
    if lacking:
        yield Finding(
            WARNING,
            f"{server.where}: {Path(program).name} run without {', '.join(lacking)}: the container may not stop with the server",
            f"use {Path(program).name} run --rm --init -i IMAGE",
        )
    package = find_package(server.launch.argv)
    if package and not package.is_pinned:
        yield Finding(
            WARNING,
            f"{server.where}: package version not pinned: {package.spec} may change at each start",
            f"pin a version, such as {package.spec}@1.2.3",
        )
    else:
        yield Finding(OK, f"{server.where}: {program}")


def _check_directories(server: ServerConfig) -> Iterator[Finding]:
    for directory in server.cwd_allowed:
        if not os.path.isdir(directory):  # noqa: PTH112 - a text
            yield Finding(
                WARNING,
                f"{server.where}: cwd_allowed: there is no directory {directory}",
                "create it, or remove it from cwd_allowed",
            )


def _fix_of_fault(fault: str, environment: Mapping[str, str]) -> str:
    # The text is that of `child_environment` for a variable that the daemon lacks.
    name, _, reason = fault.partition(": ")
    if name in environment and reason.startswith("there is no such variable"):
        return (
            f"this shell has it: run systemctl --user import-environment {name} and restart the daemon, "
            "or store its value in a file"
        )
    return "fix this; the server fails until then"


def _not_found(
    server: ServerConfig, program: str, note: str, source: ConfigSource, environment: Mapping[str, str]
) -> Finding:
    """Return the finding for a program that is not in the PATH of the server, with the directory in which this shell finds it."""
    text = f"{server.where}: {why_not_found(program)}{note}"
    ours = None if "/" in program else shutil.which(program, path=environment.get("PATH", os.defpath))
    if ours is None:
        fix = misspelt_fix(server.name, server.launch.argv, _programs(environment)) if not note else None
        if fix is not None:
            return Finding(ERROR, text, fix.text, fix.commands)
        commands = install_commands(program)
        return Finding(ERROR, text, "install it, or use its absolute path", commands)
    directory = os.path.dirname(ours)  # noqa: PTH120 - a text
    whose = "the daemon" if source.daemon is not None else "the server"
    return Finding(
        ERROR,
        f"{text} in the PATH of {whose}; this shell finds it in {directory}",
        f'set path = ["{directory}"] in [{server.where}], or use the absolute path {ours}, and run mcp-bridge reload; '
        "for all servers: systemctl --user import-environment PATH, or systemctl --user edit mcp-bridge with "
        f"Environment=PATH={directory}:{source.environment.get('PATH', os.defpath)} below [Service], then "
        "systemctl --user restart mcp-bridge",
        (f'path = ["{directory}"]', "mcp-bridge reload"),
    )


def _programs(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the programs in the PATH of this shell."""
    found: list[str] = []
    for directory in environment.get("PATH", os.defpath).split(os.pathsep):
        with suppress(OSError):
            found += os.listdir(directory)  # noqa: PTH208 - only names are needed
    return found


def _interpreter_of(program: str) -> str:
    """Return the program that the first line of a script runs through env(1), or an empty text."""
    try:
        with open(program, "rb") as file:  # noqa: PTH123 - a text
            found = _THROUGH_ENV.match(file.read(_FIRST_LINE))
    except OSError:
        return ""
    return found[1].decode() if found else ""


def missing_container_options(argv: tuple[str, ...]) -> list[str]:
    """Return the options that a command which starts a container should have and lacks.

    The bridge stops the client program, not the container. The container stops when its stdin is closed, if it has one and its
    first process handles signals as an init does.
    """
    if Path(argv[0]).name not in _CONTAINERS or "run" not in argv:
        return []
    given = set(argv[argv.index("run") + 1 :])
    letters = {letter for word in given if re.fullmatch("-[a-zA-Z]+", word) for letter in word}
    lacking = [option for option in ("--rm", "--init") if option not in given]
    return lacking if "i" in letters or "--interactive" in given else [*lacking, "-i"]


def check_replaceable(server: ServerConfig) -> Iterator[Finding]:
    """Yield an error for each file of a server that another user could replace."""
    for reason in replaceable_server_files(server):
        yield Finding(
            ERROR,
            f"{server.where}: other users could replace a file that it {'executes' if server.remote is None else 'reads'}: {reason}",
            "remove write permission for others, or use a copy of your own",
        )
