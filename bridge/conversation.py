"""A session that is alive: the pure `Session` wired to a child and to the client's streams.

The only place where its decisions meet I/O. Everything here happens at once, in the task that brought the event: in
Trio that makes it atomic, and nobody is left waiting for a lock or a queue.
"""

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..transports.child import ChildBusy, ChildGone, Exit
from ..transports.lines import Overlong
from ..transports.outlet import Outlet
from ..transports.ports import Log
from ..validators import envelope
from ..validators.envelope import Message, Request
from ..validators.limits import Limits
from ..validators.rejection import SERVER_ERROR, Rejection
from .session import Abandon, Effect, EndStream, Note, Revive, Session, Stream, ToChild, ToClient

if TYPE_CHECKING:
    from ..transports.child import Child

# Lines of a child that are not MCP are shown this often, then only counted (attacks C03).
_SHOWN = 3
_SHOWN_BYTES = 200


class LocalConversation:
    """One client's session with one child (transports.ports.Conversation).

    `revive` is called when the session needs another child, `over` once when the session has ended.
    """

    def __init__(
        self,
        principal: str,
        limits: Limits,
        log: Log,
        *,
        pipe: Outlet | None,
        revive: Callable[["LocalConversation"], None],
        over: Callable[["LocalConversation"], None],
    ) -> None:
        self.id = secrets.token_urlsafe(32)
        self.principal = principal
        self._limits = limits
        self._log = log
        self._session = Session(limits, lambda: secrets.token_hex(8), pipe)
        self._pipe = pipe
        self._revive = revive
        self._over = over
        self._child: Child | None = None
        self._strange = 0
        self.ended = False

    # ---- ports.Conversation

    @property
    def version(self) -> str:
        """The negotiated revision (ports.Conversation)."""
        return self._session.version

    @property
    def busy(self) -> bool:
        """Whether a call is in flight or a stream is open (registry.Busy)."""
        return bool(self._session.in_flight) or self._session.watched

    def receive(self, message: Message, outlet: Outlet | None) -> None:
        """Take one message from the client (ports.Conversation)."""
        stream: Stream | None = None
        if outlet is not None:
            stream = (
                outlet.context if isinstance(outlet.context, Stream) else self._session.call_stream(outlet)
            )
            outlet.context = stream
        self._perform(self._session.client_sent(message, stream))

    def refuse(self, message: Request, rejection: Rejection, outlet: Outlet | None) -> None:
        """Answer one message of a batch with an error (ports.Conversation)."""
        stream = outlet if outlet is not None else self._pipe
        if stream is not None:
            stream.put(envelope.error(message.id, rejection.code, rejection.text))

    def listen(self, outlet: Outlet) -> None:
        """Open a stream for what belongs to no request (ports.Conversation)."""
        outlet.context, effects = self._session.listened(outlet)
        self._perform(effects)

    def resume(self, last_event_id: str, outlet: Outlet) -> None:
        """Continue an interrupted stream (ports.Conversation)."""
        outlet.context, effects = self._session.resumed(last_event_id, outlet)
        self._perform(effects)

    def begin_events(self, outlet: Outlet) -> bytes:
        """The outlet becomes an event stream (ports.Conversation)."""
        return self._session.events_begun(_stream_of(outlet))

    def close_outlet(self, outlet: Outlet) -> None:
        """The stream's connection is gone or done (ports.Conversation)."""
        self._session.stream_left(_stream_of(outlet), outlet)

    def end(self, reason: str) -> None:
        """End the session (ports.Conversation)."""
        if self.ended:
            return
        self.ended = True
        self._perform(self._session.ended(f"the session has ended: {reason}"))
        if self._pipe is not None:
            self._pipe.finish()
        if self._child is not None:
            self._child.stop()
        self._log.info("session ended", session=self.id[:8], reason=reason)
        self._over(self)

    # ---- the child's side

    def started(self, child: "Child") -> None:
        """This child serves the session from now on."""
        again = self._child is not None
        self._child = child
        if self.ended:
            child.stop()
        elif again:
            self._perform(self._session.child_started())

    def heard(self, line: bytes | Overlong) -> None:
        """The child wrote a line."""
        if isinstance(line, Overlong):
            text = f"the server wrote a line of more than {self._limits.line} bytes, the limit"
            self._perform(self._session.child_spoiled(line.prefix, text))
            return
        try:
            message = envelope.decode(line, self._limits)
        except Rejection as rejection:
            self._heard_strange(line, rejection)
            return
        self._perform(self._session.child_sent(message))

    def _heard_strange(self, line: bytes, rejection: Rejection) -> None:
        if envelope.is_batch(line):
            try:
                texts = envelope.split_batch(line, self._limits)
            except Rejection:
                texts = []
            for text in texts:
                self.heard(text)
            if texts:
                return
        self._strange += 1
        if self._strange <= _SHOWN:
            self._log.warning(
                "the server wrote what is not MCP", reason=rejection.text, line=line[:_SHOWN_BYTES]
            )
        self._perform(
            self._session.child_spoiled(line[:256], f"the server's answer is not valid: {rejection.text}")
        )

    def lost(self, exit_: Exit) -> None:
        """The child is gone."""
        text = f"the server {exit_.describe()}"
        self.failed(text, {"reason": "exited", "code": exit_.code, "signal": exit_.signal})

    def failed(self, text: str, data: dict[str, object]) -> None:
        """There is no child, for this reason."""
        self._perform(self._session.child_lost(text, data))
        if not self.version:
            self.end(text)

    def ticked(self, now: float) -> None:
        """Time has passed."""
        self._perform(self._session.ticked(now))

    # ---- carrying out

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ToClient):
                outlet = effect.outlet
                if isinstance(outlet, Outlet) and not outlet.put(
                    effect.message, effect.event_id, last=effect.last
                ):
                    self._log.warning(
                        "closed the stream of a client that does not read",
                        session=self.id[:8],
                        messages=self._limits.stream_messages,
                        bytes=self._limits.stream_bytes,
                    )
            elif isinstance(effect, ToChild):
                self._write(effect.line)
            elif isinstance(effect, EndStream):
                if isinstance(effect.outlet, Outlet):
                    effect.outlet.finish()
            elif isinstance(effect, Revive):
                self._revive(self)
            elif isinstance(effect, Abandon):
                self._abandon(effect.text)
            else:
                note: Note = effect
                self._log.debug(note.text, session=self.id[:8])

    def _abandon(self, text: str) -> None:
        child, self._child = self._child, None
        self.failed(text, {"reason": "not started"})
        if child is not None:
            child.kill()

    def _write(self, line: bytes) -> None:
        child = self._child
        if child is None:
            return
        try:
            child.send(line)
        except ChildGone:
            return  # its exit is on its way and fails whatever was asked
        except ChildBusy as busy:
            raise Rejection(503, SERVER_ERROR, str(busy), headers=((b"Retry-After", b"1"),)) from None


def _stream_of(outlet: Outlet) -> Stream:
    stream = outlet.context
    assert isinstance(stream, Stream)  # noqa: S101 - the endpoint received or listened first
    return stream
