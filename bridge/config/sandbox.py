"""Build the sandbox of a server from its keys: sandbox, sandbox_preset, read, write, connect and network."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from ...transports.options import WORKING_DIRECTORY, Launch, Sandbox
from ..core.sandbox_presets import BadPreset, preset_rules
from .child_environment import shown
from .package_spec import is_runner, program_name
from .schema import Server
from .xdg import default_path, runtime_directory, state_directory

# In `read` and `write`: the working directory, with `cwd = "client"` that of each client.
CWD: Final = "cwd"
_FILE_LEVELS: Final = ("landlock", "bwrap")
# The PATH of the server may have directories that servers write to.
_BWRAP_PATH: Final = "/usr/bin:/usr/local/bin:/run/current-system/sw/bin"
_NEEDS_FILES: Final = 'needs sandbox = "landlock" or "bwrap"'


class BadSandbox(ValueError):
    """Raised for a sandbox that is not possible. The text names the reason, `key` the key of the server."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key


def check_sandbox(server: Server) -> Iterator[tuple[str, str]]:
    """Yield the keys of a server that contradict each other, or are no paths, with the reasons. References are expanded."""
    if server.sandbox not in _FILE_LEVELS:
        for key in ("sandbox_preset", "read", "write", "connect"):
            if getattr(server, key):
                yield key, _NEEDS_FILES
    for key in ("read", "write"):
        for path in getattr(server, key):
            if path != CWD and not path.startswith("/"):
                yield key, f'must hold absolute paths, or "cwd" for the working directory, not {shown(path)}'
    if server.connect and server.network is False:
        yield "connect", "network = false permits no connection"


def sandbox_of(server: Server, launch: Launch, hidden: Iterable[str]) -> Sandbox:
    """Return the sandbox of a server whose references are expanded. Blocks. Raises BadSandbox.

    `launch` has the whole command and all variables. `hidden` are the files of mcp-bridge itself.
    """
    if server.sandbox not in _FILE_LEVELS:
        sandbox = Sandbox(network=server.network is not False)
        _check_machine(sandbox)
        return sandbox
    from .sandbox_paths import base_paths  # noqa: PLC0415 - for servers with a sandbox only

    try:
        preset = preset_rules(
            server.sandbox_preset,
            launch.argv,
            launch.env,
            downloads=is_runner(program_name(launch.argv[0]), launch.argv[1:]),
            has_write=bool(server.write),
        )
    except BadPreset as fault:
        raise BadSandbox("sandbox_preset", str(fault).partition(": ")[2]) from None
    base_read, base_write = base_paths(launch)
    sandbox = Sandbox(
        server.sandbox,
        tuple(dict.fromkeys((*base_read, *preset.optional_read))),
        base_write,
        _paths(server.read),
        tuple(dict.fromkeys((*preset.write, *_paths(server.write)))),
        tuple(hidden),
        server.connect,
        preset.network if server.network is None else server.network,
        find_bwrap() if server.sandbox == "bwrap" else "",
    )
    _check_machine(sandbox)
    return sandbox


def _paths(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(WORKING_DIRECTORY if path == CWD else path for path in paths)


def find_bwrap() -> str:
    """Return the path of bwrap(1), empty if it is not installed."""
    return shutil.which("bwrap", path=_BWRAP_PATH) or ""


def _check_machine(sandbox: Sandbox) -> None:
    """Check that this machine can confine a process as requested. Raises BadSandbox."""
    if sandbox.is_default:
        return
    # ctypes is for servers with a sandbox only.
    from ...transports.process import confinement  # noqa: PLC0415 - see above

    if sandbox.level == "bwrap" and not sandbox.bwrap:
        raise BadSandbox("sandbox", "bwrap is not installed; the package is bubblewrap")
    ports = bool(sandbox.connect) and sandbox.network
    try:
        confinement.check_abi(confinement.landlock_abi(), files=sandbox.level == "landlock", ports=ports)
        confinement.check_filter(os.uname().machine)
    except confinement.Unsupported as fault:
        raise BadSandbox("connect" if ports else "sandbox", str(fault)) from None


def why_path_missing(sandbox: Sandbox) -> tuple[str, str]:
    """Return the key and the reason of the first path of the configuration that does not exist; empty if all exist. Blocks."""
    for key, paths in (("read", sandbox.read), ("write", sandbox.write)):
        for path in paths:
            if not os.path.exists(path):  # noqa: PTH110 - returns False for a path that is too long
                return (
                    key,
                    f"{key}: there is no {path}; create it, because the sandbox is made of existing paths",
                )
    return "", ""


def own_files(file: Path, environment: Mapping[str, str], others: Iterable[Path]) -> tuple[str, ...]:
    """Return the files of mcp-bridge that no sandbox grants: configuration, tokens, logins, sockets, and `others`."""
    default = default_path(environment).parent
    places = {file, default, state_directory(environment), runtime_directory(environment), *others}
    return tuple(sorted(str(place) for place in places if place.is_absolute()))


def described(sandbox: Sandbox) -> list[str]:
    """Return what a sandbox permits, as lines for `config show` and `doctor`."""
    network = "yes" if sandbox.network else "no"
    if sandbox.network and sandbox.connect:
        network = f"TCP to the ports {', '.join(map(str, sandbox.connect))}"
    lines = [f"sandbox: {sandbox.level}, network {network}"]
    if sandbox.confines_files:
        names = (
            ("write", sandbox.write),
            ("read", sandbox.read),
            ("also write", sandbox.base_write),
            ("also read", [path for path in sandbox.base_read if os.path.exists(path)]),  # noqa: PTH110 - as above
            ("never, unless named", sandbox.hidden),
        )
        lines += [
            f"sandbox: {name}: {', '.join(CWD if path == WORKING_DIRECTORY else path for path in paths)}"
            for name, paths in names
            if paths
        ]
    return lines
