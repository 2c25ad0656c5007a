"""The configuration that the daemon works with at present."""

import attrs

from ..config.settings import Settings
from .certificates import Loaded
from .sockets import Sockets
from .tokens import Tokens


@attrs.define(eq=False)
class RunningConfig:
    """The settings, the tokens and the sockets in use. Only `Daemon` and `Reloader` replace them, at a reload."""

    settings: Settings
    tokens: Tokens
    sockets: Sockets
    # The values that no reload changes, by their table in the file, as they were at the start.
    fixed: dict[str, tuple[object, ...]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.fixed = self.settings.fixed_values

    @property
    def certificate(self) -> Loaded | None:
        """Return the certificate of the TCP listener, or None without TLS."""
        return self.sockets.certificate

    @property
    def certificate_faults(self) -> list[str]:
        """Return why clients refuse the certificate, a sentence for each reason."""
        return [] if self.certificate is None else self.certificate.faults()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return all addresses that the daemon listens on, TCP before Unix."""
        return self.sockets.addresses(self.settings)

    @property
    def client_addresses(self) -> tuple[str, ...]:
        """Return the addresses for clients: those of all passed sockets, otherwise that of the first socket."""
        return self.addresses if self.sockets.passed else self.addresses[:1]
