"""The outcome of each cell: compare the messages of client and server with those on the pipe. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from compare import SERVER_INFO, Seen, members
from transcript import Transcript, code_of, id_of, parts, read, requests_of, split, value
from variants import PREFIX, Column, NotApplicable, Open, Refused, Variant

# Members that the translation between eras adds to a result.
_ADDED = ("resultType", "ttlMs", "cacheScope", "nextCursor", "requestState")
_ENVELOPE = tuple(
    f"{PREFIX}{name}" for name in ("protocolVersion", "clientInfo", "clientCapabilities", "logLevel")
)
# Params that count as absent.
_EMPTY = (b"null", b"[]", b"{}")
# Differences in payloads of a process with several clients, whose request states are signed.
_RENAMED = (b"progressToken", b"requestState", b"inputRequests")


@attrs.frozen
class Cell:
    """One variant in one column. `is_good`: the outcome is as expected."""

    variant: Variant
    column: Column
    outcome: str
    is_good: bool


@attrs.frozen
class Side:
    """The messages that one side received, in order, without ids that the bridge has allocated."""

    messages: tuple[tuple[str, str, str, bytes], ...]


# ---- messages of a client


def bodies(messages: Sequence[Seen], *, exact: bool, at_server: bool) -> list[tuple[str, str, str, object]]:
    """Return what is compared of each message: kind, method, id of an answer, and payload."""
    asked: list[bytes] = []
    found = []
    for seen in messages:
        if seen.kind == "request":
            asked.append(seen.id)
        number = "" if seen.method or at_server else id_of(seen.id)
        payload: object = b"" if seen.method and seen.payload.strip() in _EMPTY else seen.payload
        if seen.method == "notifications/cancelled":
            payload = _with_position(seen.payload, asked)
        if not exact or any(name in seen.payload for name in _RENAMED):
            payload = plain(payload, at_server=at_server)
        found.append((seen.kind, seen.method, number, payload))
    return found


def _with_position(payload: bytes, asked: Sequence[bytes]) -> bytes:
    found = members(payload) or {}
    named = [id_of(one) for one in asked]
    if "requestId" in found and id_of(found["requestId"]) in named:
        at = len(named) - 1 - named[::-1].index(id_of(found["requestId"]))
        found["requestId"] = b"number %d" % at
    return b", ".join(name.encode() + b": " + text for name, text in found.items())


def plain(payload: object, *, at_server: bool) -> object:
    """Return the value of a payload without what a translation adds."""
    if not isinstance(payload, bytes):
        return payload
    found = value(payload)
    if not isinstance(found, dict):
        return found if payload else {}
    found = {name: one for name, one in found.items() if name not in _ADDED}
    if isinstance(found.get("inputRequests"), dict):
        found["inputRequests"] = sorted(
            json.dumps(one, sort_keys=True, default=repr) for one in found["inputRequests"].values()
        )
    if isinstance(found.get("inputResponses"), dict):
        found["inputResponses"] = sorted(
            json.dumps(one, sort_keys=True, default=repr) for one in found["inputResponses"].values()
        )
    meta = found.pop("_meta", None)
    if isinstance(meta, dict):
        meta = {name: one for name, one in meta.items() if name not in (*_ENVELOPE, SERVER_INFO)}
        if at_server and "progressToken" in meta:
            meta["progressToken"] = True
    if meta:
        found["_meta"] = meta
    return found


# ---- messages of a server


def segments(lines: Iterable[bytes]) -> dict[str, list[Seen]]:
    """Return the messages that a server has received before each fence, by the name of the fence."""
    found: dict[str, list[Seen]] = {}
    current: list[Seen] = []
    last: list[Seen] = []
    for line in lines:
        for one in split(line.decode("utf-8", "replace").encode()):
            seen = read(one)
            if seen is None:
                continue
            name = _fence(seen)
            if seen.method == "tools/list" and b'"name":"mcp-bridge"' in seen.payload:
                # The bridge reads the annotations of tools, which the headers of calls mirror.
                continue
            if seen.method == "notifications/cancelled" and _names_one_of(seen, last):
                # Through the aggregate the message may arrive after the next call.
                last.append(seen)
            elif name is None:
                current.append(seen)
            else:
                found[name] = last = current
                current = []
    return found


def _names_one_of(seen: Seen, messages: Sequence[Seen]) -> bool:
    named = (members(seen.payload) or {}).get("requestId")
    return named is not None and any(one.kind == "request" and one.id == named for one in messages)


def _fence(seen: Seen) -> str | None:
    if b'"fence"' not in seen.payload:
        return None
    arguments = (members(seen.payload) or {}).get("arguments", b"{}")
    name = members(arguments) or {}
    return json.loads(name["fence"]) if "fence" in name else None


# ---- cells


@attrs.frozen
class Evidence:
    """A variant in one conversation: what the client has received and sent, and what the server has received."""

    transcript: Transcript
    at_server: Sequence[Seen]


def judge(variant: Variant, column: Column, direct: Mapping[str, Evidence], bridge: Evidence) -> Cell:
    """Compare a variant with that of the client's era, and its server with the one of its own era."""
    expected = variant.expected(column)
    if isinstance(expected, NotApplicable):
        return Cell(variant, column, f"n/a: {expected.why}", True)
    if bridge.transcript.ended:
        return _differs(variant, column, bridge.transcript.ended, expected)
    if isinstance(expected, Refused):
        fault = _not_refused(expected, column, direct[column.era], bridge)
        if fault:
            return _differs(variant, column, fault, None)
        return Cell(variant, column, f"refused: {expected.why}", True)
    faults = list(differences(column, direct, bridge))
    if faults:
        return _differs(variant, column, "; ".join(faults), expected)
    return Cell(variant, column, "same", not isinstance(expected, Open))


def _differs(variant: Variant, column: Column, text: str, expected: object) -> Cell:
    what = expected.what if isinstance(expected, Open) else text
    return Cell(variant, column, f"differs: {what}", isinstance(expected, Open))


def _not_refused(expected: Refused, column: Column, direct: Evidence, bridge: Evidence) -> str:
    answers = [
        (id_of(seen.id), code_of(seen.payload)) for seen in bridge.transcript.received if seen.kind == "error"
    ]
    for raw_id in expected.ids:
        if (id_of(raw_id), expected.code) not in answers:
            return f"no error {expected.code} under the id {raw_id.decode()}, but {_short(bridge.transcript.received)}"
    more = [seen for seen in bridge.transcript.received if seen.kind not in ("error", "result")]
    known = [seen.body for seen in direct.transcript.received]
    if any(seen.body not in known for seen in more):
        return f"besides the refusal there came {_short(more)}"
    # The aggregate may have initialized its server meanwhile.
    sent = set(_methods(direct.transcript.sent))
    written = Counter(seen.method for seen in bridge.at_server if seen.method in sent)
    if written - Counter(seen.method for seen in direct.at_server):
        return f"the server received {_short(bridge.at_server)}"
    return ""


def differences(column: Column, direct: Mapping[str, Evidence], bridge: Evidence) -> Iterator[str]:
    over_http = column.carrier == "H"
    # Over HTTP each message may have a connection of its own; the aggregate passes several requests side by side.
    in_turn = not over_http and column.way != "A"
    wanted = direct[column.era].transcript.relevant()
    came = bridge.transcript.relevant(over_http=over_http)
    exact = column.exact
    one, two = (bodies(side, exact=exact, at_server=False) for side in (wanted, came))
    yield from _compare("the client", one, two, ordered=in_turn)
    if not in_turn and len(list(requests_of(direct[column.era].transcript.sent))) == 1:
        of_call = (list(filter(_is_of_call, side)) for side in (one, two))
        yield from _compare("the client, of its request,", *of_call, ordered=True)
    # The messages of the server, if the variant is of one era only.
    other = direct.get(column.pair, direct[column.era])
    at_server, reached = other.at_server, bridge.at_server
    methods = set(_methods(other.transcript.sent))
    # The bridge sends a ping to a server from time to time.
    reached = [seen for seen in reached if seen.method != "ping" or "ping" in methods]
    if not exact or column.table:
        at_server, reached = (
            [seen for seen in side if not seen.method or seen.method in methods]
            for side in (at_server, reached)
        )
    one, two = (bodies(side, exact=exact, at_server=True) for side in (at_server, reached))
    yield from _compare("the server", one, two, ordered=in_turn)


def _is_of_call(body: tuple[str, str, str, object]) -> bool:
    return not body[1] or body[1] == "notifications/progress"


def _methods(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        for one in split(line):
            found = parts(one) or {}
            if "method" in found:
                yield json.loads(found["method"])


def _compare(who: str, one: Sequence[object], two: Sequence[object], *, ordered: bool) -> Iterator[str]:
    if one == two:
        return
    left = list(two)
    missing = []
    for body in one:
        if body in left:
            left.remove(body)
        else:
            missing.append(body)
    if missing or left:
        lost = f"{who} did not receive {_shown(missing)}" if missing else ""
        more = f"{who} received {_shown(left)}" if left else ""
        yield ", but ".join(filter(None, [lost, more.removeprefix(f"{who} ") if lost else more]))
    elif ordered:
        yield f"{who} received it in another order: {_shown(one)} as {_shown(two)}"


def _shown(found: Sequence[object]) -> str:
    return " and ".join(_cut(repr(one)) for one in found[:3]) + (
        f" and {len(found) - 3} more" if len(found) > 3 else ""
    )


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]}…{text[-90:]}"


def _short(messages: Iterable[Seen]) -> str:
    return _shown([(seen.kind, seen.method, seen.id, seen.payload) for seen in messages]) or "nothing"
