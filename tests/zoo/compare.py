"""Messages as raw bytes, and the comparison of a conversation over the bridge with two on the bare pipe. Pure.

A payload is the `result`, `error` or `params` of a message. The bridge writes the envelope around it anew; the payload
must have the same bytes. What differs between the two conversations on the pipe is the server's own and not compared.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import msgspec

ENDED, SILENT = "ended", "silent"
# The requests and notifications of a server, each with how often it came.
Others = Counter[tuple[str, str, bytes]]
# The members that the aggregate adds to, or takes from, a result, because it passes through revision 2026-07-28.
BETWEEN_ERAS = ("resultType", "ttlMs", "cacheScope", "nextCursor")
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
# The member with the client capabilities of a request of 2026-07-28.
CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
# Messages that the bridge sends to a process of several clients itself.
HANDSHAKE = ("initialize", "notifications/initialized")
# The member of a tool that 2026-07-28 does not have.
NOT_MODERN = "execution"
# Characters that are escaped on event streams, because some clients end a line there; a text may have such an escape itself.
ESCAPED = {"\u2028": b"\\u2028", "\u2029": b"\\u2029", "\x85": b"\\u0085"}
ESCAPES = {escape: character.encode() for character, escape in ESCAPED.items()}
# An escape of JSON, so that `\\\\u2028`, which is a backslash and five characters, is not taken for one.
ESCAPE = re.compile(rb"\\u[0-9A-Fa-f]{4}|\\.", re.DOTALL)
LISTS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}


@attrs.frozen
class Seen:
    """One message. `kind` is "result", "error", "request", "notification"; or ENDED or SILENT in place of an answer."""

    kind: str
    payload: bytes = b""
    method: str = ""
    # Raw bytes, so that 7 and "7" differ.
    id: bytes = b""

    @property
    def body(self) -> tuple[str, str, bytes]:
        """Return the part that must be the same on both connections."""
        return self.kind, self.method, self.payload

    @property
    def is_answer(self) -> bool:
        return not self.method


def members(text: bytes) -> dict[str, bytes] | None:
    """Return the members of an object as raw bytes, or None if it is no object."""
    try:
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return {name: bytes(value) for name, value in found.items()}


def items(text: bytes) -> list[bytes]:
    return [bytes(item) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]


def read(line: bytes) -> Seen | None:
    """Return the message of the line, or None if it has none."""
    found = members(line)
    if found is None or found.get("jsonrpc") != b'"2.0"':
        return None
    number = found.get("id", b"")
    if "method" in found:
        kind = "request" if number else "notification"
        return Seen(kind, found.get("params", b""), msgspec.json.decode(found["method"]), number)
    kind = "error" if "error" in found else "result"
    return Seen(kind, found.get(kind, b""), "", number)


@attrs.define
class Record:
    """One conversation: the answer to each step by its name, and every message in the order in which it came."""

    answers: dict[str, Seen] = attrs.field(factory=dict)
    # The id of the request of each step, as raw bytes.
    ids: dict[str, bytes] = attrs.field(factory=dict)
    arrived: list[Seen] = attrs.field(factory=list)
    # Messages of the client: requests, notifications and responses.
    sent: list[Seen] = attrs.field(factory=list)
    # Number of lines that were not messages.
    noise: int = 0
    # Number of messages before the end of the handshake.
    settled: int = 0

    @property
    def others(self) -> Others:
        """Return the requests and notifications of the server."""
        return Counter(seen.body for seen in self.arrived if not seen.is_answer)


@attrs.frozen
class Check:
    """One comparison: what was compared, the bytes on the pipe, and the bytes over the bridge."""

    name: str
    expected: bytes
    actual: bytes

    @property
    def is_equal(self) -> bool:
        return self.expected == self.actual

    def __str__(self) -> str:
        """Show the place of the first difference (offset in bytes), and the bytes around it."""
        pairs = zip(self.expected, self.actual, strict=False)
        short = min(len(self.expected), len(self.actual))
        at = next((place for place, (one, other) in enumerate(pairs) if one != other), short)
        begin = max(0, at - 60)
        expected, actual = (bytes(text[begin : at + 120]) for text in (self.expected, self.actual))
        sizes = f"{len(self.expected)} and {len(self.actual)} bytes"
        return f"{self.name}: {sizes}, different at {at}:\n    direct {expected!r}\n    bridge {actual!r}"


@attrs.frozen
class Expected:
    """The requests and notifications that are waited for: those after the handshake, and all.

    A list is requested again as long as it has fewer items than in `items`: the aggregate does not wait long for a server that
    is being started.
    """

    after_handshake: Others
    all: Others
    items: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen
class Direct:
    """Two conversations on the bare pipe."""

    one: Record
    two: Record

    def is_stable(self, step: str) -> bool:
        """Return whether both responses are the same. A step that one conversation lacks is not stable."""
        other = self.two.answers.get(step)
        return other is not None and self.one.answers[step].body == other.body

    @property
    def own_methods(self) -> set[str]:
        """Return the methods of which the server has not sent the same messages twice."""
        return {method for _, method, _ in (self.one.others - self.two.others) + self.others_of_two}

    @property
    def unstable(self) -> list[str]:
        """Return the differences that the server itself causes."""
        steps = [step for step in self.one.answers if not self.is_stable(step)]
        return steps + sorted(self.own_methods)

    @property
    def others_of_two(self) -> Others:
        return self.two.others - self.one.others

    @property
    def others(self) -> Others:
        """Return the messages of the server that are compared."""
        common = self.one.others & self.two.others
        return Counter({body: count for body, count in common.items() if body[1] not in self.own_methods})

    @property
    def expected(self) -> Expected:
        after = [
            Counter(seen.body for seen in record.arrived[: record.settled] if not seen.is_answer)
            for record in (self.one, self.two)
        ]
        return Expected(after[0] & after[1], self.others)

    @property
    def order(self) -> list[tuple[str, str, bytes]] | None:
        """Return the order of all messages if it is the same in both conversations."""
        one, two = ([seen.body for seen in record.arrived] for record in (self.one, self.two))
        return one if one == two else None


def shown(seen: Seen) -> bytes:
    return f"{seen.kind} {seen.method} ".encode() + seen.payload


def compare(direct: Direct, bridge: Record, *, ordered: bool) -> Iterator[Check]:
    """Compare all that a client sees of a server. A check whose two sides are the same is a success."""
    for step, expected in direct.one.answers.items():
        actual = bridge.answers.get(step, Seen("not asked"))
        if expected.kind == ENDED:
            # The bridge returns an error under the id of the request.
            yield Check(f"{step}, at which the server ends", b"error", actual.kind.encode())
        elif direct.is_stable(step):
            yield Check(step, shown(_as_carried(step, expected, actual)), shown(actual))
        if actual.id:
            yield Check(f"the id of {step}", bridge.ids[step], actual.id)
    yield from _others(direct, bridge)
    yield Check("how many lines are no messages", b"0", str(bridge.noise).encode())
    if ordered and direct.order is not None and not any(s.kind == ENDED for s in direct.one.answers.values()):
        # The first answer of 2026-07-28 is compared above.
        first = 1 if "server/discover" in direct.one.answers else 0
        order = [seen.body for seen in bridge.arrived]
        yield Check("the order of all messages", _lines(direct.order[first:]), _lines(order[first:]))


def compare_at_once(at_once: Direct, in_turn: Direct, bridge: Record) -> Iterator[Check]:
    """Compare the responses to requests that were sent at once: each must equal a response on the pipe.

    A server that changes its tools or sends requests after the handshake has more than one response to an early request.
    """
    for step in at_once.one.answers:
        actual = bridge.answers.get(step, Seen("not asked"))
        pipes = (at_once.one, at_once.two, in_turn.one, in_turn.two)
        known = [
            _as_carried(step, record.answers[step], actual) for record in pipes if step in record.answers
        ]
        if at_once.is_stable(step) and in_turn.is_stable(step):
            same = next((seen for seen in known if seen.body == actual.body), known[0])
            yield Check(step, shown(same), shown(actual))
        if actual.id:
            yield Check(f"the id of {step}", bridge.ids[step], actual.id)


def _as_carried(step: str, expected: Seen, actual: Seen) -> Seen:
    """Return the expected answer as the bridge carries it."""
    if step != "server/discover":
        return expected
    return attrs.evolve(expected, payload=_with_versions_of(actual.payload, expected.payload))


def _with_versions_of(actual: bytes, expected: bytes) -> bytes:
    """Return the expected result with the versions of the actual one: the bridge leaves out those that it cannot carry."""
    ours, theirs = ((members(text) or {}).get("supportedVersions", b"") for text in (actual, expected))
    return expected.replace(theirs, ours, 1) if ours and set(items(ours)) <= set(items(theirs)) else expected


def unescaped(seen: Seen) -> Seen:
    """Return a message as it was before its way over an event stream."""
    payload = seen.payload
    if any(escape in payload for escape in ESCAPES):
        payload = ESCAPE.sub(lambda found: ESCAPES.get(found[0], found[0]), payload)
    return attrs.evolve(seen, payload=payload)


def _lines(bodies: Iterable[tuple[str, str, bytes]]) -> bytes:
    return b"\n".join(f"{kind} {method} ".encode() + payload for kind, method, payload in bodies)


def _others(direct: Direct, bridge: Record) -> Iterator[Check]:
    expected, actual = direct.others, bridge.others
    known = direct.one.others | direct.two.others
    for body, count in expected.items():
        name = f"{body[0]} {body[1]}"
        found = min(actual[body], count)
        # The message in its place, to show the difference.
        near = b"" if found == count else _near(body, actual - expected)
        for number in range(count):
            yield Check(
                name, body[2] or b"(no params)", (body[2] or b"(no params)") if number < found else near
            )
    for body in (actual - known).elements():
        if body[1] not in direct.own_methods:
            yield Check(f"{body[0]} {body[1]}, which the server has not sent", b"", body[2] or b"(no params)")


def _near(body: tuple[str, str, bytes], rest: Others) -> bytes:
    return next((payload for kind, method, payload in rest if (kind, method) == body[:2]), b"(none)")


# ---- between the eras, and the aggregate


def compare_across(direct: Direct, bridge: Record, prefix: str = "") -> Iterator[Check]:
    """Compare messages that pass from one era to the other: each item of a list without its prefix, each result, each error.

    Results are written anew, member by member, since those of `BETWEEN_ERAS` are added or removed. What the bridge answers
    itself (the handshake, ping, the log level, an unknown method) is not compared. The aggregate has a prefix.
    """
    where = "aggregate" if prefix else "across eras"
    for step, expected in direct.one.answers.items():
        actual = bridge.answers.get(step)
        # The aggregate has all on one page.
        pages = [
            answer for name, answer in direct.one.answers.items() if name.startswith(page_name(step, ""))
        ]
        if step == "initialize" or actual is None or expected.kind == ENDED or not direct.is_stable(step):
            continue
        if step in LISTS:
            yield from _compare_lists(step, [expected, *pages], actual, prefix)
        elif expected.kind == actual.kind:
            yield Check(f"{where}: {step}", _without_eras(expected.payload), _without_eras(actual.payload))
        else:
            yield Check(f"{where}: {step}", shown(expected), shown(actual))


def how_many_items(step: str, direct: Direct) -> int:
    """Return how many items all pages of a list have together."""
    pages = [answer for name, answer in direct.one.answers.items() if name.startswith(page_name(step, ""))]
    return sum(len(_items_of(step, page)) for page in [direct.one.answers.get(step, Seen(SILENT)), *pages])


def has_items(step: str, answer: Seen, count: int) -> bool:
    return step not in LISTS or len(_items_of(step, answer)) >= count


def _items_of(step: str, answer: Seen) -> list[bytes]:
    return items((members(answer.payload) or {}).get(LISTS[step][0], b"[]"))


def page_name(step: str, page: int | str) -> str:
    return f"{step}, page {page}"


def _compare_lists(step: str, expected: Sequence[Seen], actual: Seen, prefix: str) -> Iterator[Check]:
    where, key = LISTS[step]
    way = "aggregate" if prefix else "across eras"
    # A server that has no such list adds nothing to that of the aggregate.
    theirs = [item for page in expected for item in _items_of(step, page)]
    ours = _items_of(step, actual)
    yield Check(f"{way}: how many {where}", str(len(theirs)).encode(), str(len(ours)).encode())
    for one, other in zip(theirs, ours, strict=False):
        item = members(other) or {}
        if key == "name":
            item["name"] = item["name"].replace(b'"' + prefix.encode(), b'"', 1)
        known = members(one) or {}
        known.pop(NOT_MODERN, None)
        yield Check(f"{way}: an item of {where}", _written(known), _written(item))


def _without_eras(payload: bytes) -> bytes:
    found = members(payload)
    if found is None:
        return payload
    meta = {
        name: value
        for name, value in (members(found.pop("_meta", b"{}")) or {}).items()
        if name != SERVER_INFO
    }
    kept = {name: value for name, value in found.items() if name not in BETWEEN_ERAS}
    return _written(kept) + b"\n" + _written(meta)


def _written(found: Mapping[str, bytes]) -> bytes:
    return b"\n".join(name.encode() + b": " + value for name, value in found.items())


# ---- input of the server


def compare_input(bridge: Record, taken: Sequence[bytes]) -> Iterator[Check]:
    """Compare the messages of the client with the lines at the stdin of the server."""
    arrived = Counter(seen.body for line in taken if (seen := read(line)) is not None)
    for seen in bridge.sent:
        name = f"at stdin: {seen.method or seen.kind}"
        if seen.method == "ping" and not arrived[seen.body]:
            # The bridge answers a ping while the server starts.
            continue
        if arrived[seen.body]:
            arrived[seen.body] -= 1
            yield Check(name, seen.payload, seen.payload)
        else:
            yield Check(name, seen.payload, _near(seen.body, arrived))


def compare_shared_input(bridge: Record, taken: Sequence[bytes]) -> Iterator[Check]:
    """Compare the messages of a client with the lines at the stdin of a process that several clients share.

    The bridge sends the handshake and answers pings. The progress token of a request is a string that begins with its id at
    the server and a dot.
    """
    arrived: Counter[tuple[str, str, bytes]] = Counter()
    for seen in filter(None, map(read, taken)):
        payload, token = _without_token(seen)
        if token:
            yield Check(f"progress token at stdin: {seen.method}", seen.id, token[1:].partition(b".")[0])
        arrived[seen.kind, seen.method, payload] += 1
    for seen in bridge.sent:
        if seen.method in HANDSHAKE or (seen.method == "ping" and not arrived[seen.body]):
            continue
        payload, _ = _without_token(seen)
        body = (seen.kind, seen.method, payload)
        arrived_so = arrived[body] > 0
        arrived[body] -= arrived_so
        yield Check(
            f"at stdin: {seen.method or seen.kind}", payload, payload if arrived_so else _near(body, +arrived)
        )


def _without_token(seen: Seen) -> tuple[bytes, bytes]:
    """Return the params of a request without the progress token, and that token. Other payloads are returned as they are."""
    params = members(seen.payload) if seen.kind == "request" else None
    meta = members((params or {}).get("_meta", b"null"))
    if params is None or meta is None or "progressToken" not in meta:
        return seen.payload, b""
    token = meta.pop("progressToken")
    params["_meta"] = _written(meta)
    return _written(params), token


def _written(found: Mapping[str, bytes]) -> bytes:
    return msgspec.json.encode({name: msgspec.Raw(value) for name, value in found.items()})


def compare_arguments(bridge: Record, taken: Sequence[bytes]) -> Iterator[Check]:
    """Compare the arguments of calls: between the eras, and by the aggregate, the rest of the params is rewritten."""
    arrived = Counter(_arguments(seen) for line in taken if (seen := read(line)) is not None)
    for seen in bridge.sent:
        if seen.method == "tools/call" and arrived[_arguments(seen)] == 0:
            yield Check("arguments at stdin", _arguments(seen), next(iter(arrived), b"(none)"))
        elif seen.method == "tools/call":
            yield Check("arguments at stdin", b"", b"")


def compare_declared(extensions: Mapping[str, Any], processes: Iterable[Sequence[bytes]]) -> Iterator[Check]:
    """Compare what the client declares with what each process that serves calls has received.

    That is in `initialize`, or with each call of 2026-07-28. The settings are compared as values, since a declaration is
    translated between the eras. The aggregate may have a process of its own, which is for its lists.
    """
    found = [list(filter(None, map(read, taken))) for taken in processes]
    serving = [seen for seen in found if any(one.method == "tools/call" for one in seen)]
    declarations = [
        capabilities.get("extensions", {})
        for seen in serving
        for one in seen
        if one.method in ("initialize", "tools/call") and (capabilities := _declared_in(one)) is not None
    ]
    for name, settings in extensions.items():
        for actual in [declared.get(name) for declared in declarations] or [None]:
            yield Check(f"{name}, declared to the server", *map(msgspec.json.encode, (settings, actual)))


def _declared_in(seen: Seen) -> dict[str, Any] | None:
    """Return the client capabilities that a request declares, None where it declares none."""
    params = msgspec.json.decode(seen.payload) if seen.payload else None
    if not isinstance(params, dict) or seen.kind != "request":
        return None
    if seen.method == "initialize":
        return params["capabilities"]
    return params.get("_meta", {}).get(CLIENT_CAPABILITIES)


def compare_shown(marks: Iterable[bytes], bridge: Record) -> Iterator[Check]:
    """Look for bytes that an answer must have, whatever comes on the pipe."""
    payloads = [seen.payload.replace(b" ", b"") for seen in bridge.answers.values()]
    for mark in marks:
        yield Check(
            "an answer shows", mark, mark if any(mark in payload for payload in payloads) else b"(none)"
        )


def _arguments(seen: Seen) -> bytes:
    return (members(seen.payload) or {}).get("arguments", b"") if seen.method == "tools/call" else b""
