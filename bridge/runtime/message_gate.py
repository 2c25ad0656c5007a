"""Refuse messages that do not fit the schemas of their revision, towards their sender, and report them (`validate = "strict"`)."""

from collections.abc import Callable

from ...transports.correlation import id_of
from ...transports.counted_events import CountedEvents
from ...validators import jsonrpc
from ...validators.jsonrpc import Message, Request, Response
from ...validators.message_schemas.check import Side
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, Rejection
from ..core.errors import fault_text
from ..core.message_checks import Invalid, ServerChecks, check_message


class MessageGate:
    """The checks of one server and of its clients. `counted` gets an event for each message that is refused."""

    def __init__(self, counted: CountedEvents) -> None:
        self._counted = counted

    def from_client(
        self, message: Message, version: str, *, answered: str = "", principal: str = "", session: str = ""
    ) -> Message:
        """Return the message of a client that the server gets. Raises Rejection -32602.

        `answered` is the method of the request that a response answers. A response that does not fit becomes an error,
        because the server waits for it.
        """
        invalid = check_message(message, version, "client", answered)
        if invalid is None:
            return message
        text = f"the message does not fit {invalid}"
        rejection = Rejection(
            200 if isinstance(message, Request) else 400, INVALID_PARAMS, text, reason="message_invalid"
        )
        self._report("client", invalid, principal, session, id_of(rejection))
        if isinstance(message, Response):
            error = fault_text(INTERNAL_ERROR, f"the client's answer is not valid: {invalid}")
            return Response(message.id, b"", error)
        raise rejection

    def for_server(
        self, on_invalid: Callable[[bytes, str], None], send: Callable[[bytes], None]
    ) -> "ServerGate":
        """Return the checks of one process. `on_invalid` fails a request with a reason, `send` sends a line to the process."""
        return ServerGate(self._report_server, on_invalid, send)

    def _report_server(self, invalid: Invalid) -> None:
        self._report("server", invalid, "", "", "")

    def _report(
        self, sender: Side, invalid: Invalid, principal: str, session: str, correlation_id: str
    ) -> None:
        fields = {"principal": principal, "session": session}
        self._counted.add(
            "message_invalid",
            ("message_invalid", sender, invalid.method, principal),
            correlation_id,
            reason=invalid.fault.text,
            sender=sender,
            method=invalid.method,
            revision=invalid.version,
            path=invalid.fault.path,
            **{key: value for key, value in fields.items() if value},
        )


class ServerGate:
    """The checks of the messages of one server process."""

    def __init__(
        self,
        report: Callable[[Invalid], None],
        on_invalid: Callable[[bytes, str], None],
        send: Callable[[bytes], None],
    ) -> None:
        self._report = report
        self._on_invalid = on_invalid
        self._send = send
        self._checks = ServerChecks()
        self.on_sent = self._checks.on_sent

    def admits(self, message: Message) -> bool:
        """Return whether a message of the server fits. One that does not is refused."""
        invalid = self._checks.check(message)
        if invalid is None:
            return True
        self._report(invalid)
        if isinstance(message, Response):
            self._on_invalid(message.id, f"the server's answer is not valid: {invalid}")
        elif isinstance(message, Request):
            text = f"the message does not fit {invalid}"
            self._send(jsonrpc.error(message.id, INVALID_PARAMS, text))
        return False
