"""The log level of a shared server process: the most verbose of its fronts, with a filter for each front. Pure."""

from collections.abc import Collection
from typing import Final

from ...validators import json_object
from ...validators.jsonrpc import Notification, Request
from ...validators.stateless_request import LOG_LEVELS
from .effects import ToServer
from .front import Front
from .shared_calls import SharedCall, SharedCalls
from .shared_effects import Effects, LogOnly, ToFront

# The log level of a client that has set none while another client has.
_DEFAULT: Final = "info"


class SharedLogLevel:
    """The log level at one process. The level of a front (`Front.level`) outlives the process."""

    __slots__ = ("_calls", "_fronts", "_level")

    def __init__(self, fronts: Collection[Front], calls: SharedCalls) -> None:
        self._fronts = fronts
        self._calls = calls
        # The last level that was sent to the server, or nothing.
        self._level = ""

    def set(self, front: Front, message: Request, token: bytes) -> Effects:
        """Handle `logging/setLevel` of a front: the server gets the most verbose level of all fronts."""
        found = json_object.peek(message.params)
        level = json_object.string(found.get("level"))
        before = front.level
        if level in LOG_LEVELS:
            front.level = level
            self._level = self._most_verbose()
            # The params of the client are sent unchanged where they have the level of all.
            if self._level != level:
                found["level"] = json_object.raw(json_object.text(self._level))
                message = Request(message.id, message.method, json_object.write(found))
        self._calls.by_id[message.id] = SharedCall(front, message.method, token, before)
        return (ToServer(message),)

    def on_refused(self, call: SharedCall) -> None:
        """Handle an error response to `logging/setLevel`: the front keeps the level that it had before."""
        call.front.level = call.detail
        self._level = self._most_verbose()

    def adjust(self) -> Effects:
        """Set the level of the server, because a front was added or removed, or the process has replaced another."""
        level = self._most_verbose()
        if not level or level == self._level:
            return ()
        self._level = level
        params = json_object.write({"level": level})
        return (ToServer(Request(self._calls.own_id(), "logging/setLevel", params)),)

    def on_log_message(self, message: Notification) -> Effects:
        """Send a log message to the only front that can have caused it, unless the front wants fewer messages."""
        front = self._calls.only_front()
        if front is None:
            return (LogOnly(message.params),)
        level = json_object.string(json_object.peek(message.params).get("level"))
        if not front.translated and level in LOG_LEVELS:
            wanted = front.level or (_DEFAULT if self._level else "")
            if wanted and LOG_LEVELS.index(level) < LOG_LEVELS.index(wanted):
                return ()
        return (ToFront(front, message, self._calls.newest_of(front)),)

    def _most_verbose(self) -> str:
        return min((front.level for front in self._fronts if front.level), key=LOG_LEVELS.index, default="")
