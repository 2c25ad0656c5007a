"""`mcp-bridge tap`: print the messages of a server, or of all servers, as they pass."""

import fnmatch
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from ..config.settings import CONTROL
from ..core.exit_codes import EX_OK
from ..log import escaped
from .content import as_object, size_of
from .control_client import follow
from .invocation import Invocation
from .logs import server_query
from .output import notice, print_line
from .printable import json_text
from .terminal import terminal_of
from .text_width import cut

# Requests without a response whose time is kept.
_MOST_REQUESTS: Final = 4096
# Of the text of an error (characters).
_LONGEST: Final = 200
_ENDS: Final = frozenset({"response", "error"})


def tap(invocation: Invocation) -> int:
    """Print the messages, until the daemon exits or the command is interrupted."""
    options = invocation.options
    lines = ShortLines(with_server=not options.server)
    width = terminal_of(sys.stdout, invocation.environment).width

    def on_open() -> None:
        # Without it a terminal would stay empty until the first message.
        if sys.stderr.isatty():
            notice(f"waiting for messages of {options.server or 'all servers'}; Ctrl-C ends this")

    for message in follow(invocation.socket(), f"{CONTROL}/tap?{server_query(invocation)}", on_open):
        # The time of a request that is not shown counts for its response.
        short = lines.line(message)
        if not is_wanted(message, options.client, options.method, with_own=options.probes):
            continue
        if options.json:
            print_line(json_text(message, indent=None))
        elif options.short:
            print_line(short if width is None else cut(short, width))
        else:
            print_line(f"{lines.head(message)} {escaped(message['line'])}")
    return EX_OK


def is_wanted(
    message: Mapping[str, Any], client: str | None, methods: list[str] | None, *, with_own: bool
) -> bool:
    """Return whether a message passes the filters: its client is named, and its method matches one of the patterns."""
    if message["own"] and not with_own:
        return False
    if client is not None:
        session = message["session"]
        names = {message["client"].casefold(), message["principal"].casefold()} - {""}
        # A session is named by the beginning of its id; both sides may be cut.
        is_session = len(client) >= len(session) > 0 and client.startswith(session)
        if client.casefold() not in names and not is_session:
            return False
    return not methods or any(fnmatch.fnmatchcase(message["method"], method) for method in methods)


class ShortLines:
    """Describes each message on one line, a response with the time since its request. With `with_server` its server is named."""

    def __init__(self, *, with_server: bool) -> None:
        self._with_server = with_server
        # Times and names of requests by server, process, direction and id. The response removes an entry, the limit the oldest.
        self._requests: dict[tuple[object, ...], tuple[float, str]] = {}

    def head(self, message: Mapping[str, Any]) -> str:
        """Return the direction, the time, the server, the process and the client of a message."""
        arrow = "->" if message["direction"] == "to server" else "<-"
        at = message["at"]
        clock = f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at * 1000) % 1000:03d}"
        server = f" {message['server']}" if self._with_server else ""
        return escaped(f"{arrow} {clock}{server} [{abs(message['pid'])}]{_client(message)}")

    def line(self, message: Mapping[str, Any]) -> str:
        """Return the line of a message."""
        kind, size = message["kind"], size_of(message["size"])
        key = (message["server"], message["pid"], message["id"])
        method = message["method"] or "?"
        if kind == "request":
            name = _name(message["line"])
            self._requests[(*key, message["direction"])] = (message["at"], name)
            if len(self._requests) > _MOST_REQUESTS:
                del self._requests[next(iter(self._requests))]
            text = f"{method}{name} id={message['id']} {size}"
        elif kind in _ENDS:
            other = "to client" if message["direction"] == "to server" else "to server"
            began, name = self._requests.pop((*key, other), (None, ""))
            took = "" if began is None else f" {1000 * (message['at'] - began):.0f} ms"
            text = f"{method}{name} id={message['id']} {_outcome(message)}{took} {size}"
        elif kind == "notification":
            text = f"{method} {size}"
        else:
            text = f"not a message: {message['line']}"
        return f"{self.head(message)} {escaped(text)}"


def _client(message: Mapping[str, Any]) -> str:
    """Return the name of the client and its principal or session, as far as they are known."""
    if message["own"]:
        return " (bridge)"
    more = ":".join(filter(None, (message["principal"], message["session"])))
    return "".join(f" {word}" for word in (message["client"], f"({more})" if more else "") if word)


def _read(line: str) -> dict[str, Any]:
    # A line that was cut is not JSON.
    try:
        return as_object(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _name(line: str) -> str:
    """Return the tool, prompt or resource that a request names."""
    params = as_object(_read(line).get("params"))
    name = params.get("name", params.get("uri"))
    return f" {name}" if isinstance(name, str) else ""


def _outcome(message: Mapping[str, Any]) -> str:
    read = _read(message["line"])
    if message["kind"] == "error" or "error" in read:
        error = as_object(read.get("error"))
        return f"error {error.get('code', '')}: {str(error.get('message', ''))[:_LONGEST]}"
    result = as_object(read.get("result"))
    if result.get("isError") is True:
        return "isError"
    kind = result.get("resultType")
    return kind if isinstance(kind, str) and kind != "complete" else "ok"
