"""Check the machine, the token, the certificate, and how the daemon's surroundings differ from those of this shell."""

import os
import resource
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ...config.credentials import BOOT, BadCredential, default_token, directory_in
from ...config.settings import Settings
from ..running_daemon import Place, not_in_path
from .finding import DOUBTFUL, GOOD, WRONG, Finding

if TYPE_CHECKING:
    # It loads the event loop.
    from ...daemon.certificates import Loaded

# A certificate that expires within this time is reported.
_EXPIRES_SOON: Final = timedelta(days=14)
# File descriptors of all connections, sessions and processes at the default limits.
_DESCRIPTORS: Final = 8192


def compare_surroundings(place: Place, environment: Mapping[str, str]) -> Iterator[Finding]:
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


def check_machine(environment: Mapping[str, str]) -> Iterator[Finding]:
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


def check_default_token(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not settings.authenticate or settings.token_source not in ("", BOOT):
        return
    try:
        yield Finding(GOOD, f"the token is in {default_token(settings.token_source, environment)[0]}")
    except BadCredential as fault:
        yield Finding(WRONG, str(fault), "remove the file; the next start mints another token")


def check_certificate(certificate: "Loaded | None") -> Iterator[Finding]:
    if certificate is None:
        return
    faults = certificate.faults(_EXPIRES_SOON)
    for reason in faults:
        yield Finding(DOUBTFUL, reason, "replace the file, then mcp-bridge reload")
    if not faults:
        yield Finding(GOOD, certificate.summary)
