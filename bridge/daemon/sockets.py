"""Open the sockets of the daemon, or take over those that the service manager has passed, and load the certificate."""

import socket
from collections.abc import Mapping
from pathlib import Path

from ...transports.http.listen import CannotListen, bind_tcp, bind_unix, passed_sockets
from ..config.addresses import is_loopback_host, shown_address
from ..config.credentials import BadCredential, check_key, check_trusted
from ..config.settings import Settings
from ..config.xdg import runtime_directory
from ..core.exit_codes import EX_CONFIG, EX_TEMPFAIL
from .certificates import BadCertificate, CertificateFiles, Loaded, load
from .errors import CannotStart


class Sockets:
    """The listening sockets, which are open before any process is started. Raises CannotStart."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.tcp: list[socket.socket] = []
        self.unix: list[socket.socket] = []
        # Whether the service manager has passed sockets (LISTEN_FDS, sd_listen_fds(3)).
        self.passed = False
        # The path of the Unix socket that this process has bound.
        self._bound: Path | None = None
        # A reload reads the same files, because a change of [listen] needs a restart.
        self._certificate_files = certificate_files(settings)
        self.certificate = load_certificate(self._certificate_files)
        try:
            self._take_over(environment, others=not is_loopback_host(settings.host))
            self._bind(settings, runtime_directory(environment))
        except CannotListen as fault:
            raise CannotStart(EX_TEMPFAIL if fault.in_use else EX_CONFIG, str(fault)) from None

    def load_certificate(self) -> Loaded | None:
        """Load the certificate that is in the file now. Blocks. Raises CannotStart."""
        return load_certificate(self._certificate_files)

    def _take_over(self, environment: Mapping[str, str], *, others: bool) -> None:
        for sock in passed_sockets(environment, others=others):
            (self.unix if sock.family == socket.AF_UNIX else self.tcp).append(sock)
            self.passed = True

    def _bind(self, settings: Settings, runtime: Path) -> None:
        # The service manager decides about TCP where it has passed sockets. The commands always need a Unix socket.
        if settings.port is not None and not (self.tcp or self.unix):
            self.tcp.append(bind_tcp(settings.host, settings.port))
        if settings.unix is not None and not self.unix:
            if settings.unix.parent == runtime:
                _make(runtime)
            self.unix.append(bind_unix(settings.unix))
            self._bound = settings.unix

    def close(self) -> None:
        """Close the sockets, and remove the name of a Unix socket that this process has bound."""
        for sock in (*self.tcp, *self.unix):
            sock.close()
        if self._bound is not None:
            self._bound.unlink(missing_ok=True)

    @property
    def unix_path(self) -> Path | None:
        """Return the path of the first Unix socket that is not in the abstract namespace."""
        names = [sock.getsockname() for sock in self.unix]
        return next((Path(name) for name in names if isinstance(name, str)), None)

    def addresses(self, settings: Settings) -> tuple[str, ...]:
        """Return all addresses, TCP before Unix. The host is that of the configuration where this process has bound it."""
        names = [sock.getsockname() for sock in self.tcp]
        if not self.passed:
            names = [(settings.host, name[1]) for name in names]
        names += [sock.getsockname() for sock in self.unix]
        return tuple(shown_address(settings.scheme, name) for name in names)


def certificate_files(settings: Settings) -> CertificateFiles | None:
    """Return the files of the listener, or None without TLS."""
    if not (settings.tls_certificate and settings.tls_key):
        return None
    return CertificateFiles(
        settings.tls_certificate, settings.tls_key, settings.tls_client_ca, settings.requires_certificate
    )


def load_certificate(files: CertificateFiles | None) -> Loaded | None:
    """Load the certificate of the listener, or return None without TLS. Blocks. Raises CannotStart."""
    if files is None:
        return None
    try:
        loaded = load(files)
        check_key(files.key)
        if files.client_ca is not None:
            check_trusted(files.client_ca)
    except BadCredential as fault:
        raise CannotStart(EX_CONFIG, str(fault)) from None
    except BadCertificate as fault:
        raise CannotStart(
            EX_CONFIG,
            f"the TLS certificate {files.certificate} or its key {files.key} cannot be used: {fault}",
        ) from None
    return loaded


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise CannotStart(EX_CONFIG, f"{directory} cannot be made: {fault.strerror}") from None
