"""Read the bearer tokens that the TCP listener accepts: that of the owner, and those of the configuration."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from ...validators.bearer import TokenSet
from ..config.credentials import (
    BOOT,
    PRINCIPAL,
    BadCredential,
    default_token,
    default_token_directory,
    read_secret,
    read_token,
)
from ..config.helper_programs import Helpers
from ..config.settings import Settings
from ..core.exit_codes import EX_CONFIG
from .errors import CannotStart


@attrs.frozen
class Tokens:
    """The tokens that are accepted over TCP. `accepted` is None where authentication is disabled.

    `source` is the place of the owner's token, as a message may name it.
    """

    owner: str = attrs.field(repr=False)
    source: str
    accepted: TokenSet | None
    # The file of the default token, where that is the owner's token, and its identity when the file was read.
    default_file: Path | None = None
    identity: tuple[int, ...] = ()
    # The reason why a changed file cannot be used; empty otherwise.
    fault: str = ""

    @classmethod
    def read(
        cls, settings: Settings, environment: Mapping[str, str], helpers: Helpers | None = None
    ) -> "Tokens":
        """Read the tokens that the settings name. Blocks, as long as a helper program runs. Raises CannotStart."""
        helpers = helpers or Helpers(settings.limits.helper_seconds)
        if not settings.authenticate:
            return cls("", "", None)
        default_file: Path | None = None
        identity: tuple[int, ...] = ()
        try:
            if settings.token_source not in ("", BOOT):
                source = settings.token_source.partition(" ")[0]
                base = settings.file.parent if settings.file else Path.cwd()
                owner = read_secret(settings.token_source, environment, base, helpers)
            elif settings.token_file is not None:
                source, owner = str(settings.token_file), read_token(settings.token_file)
            else:
                default_file = default_token_directory(settings.token_source, environment) / "token"
                source = str(default_file)
                default_token(settings.token_source, environment)
                # Between creation and reading, so that the next look finds a change that comes in between.
                identity = _identity(default_file)
                owner = default_token(settings.token_source, environment)[1]
        except BadCredential as fault:
            where = "listen: token: " if settings.token_source else ""
            raise CannotStart(EX_CONFIG, f"{where}{fault}") from None
        try:
            accepted = TokenSet(
                {owner: PRINCIPAL},
                {token.sha256: token.name for token in settings.tokens},
                (PRINCIPAL,) if default_file else (),
            )
        except ValueError as fault:
            raise CannotStart(EX_CONFIG, f"the token from {source}: {fault}") from None
        return cls(owner, source, accepted, default_file, identity)

    @property
    def current_identity(self) -> tuple[int, ...]:
        """Return the identity of the file of the default token now; empty where there is none."""
        return () if self.default_file is None else _identity(self.default_file)

    @property
    def is_outdated(self) -> bool:
        """Return whether the file of the default token has changed since it was read."""
        return self.current_identity != self.identity


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
