"""Check what this machine can do to confine servers, and what the sandboxes of the servers leave open."""

import os
import subprocess
from collections.abc import Iterator
from typing import Final

from ....transports.options import Sandbox
from ...config.package_spec import is_runner, program_name
from ...config.sandbox import described, find_bwrap
from ...config.settings import ServerConfig, Settings
from .finding import ERROR, OK, WARNING, Finding

# Time for bwrap to start a program (seconds).
_BWRAP_SECONDS: Final = 10.0
_CONTAINERS: Final = frozenset({"docker", "podman", "nerdctl"})


def check_sandboxes(settings: Settings) -> Iterator[Finding]:
    """Yield what this machine can do, and the findings about each server with a sandbox. Starts bwrap, if it is installed."""
    from ....transports.process import confinement  # noqa: PLC0415 - ctypes, for this command and these servers only

    abi = confinement.landlock_abi()
    levels = {server.launch.sandbox.level for server in settings.servers}
    yield _landlock(abi, is_used="landlock" in levels)
    yield from _bwrap(is_used="bwrap" in levels)
    for server in settings.servers:
        yield from check_sandbox_of(server, abi)


def _landlock(abi: int, *, is_used: bool) -> Finding:
    from ....transports.process import confinement  # noqa: PLC0415 - as above

    if abi < confinement.FILES_ABI:
        text = f'Landlock has version {abi}, and sandbox = "landlock" needs {confinement.FILES_ABI}'
        fix = 'use Linux 6.2 or newer with landlock in lsm= of its command line, or sandbox = "bwrap"'
        return Finding(ERROR if is_used else OK, text, fix if is_used else "")
    covers = ["files"]
    covers += ["TCP ports"] if abi >= confinement.PORTS_ABI else []
    covers += ["signals and abstract sockets"] if abi >= confinement.SCOPES_ABI else []
    return Finding(OK, f"Landlock has version {abi}: {', '.join(covers)}")


def _bwrap(*, is_used: bool) -> Iterator[Finding]:
    program = find_bwrap()
    if not program:
        if is_used:
            yield Finding(
                ERROR, "bwrap is not installed", "install bubblewrap", ("sudo apt install bubblewrap",)
            )
        return
    reason = why_bwrap_fails(program)
    if not reason:
        yield Finding(OK, f"{program} works")
        return
    fix = (
        "permit user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone (Debian), "
        "kernel.apparmor_restrict_unprivileged_userns (Ubuntu, or a profile for bwrap)"
    )
    yield Finding(ERROR if is_used else OK, f"{program} does not work: {reason}", fix if is_used else "")


def why_bwrap_fails(program: str) -> str:
    """Return why bwrap cannot start a program in namespaces of its own; empty if it can."""
    words = [
        program,
        "--unshare-user",
        "--unshare-pid",
        "--unshare-net",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "true",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BWRAP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def check_sandbox_of(server: ServerConfig, abi: int) -> Iterator[Finding]:
    """Yield what the sandbox of a server permits, and what it leaves open. `abi` is the version of Landlock."""
    from ....transports.process import confinement  # noqa: PLC0415 - as above

    sandbox = server.launch.sandbox
    if server.fault or server.remote is not None or sandbox.is_default:
        return
    where = f"servers.{server.name}"
    yield Finding(OK, f"{where}: {described(sandbox)[0]}")
    if not sandbox.confines_files:
        return
    program, arguments = program_name(server.launch.argv[0]), server.launch.argv[1:]
    if program in _CONTAINERS:
        yield Finding(
            WARNING,
            f"{where}: the sandbox confines {program}, and not the container that it starts",
            f"limit the container itself: {program} run --read-only --network none --cap-drop ALL",
        )
    elif is_runner(program, arguments):
        yield Finding(
            WARNING,
            f"{where}: {program} needs the network and a cache that other servers execute, which the sandbox therefore permits",
            "install the package, and name the installed program in command",
        )
    if sandbox.level == "landlock" and abi < confinement.SCOPES_ABI:
        yield Finding(
            WARNING,
            f"{where}: this kernel does not keep the server from sending signals to your processes",
            'use Linux 6.12 or newer, or sandbox = "bwrap"',
        )
    yield from _wide(where, sandbox, server.launch.env.get("HOME", ""))


def _wide(where: str, sandbox: Sandbox, home: str) -> Iterator[Finding]:
    for key, paths in (("write", sandbox.write), ("read", sandbox.read)):
        for path in paths:
            if os.path.normpath(path) in {"/", home}:
                yield Finding(
                    WARNING,
                    f"{where}: {key} has {path}, with keys, settings of shells and other programs in it",
                    "name the directories that the server needs",
                )
