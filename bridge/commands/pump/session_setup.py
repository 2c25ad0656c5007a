"""Store what the client has sent to open and configure its session, and repeat it for another process. Pure."""

from . import texts
from .heads import Head, key_of
from .lines import Line, line_of

# Subscriptions to resources that are repeated.
_MOST = 64
# The longest response to `initialize` that is stored for comparison (bytes).
_LARGEST = 64 * 1024
# The lists of a server, whose capabilities declare notifications of changes.
_LISTS = ("tools", "prompts", "resources")


class SessionSetup:
    """The setup of one session of a handshake revision."""

    def __init__(self) -> None:
        # The request that opens the session, and the key of its id; empty before it is sent and after it was rejected.
        self.initialize = b""
        self.key = b""
        # Whether a server has accepted it, and the response, empty if that is too large.
        self.accepted = False
        self.response = b""
        # `notifications/initialized`, as the client has sent it.
        self.initialized = b""
        # JSON text of the params of the last `logging/setLevel`.
        self.level = b""
        # JSON text of the URIs of subscribed resources. Removed by `resources/unsubscribe`.
        self.uris: dict[bytes, None] = {}

    @property
    def is_opening(self) -> bool:
        """Return whether the client has sent `initialize` and has no response yet."""
        return bool(self.initialize) and not self.accepted

    def is_response(self, key: bytes) -> bool:
        """Return whether this is the key of the `initialize` that has no response yet."""
        return self.is_opening and key == self.key

    def record(self, line: Line, head: Head) -> None:
        """Store a message of the client, if it configures the session."""
        method = head.method
        # No other message of a batch may be repeated.
        in_batch = line.first.lstrip().startswith(b"[")
        if method == b"initialize" and head.raw_id:
            if not self.initialize and not in_batch:
                self.initialize, self.key = line.text() + b"\n", key_of(head.raw_id)
        elif method == b"notifications/initialized":
            self.initialized = texts.notification(method.decode()) if in_batch else line.text() + b"\n"
        elif method == b"logging/setLevel":
            self.level = _params_of(line, head)
        elif method == b"resources/subscribe":
            if (uri := _uri_of(line, head)) and len(self.uris) < _MOST:
                self.uris[uri] = None
        elif method == b"resources/unsubscribe":
            self.uris.pop(_uri_of(line, head), None)

    def accept(self, response: Line) -> None:
        """Store the response that has opened the session."""
        self.accepted = True
        self.response = response.text() if response.size <= _LARGEST else b""

    def reject(self) -> None:
        """Remove the request that was rejected."""
        self.initialize = self.key = b""

    def repeat_rest(self, prefix: str) -> "list[Line]":
        """Return what configures the session after `initialize`, with ids of our own that begin with this prefix."""
        lines = [line_of(self.initialized.rstrip(b"\r\n"))] if self.initialized else []
        if self.level:
            raw_id = texts.string(f"{prefix}level")
            lines.append(Line([texts.request(raw_id, "logging/setLevel", self.level)]))
        for number, uri in enumerate(self.uris):
            raw_id = texts.string(f"{prefix}{number}")
            lines.append(Line([texts.request(raw_id, "resources/subscribe", b'{"uri":%b}' % uri)]))
        return lines

    def changes(self, response: Line) -> "list[bytes]":
        """Return notifications of changes, because another process may have other lists, and changes were missed meanwhile."""
        if not self.initialized:
            return []
        _, capabilities = _session_of(response.text())
        found = [
            texts.notification(f"notifications/{name}/list_changed")
            for name in _LISTS
            if _member(capabilities.get(name), "listChanged") is True
        ]
        found += [
            texts.notification("notifications/resources/updated", b'{"uri":%b}' % uri) for uri in self.uris
        ]
        return found

    def losses(self, response: Line) -> "list[str]":
        """Return sentences about a revision that has changed, and capabilities that the server no longer declares."""
        if not self.response:
            return []
        before, had = _session_of(self.response)
        revision, has = _session_of(response.text())
        found = [f"the server now uses revision {revision} instead of {before}"] if revision != before else []
        if missing := sorted(had.keys() - has.keys()):
            found.append(f"the server no longer declares the capabilities {', '.join(missing)}")
        return found


def _message_of(line: Line, head: Head) -> object:
    """Return the message with this head, from a line with one message or a batch."""
    import json  # noqa: PLC0415 - see the package's docstring

    found = _parsed(line.text())
    if not isinstance(found, list):
        return found
    for member in found:  # pyright: ignore[reportUnknownVariableType] - JSON
        # `heads.parse` has written the id in the same way.
        raw_id = json.dumps(_member(member, "id")).encode()  # pyright: ignore[reportUnknownArgumentType] - JSON
        if raw_id == head.raw_id and _member(member, "method") == head.method.decode():  # pyright: ignore[reportUnknownArgumentType] - JSON
            return member  # pyright: ignore[reportUnknownVariableType] - JSON
    return None


def _params_of(line: Line, head: Head) -> bytes:
    import json  # noqa: PLC0415 - see the package's docstring

    return json.dumps(_member(_message_of(line, head), "params")).encode()


def _uri_of(line: Line, head: Head) -> bytes:
    import json  # noqa: PLC0415 - see the package's docstring

    uri = _member(_member(_message_of(line, head), "params"), "uri")
    return json.dumps(uri).encode() if isinstance(uri, str) else b""


def _session_of(response: bytes) -> "tuple[str, dict[str, object]]":
    """Return the revision and the capabilities in the response to `initialize`."""
    result = _member(_parsed(response), "result")
    capabilities = _member(result, "capabilities")
    revision = _member(result, "protocolVersion")
    members: dict[str, object] = capabilities if isinstance(capabilities, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON
    return revision if isinstance(revision, str) else "", members


def _parsed(text: bytes) -> object:
    import json  # noqa: PLC0415 - see the package's docstring

    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _member(found: object, name: str) -> object:
    if isinstance(found, dict):
        return found.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    return None


def reason_of(line: Line) -> str:
    """Return `data.reason` of an error response."""
    reason = _member(_member(_member(_parsed(line.text()), "error"), "data"), "reason")
    return reason if isinstance(reason, str) else ""


def rejection_of(line: Line) -> "tuple[object, str]":
    """Return the code and the message of an error response."""
    fault = _member(_parsed(line.text()), "error")
    text = _member(fault, "message")
    return _member(fault, "code"), text if isinstance(text, str) else ""
