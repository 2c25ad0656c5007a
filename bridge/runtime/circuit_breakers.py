"""Refuse to start a server whose processes keep exiting, without blocking other clients for one bad header value."""

import math
from typing import Final

import trio

from ...transports.options import Directory, SpawnFailed
from ...validators.rejection import SERVER_ERROR, Rejection, retry_after
from ..core.circuit_breaker import CircuitBreaker
from ..core.client_environment import NOTHING, ClientEnvironment
from ..core.start_errors import StartFault
from .pinning import PinMismatch
from .server_log import ServerLog
from .start_checks import CodeInDirectory, NotResolved

# A client can name any number of directories. Beyond this number the oldest breaker is dropped.
_MOST: Final = 1024


class CircuitBreakers:
    """The circuit breaker of one server, and one for each principal whose requests bring variables, or a directory."""

    def __init__(self, server_log: ServerLog, *, remote: bool = False) -> None:
        self._server_log = server_log
        self._remote = remote
        self._common = CircuitBreaker()
        # By principal and directory; added by `find`, removed there at the limit and by `on_tick` when no exit counts any more.
        self._of_principals: dict[tuple[str, Directory | None], CircuitBreaker] = {}

    @property
    def tripped(self) -> bool:
        """Whether starts of processes without variables of clients are refused."""
        return self._common.is_open(trio.current_time())

    @property
    def open_count(self) -> int:
        """The number of breakers that refuse starts."""
        now = trio.current_time()
        return sum(breaker.is_open(now) for breaker in (self._common, *self._of_principals.values()))

    def find(self, principal: str, client_environment: ClientEnvironment = NOTHING) -> CircuitBreaker:
        """Return the breaker of a process that gets these variables of a principal, or runs in this directory of it."""
        directory = client_environment.directory
        if client_environment.variables or directory is not None:
            breaker = self._of_principals.setdefault((principal, directory), CircuitBreaker())
            if len(self._of_principals) > _MOST:
                del self._of_principals[next(iter(self._of_principals))]
            return breaker
        return self._common

    def check(self, principal: str, client_environment: ClientEnvironment = NOTHING) -> None:
        """Raise Rejection 503 while starts are refused."""
        breaker = self.find(principal, client_environment)
        now = trio.current_time()
        if breaker.is_open(now):
            raise self.refusal(breaker, now, principal)

    def refusal(self, breaker: CircuitBreaker, now: float, principal: str) -> Rejection:
        """Return the error of a request of this principal that needs a start. `now` is in seconds."""
        pause = breaker.pause(now)
        event, again = "ended unexpectedly", "the next start"
        if self._remote:
            event, again = "could not be used", "the next attempt"
        text = f"the server {event} {breaker.failures} times within {breaker.window:g} s; {again} is in {pause:.0f} s"
        if last := self._server_log.history.last_failure(principal):
            text = f"{text}; the server {last}" if self._remote else f"{text}; the last time it {last}"
        data: dict[str, object] = {"reason": "restarts", "retry_after": math.ceil(pause)}
        return Rejection(503, SERVER_ERROR, text, headers=retry_after(pause), data=data)

    def not_started(self, fault: SpawnFailed, breaker: CircuitBreaker | None = None) -> None:
        """Record that no process could be started. `breaker` counts it where a program was executed in vain."""
        self._server_log.history.on_not_started(str(fault))
        if isinstance(fault, PinMismatch | NotResolved | CodeInDirectory):
            return
        self._server_log.history.on_start_failed(StartFault(f"was not started: {fault}"))
        if breaker is not None:
            breaker.on_failure(trio.current_time())

    def on_tick(self, now: float) -> None:
        """Remove the breakers of principals that count no exit any more. `now` is in seconds."""
        self._of_principals = {
            key: breaker for key, breaker in self._of_principals.items() if not breaker.is_closed(now)
        }

    def reset(self) -> None:
        """Drop every exit that was counted."""
        self._common = CircuitBreaker()
        self._of_principals.clear()
