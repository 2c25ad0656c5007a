"""Read the keys of `requestState` that the replicas of a daemon share (core/request_state.SharedKeys)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..config.credentials import BadCredential, read_secret
from ..config.helper_programs import Helpers
from ..config.settings import Settings
from ..core.exit_codes import EX_CONFIG
from .errors import CannotStart

# The size of the smallest key (bytes). Signatures can be tested offline, so a key must not be guessable.
_SMALLEST: Final = 32


def read_state_keys(
    settings: Settings, environment: Mapping[str, str], helpers: Helpers | None = None
) -> tuple[str, ...]:
    """Return the keys that the settings name. Blocks, as long as a helper program runs. Raises CannotStart."""
    helpers = helpers or Helpers(settings.limits.helper_seconds)
    base = settings.file.parent if settings.file else Path.cwd()
    keys: list[str] = []
    for number, source in enumerate(settings.state_key_sources, 1):
        where = f"listen: request_state_keys: key {number}"
        try:
            key = read_secret(source, environment, base, helpers)
        except BadCredential as fault:
            raise CannotStart(EX_CONFIG, f"{where}: {fault}") from None
        size = len(key.encode())
        if size < _SMALLEST:
            text = f"{where} has {size} bytes; the smallest is {_SMALLEST}: head -c 32 /dev/urandom | base64"
            raise CannotStart(EX_CONFIG, text)
        if key in keys:
            raise CannotStart(EX_CONFIG, f"{where} is the same as key {keys.index(key) + 1}")
        keys.append(key)
    return tuple(keys)
