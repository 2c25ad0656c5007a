"""Read the bearer tokens that the TCP listener accepts: that of the owner, and those of the configuration.

A token in a file is read again when the file has changed (`Tokens.renewed`), and taken only if it can be used. The former token
of the owner is valid for a while, unless it was the default token, which only a command replaces.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs

from ...validators.bearer import TokenSet, digest_of
from ..config.credentials import (
    BOOT,
    PRINCIPAL,
    BadCredential,
    default_token,
    default_token_directory,
    expand_home,
    is_file_source,
    read_secret,
    read_token,
)
from ..config.helper_programs import Helpers
from ..config.settings import Settings, TokenConfig
from ..core.exit_codes import EX_CONFIG
from .errors import CannotStart

_NEVER: Final = float("inf")
# The most former tokens of the owner that are valid at one time.
_MOST_FORMER: Final = 4
_CREDENTIAL: Final = "credential:"


@attrs.frozen
class Kept:
    """A token that is kept outside of the configuration.

    `file` and `identity` are its file and the identity of that when it was read; None and empty for the output of a program.
    """

    value: str = attrs.field(repr=False)
    source: str
    file: Path | None = None
    identity: tuple[int, ...] = ()

    @property
    def is_outdated(self) -> bool:
        """Return whether the file has changed since it was read."""
        return self.file is not None and identity_of(self.file) != self.identity


@attrs.frozen
class Former:
    """A digest of a token that was replaced, and until when it is valid (seconds since the epoch)."""

    digest: bytes = attrs.field(repr=False)
    until: float


@attrs.frozen
class Tokens:
    """The tokens that are accepted over TCP. `accepted` is None where authentication is disabled.

    `source` is the place of the owner's token, as a message may name it.
    """

    kept: Kept
    accepted: TokenSet | None
    settings: Settings
    # By name of the token of the configuration that has `secret`.
    named: Mapping[str, Kept] = attrs.field(factory=dict[str, Kept])
    # Whether the owner's token is the default token, which is valid for processes of this user only.
    is_default: bool = False
    former: tuple[Former, ...] = ()
    # The reasons why changed files cannot be used.
    faults: tuple[str, ...] = ()

    @property
    def owner(self) -> str:
        """Return the token of the owner; empty where authentication is disabled."""
        return self.kept.value

    @property
    def source(self) -> str:
        """Return the place of the owner's token."""
        return self.kept.source

    @property
    def secrets(self) -> list[str]:
        """Return all tokens that are kept outside of the configuration."""
        return [kept.value for kept in (self.kept, *self.named.values())]

    @classmethod
    def read(
        cls, settings: Settings, environment: Mapping[str, str], helpers: Helpers | None = None
    ) -> "Tokens":
        """Read the tokens that the settings name. Blocks, as long as a helper program runs. Raises CannotStart."""
        helpers = helpers or Helpers(settings.limits.helper_seconds)
        if not settings.authenticate:
            return cls(Kept("", ""), None, settings)
        where = "listen: token: " if settings.token_source else ""
        try:
            owner = _owner(settings, environment, helpers)
            named: dict[str, Kept] = {}
            for token in settings.tokens:
                if token.secret:
                    where = f"tokens.{token.name}: secret: "
                    named[token.name] = _kept(token.secret, settings, environment, helpers)
        except BadCredential as fault:
            raise CannotStart(EX_CONFIG, f"{where}{fault}") from None
        tokens = cls(owner, None, settings, named, is_default=_has_default(settings))
        return attrs.evolve(tokens, accepted=tokens.valid_at(time.time()))

    def valid_at(self, now: float) -> TokenSet:
        """Return the tokens that are valid at this time (seconds since the epoch). Raises CannotStart."""
        former = {one.digest: PRINCIPAL for one in self.former if now < one.until}
        digests: dict[bytes, str] = {}
        plain = {self.owner: PRINCIPAL}
        if len({self.owner, *(kept.value for kept in self.named.values())}) <= len(self.named):
            raise CannotStart(EX_CONFIG, "two credentials have the same token")
        for token in self.settings.tokens:
            if not now < _until(token.expires):
                continue
            if token.former and now < _until(token.former_expires):
                former[token.former] = token.name
            if token.sha256:
                digests[token.sha256] = token.name
            if token.name in self.named:
                plain[self.named[token.name].value] = token.name
        # A token that is current for one principal is not the former one of another.
        current = {*digests, *map(digest_of, plain)}
        digests |= {digest: name for digest, name in former.items() if digest not in current}
        try:
            return TokenSet(plain, digests, (PRINCIPAL,) if self.is_default else ())
        except ValueError as fault:
            sources = ", ".join(kept.source for kept in (self.kept, *self.named.values()))
            raise CannotStart(EX_CONFIG, f"the token from {sources}: {fault}") from None

    def next_end(self, now: float) -> float:
        """Return when the next of the tokens stops being valid (seconds since the epoch)."""
        ends = [former.until for former in self.former]
        for token in self.settings.tokens:
            ends += (_until(token.expires), _until(token.former_expires))
        return min((end for end in ends if end > now), default=_NEVER)

    def valid_names(self, now: float) -> set[str]:
        """Return the names of the tokens of the configuration that have not expired (seconds since the epoch)."""
        return {token.name for token in self.settings.tokens if now < _until(token.expires)}

    def overlap(self, before: "Tokens") -> float:
        """Return for how long the former token of the owner stays valid (seconds)."""
        return 0.0 if self.former == before.former else self.settings.token_overlap

    @property
    def is_outdated(self) -> bool:
        """Return whether a file of a token has changed since it was read."""
        return any(kept.is_outdated for kept in (self.kept, *self.named.values()))

    def renewed(self, environment: Mapping[str, str], now: float) -> "Tokens":
        """Return the tokens after a change of their files. Blocks. A token that cannot be used is not taken.

        No program is run. `faults` has the reasons for each token that was not taken.
        """
        faults: list[str] = []
        kept, former = self.kept, tuple(one for one in self.former if now < one.until)
        if kept.is_outdated:
            kept = self._read_again("listen: token: ", kept, faults, environment)
        if kept.value != self.owner and not self.is_default and self.settings.token_overlap:
            former = (
                *former[1 - _MOST_FORMER :],
                Former(digest_of(self.owner), now + self.settings.token_overlap),
            )
        named = {
            name: self._read_again(f"tokens.{name}: secret: ", one, faults, environment)
            if one.is_outdated
            else one
            for name, one in self.named.items()
        }
        found = attrs.evolve(self, kept=kept, named=named, former=former, faults=tuple(faults))
        try:
            return attrs.evolve(found, accepted=found.valid_at(now))
        except CannotStart as fault:
            # For example the same token in two files. The files are not read again before they change.
            current = {name: attrs.evolve(one, value=self.named[name].value) for name, one in named.items()}
            kept = attrs.evolve(kept, value=self.owner)
            return attrs.evolve(self, kept=kept, named=current, faults=(*faults, str(fault)))

    def _read_again(self, where: str, kept: Kept, faults: list[str], environment: Mapping[str, str]) -> Kept:
        assert kept.file is not None  # noqa: S101 - only a file is outdated
        identity = identity_of(kept.file)
        try:
            if kept is self.kept and self.is_default:
                # Generated where it is missing.
                value = default_token(self.settings.token_source, environment)[1]
            else:
                value = read_token(kept.file, is_credential=kept.source.startswith(_CREDENTIAL))
        except BadCredential as fault:
            faults.append(f"{where}{fault}")
            return attrs.evolve(kept, identity=identity)
        return attrs.evolve(kept, value=value, identity=identity or identity_of(kept.file))


def _has_default(settings: Settings) -> bool:
    return settings.token_source in ("", BOOT) and settings.token_file is None


def _owner(settings: Settings, environment: Mapping[str, str], helpers: Helpers) -> Kept:
    if settings.token_source not in ("", BOOT):
        return _kept(settings.token_source, settings, environment, helpers)
    if settings.token_file is not None:
        return _kept_in(settings.token_file)
    file = default_token_directory(settings.token_source, environment) / "token"
    default_token(settings.token_source, environment)
    # Between creation and reading, so that the next look finds a change that comes in between.
    identity = identity_of(file)
    return Kept(default_token(settings.token_source, environment)[1], str(file), file, identity)


def _kept(source: str, settings: Settings, environment: Mapping[str, str], helpers: Helpers) -> Kept:
    base = settings.file.parent if settings.file else Path.cwd()
    file = _file_of(source, environment, base)
    identity = () if file is None else identity_of(file)
    value = read_secret(source, environment, base, helpers)
    return Kept(value, source.partition(" ")[0], file, identity)


def _kept_in(file: Path) -> Kept:
    identity = identity_of(file)
    return Kept(read_token(file), str(file), file, identity)


def _file_of(source: str, environment: Mapping[str, str], base: Path) -> Path | None:
    if is_file_source(source):
        return base / expand_home(source)
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if source.startswith(_CREDENTIAL) and directory:
        return Path(directory) / source.removeprefix(_CREDENTIAL)
    return None


def _until(moment: datetime | None) -> float:
    return _NEVER if moment is None else moment.timestamp()


def expired(token: TokenConfig, now: float) -> bool:
    """Return whether a token of the configuration has expired (seconds since the epoch)."""
    return not now < _until(token.expires)


def identity_of(path: Path) -> tuple[int, ...]:
    """Return what a change of a file changes; empty for a missing file.

    A credential may be a link to a link that is replaced, so links are followed.
    """
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
