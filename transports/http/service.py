"""What one listener serves, shared by all its connections."""

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
from .gate import Gate
from .quota import Quota
from .refusals import Refusals


@attrs.frozen
class Service:
    """What one listener serves, shared by all its connections."""

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
    # The paths of the control endpoints, whose connections have places of their own.
    control: frozenset[str] = attrs.field(default=frozenset(), converter=both_spellings)
    rate_limited: RateLimitedLog = attrs.field(
        default=attrs.Factory(lambda self: RateLimitedLog(self.log), takes_self=True), init=False, eq=False
    )

    def still_admits(self, head: Head, principal: str) -> bool:
        """Whether who was let in would be now: a token may have been revoked since, or have lost its right to a server."""
        try:
            if self.gate.admit(head) == principal:
                self.route(head, principal)
                return True
        except Rejection as rejection:
            return rejection.status == 404  # what is gone is drained, and ends by itself
        return False


class Route(Protocol):
    """Which endpoint a principal's request is for. What it answered holds as long as `generation` stays the same."""

    @property
    def generation(self) -> int: ...
    def __call__(self, head: Head, principal: str) -> Endpoint: ...
