"""The vocabulary of the differential table: what a client sends, how a server reacts, and what a cell is expected to be. Pure."""

import json
from collections.abc import Mapping, Sequence

import attrs
from carriers import MODERN, PROTOCOL_VERSION

PREFIX = "io.modelcontextprotocol/"
CLIENT = {"name": "differential", "version": "1"}
CAPABILITIES = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}
# Both eras; "legacy" are the handshake revisions.
ERAS = ("legacy", "modern")
ENVELOPE = json.dumps(
    {
        PROTOCOL_VERSION: MODERN,
        f"{PREFIX}clientInfo": CLIENT,
        f"{PREFIX}clientCapabilities": {"roots": {}, "sampling": {}, "elicitation": {}},
        f"{PREFIX}logLevel": "debug",
    },
    separators=(",", ":"),
)[1:-1].encode()

Action = Sequence[object]


# ---- what a cell is expected to be, where it is not "same"


@attrs.frozen
class Refused:
    """The bridge returns an error with this code for each of these raw ids."""

    code: int
    ids: tuple[bytes, ...]
    # The rule that is protected.
    why: str
    # Number of requests of the variant that are answered nevertheless.
    others: int = 0


@attrs.frozen
class NotApplicable:
    """The cell cannot be compared."""

    why: str


@attrs.frozen
class Open:
    """A difference that is known and not decided."""

    what: str


Expectation = Refused | NotApplicable | Open


# ---- conversations


@attrs.frozen
class Wait:
    """Wait until this number of messages with this method has arrived from the server."""

    method: str
    count: int = 1


@attrs.frozen
class Face:
    """The steps of a client of one era. In `steps`, `$META` stands for the envelope of 2026-07-28, `$PREFIX` for that of a name."""

    steps: tuple[bytes | Wait, ...]
    # Number of responses that a client on the pipe waits for.
    wanted: int = 1
    # Response to requests of the server: `"result":...` or `"error":...`, no response for an empty text.
    answers: Mapping[str, bytes] = attrs.field(factory=dict)
    fenced: bool = True


@attrs.frozen
class Variant:
    """One input in one group, in one or both eras."""

    name: str
    kind: str
    faces: Mapping[str, Face]
    # Actions of the server by era and by the key of the message.
    reactions: Mapping[str, Mapping[str, Sequence[Action]]]
    # Returns None for a cell that is the same nevertheless.
    expect: Mapping[str, Expectation | None] = attrs.field(factory=dict)

    def expected(self, column: "Column") -> Expectation | None:
        """Return the expectation of the most specific name: of the column, its way or its era."""
        for name in (column.name, column.way, column.era, "*"):
            if name in self.expect:
                return self.expect[name]
        return None


@attrs.frozen
class Column:
    """One way of a client of one era to a server. `pair` is the era of the server."""

    era: str
    way: str
    carrier: str
    pair: str
    # Whether payloads must have the same bytes; else the same values, without what a translation adds.
    exact: bool = False
    table: Mapping[str, object] = attrs.field(factory=dict)
    # How long the server sleeps before and after each line (seconds).
    delay: float = 0

    @property
    def name(self) -> str:
        return f"{self.era} {self.way}"


COLUMNS = (
    Column("legacy", "H", "H", "legacy", exact=True),
    Column("legacy", "S", "S", "legacy", exact=True),
    Column("legacy", "W", "W", "legacy", exact=True),
    Column("legacy", "L", "L", "legacy", exact=True),
    Column("legacy", "C", "C", "legacy", exact=True),
    Column("legacy", "P", "W", "legacy", exact=True, table={"share": "principal"}),
    Column("legacy", "X", "W", "modern"),
    Column("legacy", "A", "H", "legacy"),
    Column("legacy", "H slow", "H", "legacy", exact=True, delay=0.005),
    Column("legacy", "C slow", "C", "legacy", exact=True, delay=0.005),
    Column("modern", "H", "H", "modern", exact=True),
    Column("modern", "W", "W", "modern", exact=True),
    Column("modern", "L", "L", "modern", exact=True),
    Column("modern", "C", "C", "modern", exact=True),
    Column("modern", "X", "W", "legacy"),
    Column("modern", "A", "W", "modern"),
    Column("modern", "W slow", "W", "modern", exact=True, delay=0.005),
)
WAYS = {
    "H": "Streamable HTTP",
    "S": "HTTP+SSE",
    "W": "WebSocket",
    "L": "lines over the pipe endpoint",
    "C": "`mcp-bridge connect`",
    "P": "a process that clients of one principal share, over WebSocket",
    "X": "a server of the other era",
    "A": "the aggregate",
    "H slow": "Streamable HTTP, each message of the server in two parts with a pause before, between and after them",
    "C slow": "`mcp-bridge connect`, with the same pauses",
    "W slow": "WebSocket, with the same pauses",
}


@attrs.frozen
class Group:
    """Variants that are one conversation, with an opening of their own."""

    name: str
    opening: Mapping[str, Face]
    variants: tuple[Variant, ...]
    # Reactions of the server besides those of the variants, by era.
    reactions: Mapping[str, Mapping[str, Sequence[Action]]] = attrs.field(factory=dict)
    # The ways in which it is had; all of them without.
    ways: tuple[str, ...] = ()
    # Expected outcome of the opening.
    expect: Mapping[str, Expectation | None] = attrs.field(factory=dict)

    def columns(self) -> list[Column]:
        return [one for one in COLUMNS if one.era in self.opening and (not self.ways or one.way in self.ways)]

    def of(self, era: str) -> list[Variant]:
        return [variant for variant in self.variants if era in variant.faces]


def wire(text: bytes, era: str, prefix: str = "") -> bytes:
    """Return a line of a client as it is sent in one era."""
    if era == "modern":
        text = text.replace(b"$META", ENVELOPE)
    else:
        for mark in (b',"_meta":{$META}', b'"_meta":{$META}', b"$META,", b"$META"):
            text = text.replace(mark, b"")
    return text.replace(b"$PREFIX", prefix.encode())


def script(texts: Sequence[bytes | Action], era: str) -> list[Action]:
    """Return actions, those that are texts as lines; `$C` is what 2026-07-28 adds to a result."""
    complete = b'"resultType":"complete",' if era == "modern" else b""
    found: list[Action] = []
    for text in texts:
        if isinstance(text, bytes):
            found.append(["send", text.replace(b"$C", complete).decode("latin-1")])
        else:
            found.append(
                [
                    one.replace(b"$C", complete).decode("latin-1") if isinstance(one, bytes) else one
                    for one in text
                ]
            )
    return found


# ---- the usual texts


DONE = b'{"jsonrpc":"2.0","id":$ID,"result":{$C"content":[]}}'
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
OFFERED = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "completions": {},
    "logging": {},
}
ABOUT = {"name": "fixture", "version": "1"}


def result(text: bytes) -> bytes:
    """Return a line of a server with this result."""
    return b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % text


def error(text: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":$ID,"error":%b}' % text


def notification(method: str, params: bytes = b"") -> bytes:
    given = b',"params":' + params if params else b""
    return b'{"jsonrpc":"2.0","method":"%b"%b}' % (method.encode(), given)


def asked(raw_id: bytes, method: str, params: bytes = b"") -> bytes:
    """Return a line of a server with a request."""
    given = b',"params":' + params if params else b""
    return b'{"jsonrpc":"2.0","id":%b,"method":"%b"%b}' % (raw_id, method.encode(), given)


def call(name: str, raw_id: bytes = b"1", more: bytes = b"", meta: bytes = b"") -> bytes:
    """Return a call of a tool; `more` are further members of the params, `meta` of `_meta`."""
    meta = b"," + meta if meta else b""
    more = b"," + more if more else b""
    return (
        b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":{"name":"$PREFIX%b"%b,"_meta":{$META%b}}}'
        % (raw_id, name.encode(), more, meta)
    )


def request(method: str, params: bytes = b"", raw_id: bytes = b"1", meta: bytes = b"") -> bytes:
    meta = b"," + meta if meta else b""
    params = params + b"," if params else b""
    return b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":{%b"_meta":{$META%b}}}' % (
        raw_id,
        method.encode(),
        params,
        meta,
    )


def initialize(
    revision: str = "2025-11-25", raw_id: bytes = b"0", params: Mapping[str, object] | None = None
) -> bytes:
    given = {"protocolVersion": revision, "capabilities": CAPABILITIES, "clientInfo": CLIENT}
    given = given if params is None else params
    message = b'{"jsonrpc":"2.0","id":%b,"method":"initialize","params":%b}'
    return message % (raw_id, json.dumps(given).encode())


def handshake(revision: str = "2025-11-25", **more: object) -> bytes:
    """Return the answer to `initialize`."""
    found = {"protocolVersion": revision, "capabilities": OFFERED, "serverInfo": ABOUT, **more}
    return result(json.dumps(found).encode())


def discovered() -> bytes:
    found = {
        "resultType": "complete",
        "supportedVersions": [MODERN],
        "capabilities": OFFERED,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {f"{PREFIX}serverInfo": ABOUT},
    }
    return result(json.dumps(found).encode())


_ACKNOWLEDGED = (
    b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":'
    b'{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true},'
    b'"_meta":{"io.modelcontextprotocol/subscriptionId":$ID}}}'
)
_LISTS = {"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"}
# Reactions of every server.
BASE: Mapping[str, Mapping[str, Sequence[Action]]] = {
    era: {
        "initialize": script([handshake()], era),
        "server/discover": script([discovered()], era),
        "ping": script([result(b"{}")], era),
        "tools/call fence": script([DONE], era),
        **{method: script([result(b'{$C"%b":[]}' % key.encode())], era) for method, key in _LISTS.items()},
        "resources/templates/list": script([result(b'{$C"resourceTemplates":[]}')], era),
        "subscriptions/listen": script([_ACKNOWLEDGED], era),
        "": script([DONE], era),
    }
    for era in ERAS
}
PLAIN = {
    "legacy": Face((initialize(), INITIALIZED)),
    "modern": Face((request("server/discover", raw_id=b"0"),)),
}


def tool(
    name: str,
    kind: str,
    replies: Sequence[bytes | Action] = (DONE,),
    steps: Sequence[bytes | Wait] | None = None,
    *,
    more: bytes = b"",
    meta: bytes = b"",
    raw_id: bytes = b"1",
    wanted: int = 1,
    answers: Mapping[str, bytes] | None = None,
    eras: Sequence[str] = ERAS,
    modern: Sequence[bytes | Action] | None = None,
    again: Sequence[bytes | Action] | None = None,
    expect: Mapping[str, Expectation | None] | None = None,
) -> Variant:
    """Return a variant in which a tool of this name is called. `modern` are the replies of 2026-07-28, `again` those to its retry."""
    given = tuple(steps) if steps is not None else (call(name, raw_id, more, meta),)
    face = Face(given, wanted, answers or {})
    reactions = {}
    # A client of one era may have a server of the other.
    for era in ERAS:
        texts = modern if modern is not None and era == "modern" else replies
        reactions[era] = {f"tools/call {name}": script(texts, era)}
        if again is not None and era == "modern":
            reactions[era][f"tools/call {name} again"] = script(again, era)
    return Variant(name, kind, dict.fromkeys(eras, face), reactions, expect or {})


def method(
    name: str,
    kind: str,
    line: bytes,
    key: str,
    replies: Sequence[bytes | Action],
    *,
    wanted: int = 1,
    eras: Sequence[str] = ERAS,
    modern: Sequence[bytes | Action] | None = None,
    expect: Mapping[str, Expectation | None] | None = None,
) -> Variant:
    """Return a variant in which a request or notification other than a call of a tool is sent."""
    face = Face((line,), wanted)
    reactions = {
        era: {key: script(modern if modern is not None and era == "modern" else replies, era)} for era in ERAS
    }
    return Variant(name, kind, dict.fromkeys(eras, face), reactions, expect or {})
