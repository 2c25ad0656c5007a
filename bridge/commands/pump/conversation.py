"""Decide what is sent to the daemon and to the client on one connection after another. Pure.

Requests that a server may have received are never sent again: they fail when their connection is lost. Exceptions:
`initialize`, which opens a session and has no other effect, and requests that the daemon has rejected before a server
received them, because it is being replaced. A request of which the kernel has not taken the last byte was not sent.
"""

from . import texts
from .heads import Head, cancelled_key, key_of
from .in_flight import RequestsInFlight, ServerRequests
from .lines import Line
from .outgoing import Outgoing
from .session_setup import SessionSetup, reason_of, rejection_of

# The phases of a client:
#
# | phase     | event                    | next phase                                                  |
# |-----------|--------------------------|-------------------------------------------------------------|
# | AWAY      | on_connect               | OPEN if no session was open, else REPLAYING; or RESTING if  |
# |           |                          | the server has rejected that before and no request waits    |
# | RESTING   | a request of the client  | REPLAYING                                                   |
# | REPLAYING | the response             | OPEN, or RESTING after an error                             |
# | all       | on_drain                 | DRAINING                                                    |
# | all       | on_disconnect            | AWAY                                                        |
AWAY, RESTING, REPLAYING, OPEN, DRAINING = range(5)

# `data.reason` of the daemon's rejections because it, or the server, is being replaced.
_STOPPING = "stopping"
# With these `initialize` is rejected where another process will accept it.
_REPLACED = (_STOPPING, "session ended")
# The code of the daemon's own rejections; a request that was in flight fails under another code.
_REJECTED = -32000
# The longest error response of such a rejection (bytes).
_REJECTION = 16 * 1024


class Conversation:
    """The state of one client. Ids of our own requests begin with `prefix`, which the client cannot guess.

    Lines of our own for the client are added to `replies`, and sentences for the user to `notices`; the caller empties both.
    """

    def __init__(self, prefix: str) -> None:
        self.phase = AWAY
        self.requests = RequestsInFlight()
        self.server_requests = ServerRequests()
        self.setup = SessionSetup()
        self.outgoing = Outgoing()
        self.replies: list[bytes] = []
        self.notices: list[str] = []
        self.prefix = prefix
        self._own_ids = b'"' + prefix.encode()
        # Whether the server has rejected the repeated `initialize`.
        self._replay_rejected = False
        # Whether the repeated `initialize` has no response on this connection.
        self._replay_pending = False
        # Requests that the daemon has not begun, with their rejections, until the connection is lost.
        self._rejected: list[Line] = []
        # The rejection of `initialize` by a daemon that is being replaced, until the connection is lost.
        self._unopened: Line | None = None

    @property
    def has_unsent(self) -> bool:
        """Return whether a request waits to be sent."""
        return bool(self._rejected) or self.outgoing.has_requests

    @property
    def has_rejected(self) -> bool:
        """Return whether a request waits that was rejected on the open connection."""
        return bool(self._rejected) or self._unopened is not None

    @property
    def may_pause(self) -> bool:
        """Return whether nothing waits, so that the state is only what `record` stores."""
        return self.phase == OPEN and not (
            self.outgoing or self._rejected or self.setup.is_opening or self.replies
        )

    # ---- from the client

    def on_client_line(self, line: Line) -> None:
        """Let a line of the client wait until it can be sent, if it has to be sent."""
        heads = line.heads
        for head in heads:
            if head.is_request or head.method:
                self.setup.record(line, head)
        if len(heads) == 1 and self._is_needless(line, heads[0]):
            return
        if self.phase == REPLAYING and heads and all(head.is_response for head in heads):
            # The server may need the response before it accepts the session.
            self.outgoing.add_ahead([line])
            return
        self.outgoing.append(line)
        if self.phase == RESTING and any(head.is_request for head in heads):
            self._open_again()

    def on_client_part(self, line: Line) -> None:
        """Let a line wait whose end has not arrived, because it is too large to be stored."""
        self.outgoing.append(line)
        if self.phase == RESTING:
            # It is most likely a request.
            self._open_again()

    def _is_needless(self, line: Line, head: Head) -> bool:
        if head.is_response:
            return self.server_requests.remove_lost(key_of(head.raw_id))
        if head.method == b"notifications/cancelled":
            key = cancelled_key(line.text())
            rejected = [line for line in self._rejected if key_of(line.heads[0].raw_id) == key]
            for request in rejected:
                self._rejected.remove(request)
            if rejected or self.outgoing.remove_request(key):
                return True
            self.requests.take(key)
        elif head.method == b"notifications/initialized":
            # It is sent when the session is opened again.
            return self.setup.accepted and self.phase != OPEN
        return False

    def on_sent(self, lines: "list[Line]") -> None:
        """Note that the kernel has taken these lines."""
        for line in lines:
            for head in line.heads:
                if head.is_response:
                    self.server_requests.remove(key_of(head.raw_id))
                elif head.raw_id and not line.is_ahead:
                    self.requests.add(line, head)

    # ---- from the server

    def on_server_line(self, line: Line) -> bool:
        """Handle a line of the server, and return whether it is for the client."""
        responses: list[bool] = []
        for head in line.heads:
            if head.is_response:
                responses.append(self._on_response(line, head))
            elif head.raw_id:
                self.server_requests.add(head.raw_id)
            elif head.method == b"notifications/cancelled":
                self.server_requests.remove(cancelled_key(line.text()))
        return not responses or any(responses)

    def _on_response(self, line: Line, head: Head) -> bool:
        key = key_of(head.raw_id)
        if key.startswith(self._own_ids):
            return False
        if self._replay_pending and key == self.setup.key:
            self._replay_pending = False
            # On a connection that drains, nothing can follow the response.
            if self.phase == REPLAYING:
                self._on_replayed(line, head)
            return False
        if self.setup.is_response(key):
            if head.is_error and reason_of(line) in _REPLACED:
                # Another process responds, on the next connection.
                self._unopened = line
                return False
            if head.is_error:
                self.setup.reject()
            else:
                self.setup.accept(line)
        elif head.is_error and self.requests.is_kept(key) and _has_not_begun(line):
            request = self.requests.take(key)
            if request is not None:
                request.rejection = line.text() + b"\n"
                self._rejected.append(request)
                return False
        self.requests.take(key)
        return True

    def return_rejections(self) -> None:
        """Pass on the rejections of requests that wait for the end of the connection, which has not come in time."""
        for line in self._rejected:
            self.replies.append(line.rejection)
        self._rejected.clear()
        if self.phase == DRAINING:
            self._fail(
                self.outgoing.take_waiting(), "the daemon or the server is being replaced; not executed"
            )
        unopened, self._unopened = self._unopened, None
        if unopened is None:
            return
        if not self.setup.accepted:
            self.requests.take(self.setup.key)
            self.setup.reject()
            self.replies.append(unopened.text() + b"\n")
        elif self.phase == REPLAYING:
            self._on_replay_rejected(unopened)

    # ---- connections

    def on_connect(self) -> None:
        """Handle a new connection: open the session again, if one was open."""
        if not self.setup.accepted:
            self.phase = OPEN
            return
        self.phase = RESTING
        if not self._replay_rejected or self.outgoing.has_requests:
            self._open_again()

    def _open_again(self) -> None:
        self.phase, self._replay_rejected, self._replay_pending = REPLAYING, False, True
        self.outgoing.add_ahead([Line([self.setup.initialize])])

    def _on_replayed(self, line: Line, head: Head) -> None:
        if head.is_error:
            if reason_of(line) in _REPLACED:
                self._unopened = line
            else:
                self._on_replay_rejected(line)
            return
        self.phase = OPEN
        self.outgoing.add_ahead(self.setup.repeat_rest(self.prefix))
        self.notices += self.setup.losses(line)
        self.replies += self.setup.changes(line)

    def _on_replay_rejected(self, line: Line) -> None:
        self.phase, self._replay_rejected = RESTING, True
        reason = f"the server rejected the repeated initialize: {rejection_of(line)[1]}"
        self._fail(self.outgoing.take_requests(), reason)

    def on_drain(self) -> None:
        """Handle that the daemon reads no more lines on this connection."""
        self.phase = DRAINING

    def on_disconnect(self, reason: str) -> None:
        """Fail the requests that were sent, except those that have no effect if they are sent again."""
        self.phase, self._replay_pending, self._unopened = AWAY, False, None
        cut = self.outgoing.rewind()
        again = self._initialize_again()
        failed = self.requests.clear()
        self._fail(failed, f"{reason}; the request was sent before and may have been executed")
        if cut is not None:
            cut.is_lost = True
            if cut.finished:
                self.on_cut_line(cut)
        for key in self.outgoing.take_responses():
            self.server_requests.remove(key)
        lost = self.server_requests.on_disconnect()
        self.replies += [texts.cancellation(raw_id, reason) for raw_id in lost]
        for line in self._rejected:
            line.rejection = b""
        self.outgoing.insert_first([*again, *self._rejected])
        self._rejected.clear()

    def on_cut_line(self, line: Line) -> None:
        """Fail the requests of a line that is too large to be sent again, after its end has arrived."""
        raw_ids = [head.raw_id for head in line.heads if head.is_request]
        self._fail(raw_ids, "the connection was closed while a large message was sent; it was not executed")

    def _initialize_again(self) -> "list[Line]":
        setup = self.setup
        again: list[Line] = []
        if setup.is_opening and setup.key in self.requests:
            self.requests.take(setup.key)
            again.append(Line([setup.initialize]))
            if setup.initialized:
                again.append(Line([setup.initialized]))
        if again or setup.accepted:
            # It is sent after the repeated `initialize`.
            self.outgoing.remove_notifications(b"notifications/initialized")
        return again

    def close(self, reason: str) -> None:
        """Fail all requests without a response."""
        self.return_rejections()
        self._fail([*self.requests.clear(), *self.outgoing.take_requests()], reason)

    def _fail(self, raw_ids: "list[bytes]", reason: str) -> None:
        self.replies += [texts.error(raw_id, reason) for raw_id in raw_ids]


def _has_not_begun(line: Line) -> bool:
    """Return whether the daemon has rejected a request before any server has received it, because one is being replaced."""
    if line.size > _REJECTION or b'"stopping"' not in line.first:
        return False
    return reason_of(line) == _STOPPING and rejection_of(line)[0] == _REJECTED
