"""Explain a line of output by the sandbox of the process that printed it. Pure."""

import re
from typing import Final

from ...transports.options import Sandbox

_PRIVILEGES: Final = re.compile(
    r"no new privileges|effective uid is not 0|must be (?:setuid|owned by uid 0)|sudo: .*(?:root|privileges)",
    re.IGNORECASE,
)
_NAMESPACES: Final = re.compile(r"^bwrap: .*(?:namespace|uid map|NETLINK_ROUTE|RTM_NEWADDR)", re.IGNORECASE)
_MOUNTS: Final = re.compile(
    r"^bwrap: .*(?:mount|pivot|capset).*(?:not permitted|denied|Invalid argument)", re.IGNORECASE
)
_BWRAP_PROGRAM: Final = re.compile(r"^bwrap: execvp (.+): (?:No such file or directory|Permission denied)")
_NETWORK: Final = re.compile(
    r"\b(?:ENOTFOUND|EAI_AGAIN|ENETUNREACH|ECONNREFUSED)\b|getaddrinfo|name resolution|could not resolve host"
    r"|network is unreachable|socket: (?:permission denied|operation not permitted)"
    r"|\b(?:connect|listen|bind|socket)\b.*(?:EACCES|permission denied)",
    re.IGNORECASE,
)
_UNIX: Final = re.compile(
    r"(?=.*(?:EACCES|permission denied)).*(?:\.sock\b|dbus|/run/)|cannot connect to the docker daemon",
    re.IGNORECASE,
)
_READ_ONLY: Final = re.compile(r"read-only file system|\bEROFS\b", re.IGNORECASE)
_REFUSED: Final = re.compile(r"permission denied|operation not permitted|\b(?:EACCES|EPERM)\b", re.IGNORECASE)
_MISSING: Final = re.compile(
    r"no such file or directory|\bENOENT\b|cannot find module|ERR_MODULE_NOT_FOUND|No module named|init_fs_encoding",
    re.IGNORECASE,
)
_WRITES: Final = re.compile(
    r"\b(?:mkdir|write|create|rename|unlink|rmdir|copyfile|symlink|save|lock)\w*\b", re.IGNORECASE
)
_PATH: Final = re.compile(r"(?<![\w:./])(/[\w.@%+,~/-]*[\w@%+~/-])")
# A longer path is cut (characters).
_SHOWN: Final = 120


def sandbox_hint(line: str, sandbox: Sandbox) -> str:
    """Return which rule of the sandbox has probably caused a line, and what to change; empty if none has."""
    if _PRIVILEGES.search(line):
        return "no server gains privileges (no_new_privs): sudo and other set-user-ID programs have no effect"
    if sandbox.level == "bwrap" and _NAMESPACES.search(line):
        return "bwrap needs user namespaces, which this machine does not permit: run mcp-bridge doctor"
    if sandbox.level == "bwrap" and _MOUNTS.search(line):
        return (
            "bwrap may not mount here; the unit of the daemon must permit it (SANDBOX in mcp-bridge.toml(5))"
        )
    if sandbox.level == "bwrap" and (found := _BWRAP_PROGRAM.match(line)):
        return f"the sandbox does not contain the program {found[1][:_SHOWN]!r}: add its directory to read"
    if sandbox.level == "landlock" and _UNIX.search(line):
        return (
            'sandbox = "landlock" permits no Unix sockets: use sandbox = "bwrap", and name the socket in read'
        )
    # Python names no call and no path for a socket that is refused.
    if _NETWORK.search(line) or (_REFUSED.search(line) and not _PATH.search(line) and not sandbox.network):
        return _network_hint(sandbox)
    return _file_hint(line, sandbox) if sandbox.confines_files else ""


def _network_hint(sandbox: Sandbox) -> str:
    if not sandbox.network:
        return "its sandbox has no network: set network = true if it needs one"
    if sandbox.connect:
        ports = ", ".join(map(str, sandbox.connect))
        return f"its sandbox permits TCP to the ports {ports} only (connect); names are resolved at port 53"
    return ""


def _file_hint(line: str, sandbox: Sandbox) -> str:
    path = _PATH.search(line)
    named = f" {path[1][:_SHOWN]}" if path else " a path"
    level = f'sandbox = "{sandbox.level}"'
    if _READ_ONLY.search(line):
        return f"{level} refuses to change{named}: add its directory to write"
    if _REFUSED.search(line):
        key = (
            "write"
            if _WRITES.search(line) or (path and _is_covered(path[1], sandbox))
            else "read, or to write if it changes it"
        )
        return f"{level} probably refuses{named}: add its directory to {key}"
    # With landlock a missing path is missing. Libraries and interpreters are searched in other places after a refusal.
    if _MISSING.search(line) and not (path and _is_covered(path[1], sandbox)):
        return f"{level} may hide{named}: if it exists, add its directory to read"
    return ""


def _is_covered(path: str, sandbox: Sandbox) -> bool:
    """Return whether the process may read a path."""
    paths = (*sandbox.base_read, *sandbox.base_write, *sandbox.read, *sandbox.write)
    return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in paths)
