"""Send requests to one server of the daemon, and answer its input requests, for the commands that print the results."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, cast

from ...validators.rejection import METHOD_NOT_FOUND
from ...validators.stateless_request import MISSING_CAPABILITY
from ..config.package_spec import is_runner, program_name
from ..config.settings import CONTROL
from ..core.exit_codes import ReportedError
from ..core.suggestion import alternatives, suggestion
from .control_client import ErrorResponse, Unreachable, call_server, names_of_servers, request, result_of
from .input_responder import CANCEL, why_not_offered
from .progress import Progress

# How often a server may request input in one call.
_MOST_ROUNDS: Final = 50
# Between two rounds without a question (seconds).
_PAUSE: Final = 0.2
# How long an interrupted command waits until the server has the cancellation of its question (seconds).
_CANCEL_SECONDS: Final = 2.0
# A list that is longer has no end.
_MOST_ITEMS: Final = 100_000
# How many names an error suggests.
_MOST_NAMES: Final = 20


class Responder(Protocol):
    """Answers input requests."""

    def respond(self, request: object) -> dict[str, Any]:
        """Return the result for one input request. Raises ErrorResponse for one that cannot be answered."""
        ...


class ServerClient:
    """A client of one server. `on_message` gets each notification, and with `log_level` also the log messages of the server."""

    def __init__(
        self,
        unix: Path,
        server: str,
        responder: Responder | None = None,
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
        log_level: str = "",
        progress: Progress | None = None,
    ) -> None:
        self.server = server
        self._progress = progress or Progress()
        self._unix = unix
        self._responder = responder
        self._on_message = on_message
        self._log_level = log_level

    def items(self, method: str, member: str) -> list[dict[str, Any]]:
        """Return the items of all pages of a list. Raises Unreachable and ErrorResponse."""
        return list(islice(self._pages(method, member), _MOST_ITEMS))

    def items_if_offered(self, method: str, member: str) -> list[dict[str, Any]] | None:
        """Return the items of a list, None if the server does not have the method. Raises Unreachable and ErrorResponse."""
        try:
            return self.items(method, member)
        except ErrorResponse as fault:
            if fault.code != METHOD_NOT_FOUND:
                raise
            return None

    def _pages(self, method: str, member: str) -> Iterator[dict[str, Any]]:
        params: dict[str, object] = {}
        seen: set[str] = set()
        while True:
            result = self._sent(method, params)
            found: Any = result.get(member)
            for item in cast("list[object]", found) if isinstance(found, list) else ():
                if isinstance(item, dict):
                    yield cast("dict[str, Any]", item)
            cursor: Any = result.get("nextCursor")
            if not isinstance(cursor, str) or cursor in seen:
                return
            seen.add(cursor)
            params = {"cursor": cursor}

    def request(
        self, method: str, params: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the result of a request, whose input requests the responder answers. Raises Unreachable and ErrorResponse."""
        answers: dict[str, object] = {}
        for _ in range(_MOST_ROUNDS):
            result = self._sent(method, {**params, **answers}, headers)
            if result.get("resultType") != "input_required":
                return result
            wanted: Any = result.get("inputRequests")
            requests = cast("dict[str, object]", wanted) if isinstance(wanted, dict) else {}
            state = {"requestState": result["requestState"]} if "requestState" in result else {}
            if not requests:
                time.sleep(_PAUSE)
                answers = dict(state)
                continue
            try:
                answers = {"inputResponses": self._answered(requests), **state}
            except KeyboardInterrupt:
                self._cancel(method, {**params, **state}, requests, headers)
                raise
        raise ErrorResponse(
            f"{self.server} has requested input {_MOST_ROUNDS} times in one call; it was left"
        )

    def _answered(self, requests: Mapping[str, object]) -> dict[str, object]:
        if self._responder is None:
            raise ErrorResponse(f"{self.server} requests input, which this command does not offer")
        return {key: self._responder.respond(one) for key, one in requests.items()}

    def _cancel(
        self,
        method: str,
        params: Mapping[str, object],
        requests: Mapping[str, object],
        headers: Mapping[str, str] | None,
    ) -> None:
        """Cancel the questions of a call. It would otherwise wait for them at its server. The end of the connection cancels the call."""
        answers = {"inputResponses": dict.fromkeys(requests, CANCEL)}
        with contextlib.suppress(ReportedError, OSError, HTTPException, ValueError):
            result_of(
                call_server(self._unix, self.server, method, {**params, **answers}, headers, _CANCEL_SECONDS)
            )

    def _sent(
        self, method: str, params: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        messages = call_server(self._unix, self.server, method, params, headers, log_level=self._log_level)
        try:
            with self._progress.wait(partial(waiting_text, self._unix, self.server)):
                return result_of(self._reported(messages))
        except ErrorResponse as fault:
            raise self._explained(fault) from None

    def _reported(self, messages: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for message in messages:
            if "method" in message and self._on_message is not None:
                self._on_message(message)
            yield message

    def _explained(self, fault: ErrorResponse) -> ErrorResponse:
        """Return the error, in words for a capability that is missing and for a server that is not there."""
        if fault.code == MISSING_CAPABILITY:
            required: Any = fault.data.get("requiredCapabilities")
            for name in cast("dict[str, object]", required) if isinstance(required, dict) else ():
                if name != "elicitation":
                    return ErrorResponse(
                        why_not_offered(self.server, name), fault.code, fault.data, fault.status
                    )
        if fault.status == _NOT_FOUND and fault.code != METHOD_NOT_FOUND:
            check_server(self._unix, self.server)
        return fault


_NOT_FOUND: Final = 404
# For the state of the daemon while a request waits (seconds).
_STATUS_SECONDS: Final = 3.0


def waiting_text(unix: Path, server: str) -> str:
    """Return what a request waits for: the server, or its start, which may fetch a package."""
    try:
        state = request(unix, "GET", f"{CONTROL}/status", _STATUS_SECONDS)
        found = next(one for one in state["servers"] if one["name"] == server)
    except Unreachable as fault:
        return str(fault)
    except (ReportedError, OSError, HTTPException, StopIteration, KeyError):
        return f"waiting for {server}"
    if found["era"] != "not known yet":
        return f"waiting for {server}"
    command: list[str] = found["command"]
    if command and is_runner(program_name(command[0]), command[1:]):
        return f"waiting for the start of {server}: {program_name(command[0])} may be fetching its package"
    return f"waiting for the start of {server}"


def check_server(unix: Path, server: str) -> None:
    """Raise ErrorResponse if the daemon has no server of this name."""
    known = names_of_servers(unix)
    if server not in known:
        raise ErrorResponse(f"there is no server {server!r}{alternatives(server, known)}")


def not_there(server: str, kind: str, word: str, known: list[str], command: str) -> ErrorResponse:
    """Return the error for a tool or a prompt that a server does not have."""
    few = f"; there are: {', '.join(known)}." if 0 < len(known) <= _MOST_NAMES else "."
    return ErrorResponse(
        f"{server} has no {kind} {word!r}{suggestion(word, known) or few} `mcp-bridge {command} {server}` lists them"
    )
