"""The service of one listener, shared by all its connections."""

from typing import Protocol

import attrs

from ...validators.http_head import Head
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ..options import both_spellings
from ..poller import Poller
from ..ports import Endpoint, Log
from ..rate_limited_log import RateLimitedLog
from ..ticker import Ticker
from .gate import UNKNOWN_PEER, Gate, KeysNeeded, Peer, unknown_origin
from .quota import Quota
from .refusals import Refusals


@attrs.frozen
class Service:
    """The gate, the routes and the limits of one listener, shared by all its connections."""

    limits: Limits
    gate: Gate
    route: "Route"
    ticker: Ticker
    poller: Poller
    log: Log
    quota: Quota
    refusals: Refusals = attrs.field(
        default=attrs.Factory(lambda self: Refusals(self.log), takes_self=True), eq=False
    )
    # Paths of the control endpoints, whose connections are counted apart.
    control: frozenset[str] = attrs.field(default=frozenset(), converter=both_spellings)
    rate_limited: RateLimitedLog = attrs.field(
        default=attrs.Factory(lambda self: RateLimitedLog(self.log), takes_self=True), init=False, eq=False
    )

    def still_admits(self, head: Head, principal: str, peer: Peer = UNKNOWN_PEER) -> bool:
        """Return whether a request would still be admitted: tokens and their rights may have changed since."""
        try:
            if self.gate.admit(head, unknown_origin, peer) == principal:
                self.route(head, principal)
                return True
        except Rejection as rejection:
            # The requests of a removed server are drained elsewhere.
            return rejection.status == 404
        except KeysNeeded:
            # The key of the token is not among the present ones.
            pass
        return False


class Route(Protocol):
    """Map a request of a principal to its endpoint. A result is valid while `generation` stays the same."""

    @property
    def generation(self) -> int: ...
    def __call__(self, head: Head, principal: str) -> Endpoint: ...
    def owner(self, path: str) -> str: ...
