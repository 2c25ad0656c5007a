"""Return the default places of files, as the XDG Base Directory Specification 0.8 names them.

The working directory is never one of them, so that a project cannot bring a configuration.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path


def default_path(environment: Mapping[str, str]) -> Path:
    """Return the default path of the configuration file."""
    home = directory_in(environment, "XDG_CONFIG_HOME") or home_in(environment) / ".config"
    return home / "mcp-bridge" / "config.toml"


def default_socket(environment: Mapping[str, str]) -> Path:
    """Return the default path of the Unix socket."""
    return runtime_directory(environment) / "mcp-bridge.sock"


def stopping_path(socket: Path) -> Path:
    """Return the path of the Unix socket for `status` while the daemon with this socket stops."""
    return socket.with_name(f"{socket.name}.stopping")


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of files that are kept across boots."""
    state = directory_in(environment, "XDG_STATE_HOME") or home_in(environment) / ".local" / "state"
    return state / "mcp-bridge"


def runtime_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of files that must not outlive the boot; the state directory on a machine without one."""
    if named := directory_in(environment, "XDG_RUNTIME_DIR"):
        return named / "mcp-bridge"
    system = Path(f"/run/user/{os.geteuid()}")
    if _is_own_directory(system):
        return system / "mcp-bridge"
    return state_directory(environment)


def _is_own_directory(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def home_in(environment: Mapping[str, str]) -> Path:
    """Return the home directory of the user, or / where HOME does not name an absolute path."""
    return directory_in(environment, "HOME") or Path("/")


def directory_in(environment: Mapping[str, str], name: str) -> Path | None:
    """Return the directory that a variable names. A relative path is ignored, as the specification requires."""
    path = Path(environment.get(name) or ".")
    return path if path.is_absolute() else None
