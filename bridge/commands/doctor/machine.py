"""Check the machine, the token, the certificate, and how the daemon's surroundings differ from those of this shell."""

import os
import resource
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ...config.credentials import BOOT, BadCredential, default_token
from ...config.settings import Settings
from ...config.xdg import directory_in
from ..running_daemon import ConfigSource, not_in_path
from .finding import ERROR, OK, WARNING, Finding

if TYPE_CHECKING:
    # It loads the event loop.
    from ...daemon.certificates import Loaded

# A certificate that expires within this time is reported.
_EXPIRES_SOON: Final = timedelta(days=14)
# File descriptors of all connections, sessions and processes at the default limits.
_DESCRIPTORS: Final = 8192


def compare_surroundings(source: ConfigSource, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Compare the surroundings of the daemon with those of this shell."""
    if source.other is not None:
        yield Finding(
            WARNING,
            f"the running daemon uses {source.other}, not {source.file}",
            f"mcp-bridge doctor without --config checks {source.other}",
        )
    if source.daemon is None:
        return
    lacking = not_in_path(environment, source.environment)
    yield Finding(
        OK,
        f"the PATH of the daemon is {source.environment.get('PATH', os.defpath)}"
        + (f"; the PATH of this shell also has {os.pathsep.join(lacking)}" if lacking else ""),
    )
    umask = _umask()
    if int(source.daemon.umask, 8) == umask:
        yield Finding(OK, f"servers have the umask of this shell, {umask:04o}")
    else:
        yield Finding(
            WARNING,
            f"servers have the umask {source.daemon.umask}; this shell has {umask:04o}",
            f'set umask = "{umask:04o}" in [servers.NAME], or remove UMask= from the unit and restart the daemon',
        )


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def check_machine(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings about the runtime directory, the user and the limit of open files."""
    if runtime := directory_in(environment, "XDG_RUNTIME_DIR"):
        yield Finding(OK, f"XDG_RUNTIME_DIR is {runtime}")
    else:
        yield Finding(
            WARNING,
            "XDG_RUNTIME_DIR is not set, so the Unix socket is in a directory that is not cleared at boot",
            "log in through a systemd session, or set it to a directory of yours on a tmpfs",
        )
    if os.geteuid() == 0:
        yield Finding(WARNING, "running as root; servers would run as root too", "use a normal user")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < _DESCRIPTORS:
        yield Finding(
            WARNING,
            f"the limit of open files is {limit}; the default limits need {_DESCRIPTORS}",
            "raise LimitNOFILE= in the unit, or lower the limits of sessions and connections",
        )


def check_default_token(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield where the default token is, or why it cannot be used."""
    if not settings.authenticate or settings.token_source not in ("", BOOT):
        return
    try:
        yield Finding(OK, f"the token is in {default_token(settings.token_source, environment)[0]}")
    except BadCredential as fault:
        yield Finding(ERROR, str(fault), "remove the file; the next start creates another token")


def check_certificate(certificate: "Loaded | None") -> Iterator[Finding]:
    """Yield the findings about the TLS certificate, if one is configured."""
    if certificate is None:
        return
    faults = certificate.faults(_EXPIRES_SOON)
    for reason in faults:
        yield Finding(WARNING, reason, "replace the file, then run mcp-bridge reload")
    if not faults:
        yield Finding(OK, certificate.summary)
