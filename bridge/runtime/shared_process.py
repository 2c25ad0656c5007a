"""Connect the pure `SharedUpstream` to the sessions that share one legacy process.

Each event is processed in the task that brings it, without `await`. No message waits for a client: it enters the bounded
send queue of a stream, or that stream is closed.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol, assert_never

import trio

from ...transports.ports import ServerConnection
from ...transports.rate_limited_log import RateLimitedLog
from ...validators import jsonrpc
from ...validators.jsonrpc import Message, Request, Response
from ...validators.limits import Limits
from ...validators.rejection import INTERNAL_ERROR, SERVER_ERROR
from ..core.attribution import Client, Origins
from ..core.client_environment import NOTHING, ClientEnvironment
from ..core.effects import LogDebug, ServerRequestRefused, StartProcess, ToServer
from ..core.errors import fault_text
from ..core.extensions import Found
from ..core.front import Front
from ..core.shared_effects import (
    Assigned,
    CallsLost,
    Effect,
    FrontOpened,
    KillProcess,
    LogOnly,
    Opened,
    RareEffect,
    ToFront,
    Undeclared,
    Unopened,
)
from ..core.shared_upstream import SharedUpstream
from .message_reader import INVALID_RESPONSE, MessageReader
from .process_owner import send_line
from .server_log import ServerLog
from .shared_members import Member, SharedMembers, Stateless
from .taps import Sender

# How many log messages of the server that belong to no single client are logged in a second, and how long each (bytes).
_LOGGED: Final = 100
_LOGGED_BYTES: Final = 1024


class SharedProcessHooks(Protocol):
    """What a shared process needs of its server."""

    def start_process(self, process: "SharedProcess", /) -> None:
        """Start a process."""
        ...

    def on_opened(self, process: "SharedProcess", /) -> None:
        """Note that the process has accepted `initialize`."""
        ...

    def on_unopened(
        self, process: "SharedProcess", otherwise: Callable[[], None], /, *, refused: bool
    ) -> None:
        """Find out the era, because `initialize` has failed. `otherwise` is called if the server speaks no other era."""
        ...

    def on_start_timeout(self, process: "SharedProcess", /, text: str) -> tuple[str, dict[str, object]]:
        """Record a failed start with this reason. Return the text and the data of the error."""
        ...

    def on_fault(self, fault: Exception, /) -> None:
        """Log an error of the bridge that has ended one session."""
        ...


class SharedProcess:
    """The sessions of one key and their process (ProcessOwner).

    With `era_unknown` the era of the server is not certain until a child has accepted `initialize`.
    """

    speaks_modern = False

    def __init__(
        self,
        principal: str,
        limits: Limits,
        server_log: ServerLog,
        upstream: SharedUpstream,
        hooks: SharedProcessHooks,
        *,
        era_unknown: bool,
        client_environment: ClientEnvironment = NOTHING,
    ) -> None:
        self.principal = principal
        self.client_environment = client_environment
        self.touched = 0.0
        self.ended = False
        self.era_unknown = era_unknown
        # Set when a process has accepted `initialize`, or none will.
        self.era_resolved = trio.Event()
        self._log = server_log
        self._rate_limited = RateLimitedLog(server_log)
        self._upstream = upstream
        self._hooks = hooks
        self._members = SharedMembers(hooks.on_fault)
        self._child: ServerConnection | None = None
        # ProcessOwner.on_line.
        gate = server_log.gate
        self.on_line = MessageReader(
            limits,
            server_log,
            self._from_server,
            self._on_invalid_line,
            None if gate is None else gate.for_server(self._on_invalid_line, self._send_line),
        ).on_line
        # How many log messages of the server may be logged until the next tick.
        self._log_budget = _LOGGED

    @property
    def calling(self) -> bool:
        """Whether a call is in flight."""
        return self._upstream.calling

    @property
    def era_unresolved(self) -> bool:
        """Whether a failure may only mean that the server speaks another era (ProcessOwner)."""
        return self.era_unknown

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept its `initialize` (ProcessOwner)."""
        return True

    @property
    def opening(self) -> bool:
        """Whether `era_resolved` will be set."""
        return self._upstream.is_opening

    @property
    def busy(self) -> bool:
        """Whether there is a session, or a stateless client waits for a message."""
        return self._members.busy

    @property
    def principals(self) -> Collection[str]:
        """The principals whose requests the process has received (ProcessOwner)."""
        return self._members.principals

    @property
    def members(self) -> tuple[Member, ...]:
        """The sessions, and the stateless clients of each key."""
        return tuple(self._members)

    @property
    def origins(self) -> Origins:
        """The calls of the process, for a translator."""
        return self._upstream.origins

    def sender(self, wire_id: bytes) -> Sender:
        """Return the client of a request at the server (ProcessOwner)."""
        origin = self._upstream.origins.get(wire_id)
        found = None if origin is None else self._members.sender(origin.owner, wire_id)
        if found is not None:
            return found
        principals = tuple(self.principals)
        return Sender(principals[0] if len(principals) == 1 else "")

    # ---- sessions

    def join_stateless(self, front: Front, member: Stateless) -> None:
        """Add the stateless clients of a key."""
        self._members.add_stateless(front, member)
        self._perform(self._upstream.attach(front))

    def introduce(self, info: bytes, declared: Found) -> None:
        """Add the clientInfo (JSON) and the declared extensions of a stateless client."""
        self._upstream.set_client_info(info)
        self._upstream.add_extensions(declared)

    def unassigned(self, message: Request, client: Client) -> None:
        """Assign a request of the server to another call of this client (LegacyAdapter)."""
        self._perform(self._upstream.reassign(message, client))

    def join(self, front: Front, member: Member) -> None:
        """Add a session."""
        self._members.add(front, member)
        self._perform(self._upstream.attach(front))

    def leave(self, front: Front) -> None:
        """Remove a session."""
        if self._members.remove(front):
            self._perform(self._upstream.detach(front))

    def hand_over(self, front: Front) -> list[tuple[Request, bytes]]:
        """Remove and return the requests of a session that another process must get (SharedUpstream)."""
        return self._upstream.hand_over(front)

    def send(self, front: Front, message: Message, token: bytes = b"") -> None:
        """Send a message of a session to the server."""
        self._perform(self._upstream.on_front_message(front, message, token))

    # ---- ProcessOwner

    def is_served_by(self, child: ServerConnection) -> bool:
        """Return whether this is the current process."""
        return self._child is child

    def on_start(self, child: ServerConnection) -> None:
        """Send `initialize` to this process."""
        if self.ended:
            child.stop()
            return
        self._child = child
        self._members.on_start()
        self._perform(self._upstream.on_start())

    def _send_line(self, line: bytes) -> None:
        send_line(self._child, line)

    def _on_invalid_line(self, wire_id: bytes, text: str) -> None:
        self._from_server(Response(wire_id, b"", fault_text(INTERNAL_ERROR, text, INVALID_RESPONSE)))

    def on_exit(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because the process has exited."""
        self._child = None
        if self._upstream.is_refused:
            # The refusal is the reason, and `on_unopened` decides what follows.
            return
        if self.era_unknown:
            self._hooks.on_unopened(self, lambda: self.failed(text, data), refused=False)
        else:
            self.failed(text, data)

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        self._child = None
        self._reopen_era()
        self._perform(self._upstream.on_exit(text, data))

    def on_tick(self, now: float) -> None:
        """Apply the time limits. `now` is in seconds."""
        self._log_budget = _LOGGED
        if self.busy:
            self.touched = now
        effects = self._upstream.on_tick(now)
        for effect in effects:
            if isinstance(effect, KillProcess):
                # The start has failed even where no client waits for it.
                effects = _explained(effects, *self._hooks.on_start_timeout(self, effect.text))
        self._perform(effects)

    def discard(self, reason: str) -> None:
        """End, because another process serves the next requests (ProcessOwner)."""
        self.end(reason)

    def read_on(self) -> None:
        """Change nothing, because a process of several clients is never paused (ProcessOwner)."""

    def end(self, reason: str) -> None:
        """Fail what is in flight and stop the process."""
        if self.ended:
            return
        self.ended = True
        self.era_resolved.set()
        self._perform(self._upstream.close(reason))
        self._members.clear()
        if self._child is not None:
            self._child.stop()

    # ---- effects

    def _from_server(self, message: Message) -> None:
        related = b"" if type(message) is Response or self._child is None else self._child.related
        self._perform(self._upstream.on_server_message(message, related))

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ToServer):
                message = effect.message
                if type(message) is Request:
                    text = jsonrpc.request(message.id, message.method, message.params)
                else:
                    text = jsonrpc.line(message)
                reason = send_line(self._child, text)
                if reason:
                    self._not_sent(message, reason)
            elif isinstance(effect, ToFront):
                self._members.deliver(effect.front, effect.message, effect.about)
            else:
                self._perform_rare(effect)

    def _perform_rare(self, effect: RareEffect) -> None:
        match effect:
            case CallsLost():
                self._members.fail(effect)
            case Assigned() | Undeclared() | FrontOpened():
                self._members.deliver_to_stateless(effect)
            case StartProcess():
                self._hooks.start_process(self)
            case Opened():
                self.era_unknown = False
                self.era_resolved.set()
                self._hooks.on_opened(self)
            case Unopened(error):
                self._refused(error)
            case KillProcess():
                self._kill_process()
            case ServerRequestRefused(method, reason):
                self._rate_limited.info("server_request_refused", method=method, reason=reason)
            case LogOnly(params):
                self._log_message(params)
            case LogDebug(event, unmatched):
                self._log.debug(event)
                if unmatched is not None:
                    self._log.unmatched(*unmatched)
            case _:
                assert_never(effect)

    def _refused(self, error: bytes) -> None:
        def refuse() -> None:
            self._reopen_era()
            self._perform(self._upstream.refuse(error))

        if self.era_unknown:
            self._hooks.on_unopened(self, refuse, refused=True)
        else:
            refuse()

    def _reopen_era(self) -> None:
        # Tasks that wait for the era assume a legacy server. The next process decides again.
        self.era_resolved.set()
        self.era_resolved = trio.Event()

    def _kill_process(self) -> None:
        self._reopen_era()
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _log_message(self, params: bytes) -> None:
        if self._log_budget:
            self._log_budget -= 1
            self._log.info("log_message", reason="several clients", params=params[:_LOGGED_BYTES])

    def _not_sent(self, message: Message, reason: str) -> None:
        if isinstance(message, Request):
            self._from_server(Response(message.id, b"", fault_text(SERVER_ERROR, reason)))
        else:
            self._log.warning("message_dropped", direction="to server", reason=reason)


def _explained(effects: tuple[Effect, ...], text: str, data: dict[str, object]) -> tuple[Effect, ...]:
    """Return the effects of a failed start with this text and these data in the errors."""
    return tuple(
        CallsLost(effect.front, effect.wire_ids, text, data) if isinstance(effect, CallsLost) else effect
        for effect in effects
    )
