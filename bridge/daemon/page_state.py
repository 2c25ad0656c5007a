"""The state of the daemon as the page at /admin shows it. docs/ADMIN.md documents the fields."""

import time

import msgspec

from ...transports.http.quota import Quota
from ..config.credentials import PRINCIPAL
from ..config.settings import ALL, Settings
from .running_config import RunningConfig
from .status import Status


class TokenUse(msgspec.Struct, frozen=True):
    """One token, without its value: its servers, its open connections, and when the last one was closed.

    `last_used` is in seconds since the epoch, 0 if it was not used since the start of the daemon.
    """

    name: str
    servers: tuple[str, ...]
    connections: int
    last_used: float


class PageState(msgspec.Struct, frozen=True):
    """The state. `at` is in seconds since the epoch; `actions` is whether the page can restart and reload."""

    at: float
    actions: bool
    status: Status
    tokens: tuple[TokenUse, ...]


def page_state(status: Status, config: RunningConfig, quota: Quota) -> bytes:
    """Return the state as JSON."""
    state = PageState(
        at=time.time(),
        actions=config.settings.admin.actions,
        status=status,
        tokens=token_uses(config.settings, quota),
    )
    return msgspec.json.encode(state)


def token_uses(settings: Settings, quota: Quota) -> tuple[TokenUse, ...]:
    """Return the use of each token, that of the owner first."""
    tokens = [(token.name, tuple(sorted(token.servers))) for token in settings.tokens]
    if settings.authenticate:
        tokens.insert(0, (PRINCIPAL, (ALL,)))
    return tuple(TokenUse(name, servers, *quota.use_of(name)) for name, servers in tokens)
