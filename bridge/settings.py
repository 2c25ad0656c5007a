"""What one bridge is told to do: built once by the command line, handed down in parts, never changed."""

from pathlib import Path

import attrs

from ..transports.routes import Paths
from ..validators.limits import Limits


@attrs.frozen
class Settings:
    """`mcp-bridge --stdio ...` as understood. An empty or None member means that it was not asked for."""

    command: tuple[str, ...]
    environment: dict[str, str] = attrs.field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8808
    unix: Path | None = None
    authenticate: bool = True
    token_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    origins: frozenset[str] = frozenset()
    paths: Paths = attrs.field(factory=Paths)
    health: tuple[str, ...] = ("/healthz",)
    limits: Limits = attrs.field(factory=Limits)
    log_level: str = "info"
    log_format: str = "text"
    as_root: bool = False
    era: str = "auto"
    share: str = ""

    @property
    def scheme(self) -> str:
        """`https` where a certificate is given."""
        return "https" if self.tls_certificate else "http"
