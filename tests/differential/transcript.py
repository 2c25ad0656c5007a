"""One client's conversation: the lines of each variant, and all messages until the response to a fence.

The fence is a call after each variant. A server answers in order, therefore its earlier messages are on their way when the
fence is answered; what a client of Streamable HTTP gets on another stream is waited for, as far as it is known what must come.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import trio
from carriers import Carrier
from compare import Seen, items, members, unescaped
from compare import read as read_strictly
from conversation import ANSWERS, Step, retry
from variants import Face, Variant, Wait, call, wire

# Limits on a response and on an expected message, and on a late notification (seconds).
TIMEOUT = 5
LATE = 1
# The first answer of a server may take longer, since it is started for it.
START = 40
# The error with which a POST is answered whose request was cancelled.
CANCELLED = -32800


@attrs.frozen
class Number:
    """The text of a number, which is not a string and not rounded."""

    text: str


def value(text: bytes) -> object:
    """Return a JSON value whose numbers are as they were written."""
    try:
        return json.loads(text, parse_int=Number, parse_float=Number)
    except (ValueError, RecursionError):
        return text


def id_of(raw_id: bytes) -> str:
    """Return a raw id in one spelling."""
    return repr(value(raw_id))


def code_of(payload: bytes) -> object:
    """Return the code of an error."""
    found = value(payload)
    code = found.get("code") if isinstance(found, dict) else None
    if isinstance(code, Number) and code.text.lstrip("-").isdigit():
        return int(code.text)
    return code


@attrs.define
class Transcript:
    """The messages that the client has received of one variant, in order, and those that it has sent besides its lines."""

    received: list[Seen] = attrs.field(factory=list)
    sent: list[bytes] = attrs.field(factory=list)
    # Number of lines that were not messages.
    noise: int = 0
    # Reason for the end of the conversation, "" if it continues.
    ended: str = ""

    @property
    def answers(self) -> list[Seen]:
        return [seen for seen in self.received if seen.is_answer]

    def relevant(self, *, over_http: bool = False, refused: bool = False) -> list[Seen]:
        """Return the messages that are compared: one response for each request. If `refused`, some have no id."""
        unanswered = Counter(id_of(found["id"]) for found in requests_of(self.sent))
        kept: list[Seen] = []
        for seen in self.received:
            if seen.is_answer:
                # The request was cancelled, but its POST has an answer.
                is_for_http = over_http and seen.kind == "error" and code_of(seen.payload) == CANCELLED
                is_nameless = refused and seen.kind == "error"
                if is_for_http or not (unanswered[id_of(seen.id)] or is_nameless):
                    continue
                unanswered[id_of(seen.id)] -= 1
            kept.append(seen)
        return kept


def split(line: bytes) -> list[bytes]:
    """Return the messages of a line: those of a batch, or itself."""
    if not line.lstrip().startswith(b"["):
        return [line]
    try:
        return items(line)
    except ValueError:
        return [line]


_SURROGATE = re.compile(rb"\\u(d[89a-f][0-9a-f]{2})")
_MARK = re.compile(rb"#\^(d[89a-f][0-9a-f]{2})")


def read(line: bytes) -> Seen | None:
    """Return the message of a line, or None for any other line.

    A member that is null and has no place counts as absent. Surrogates, which the decoder refuses, are kept.
    """
    seen = _read(_SURROGATE.sub(rb"#^\1", line))
    if seen is None or b"#^" not in seen.payload + seen.id:
        return seen
    payload, raw_id = (_MARK.sub(rb"\\u\1", text) for text in (seen.payload, seen.id))
    return attrs.evolve(seen, payload=payload, id=raw_id)


def _read(line: bytes) -> Seen | None:
    found = members(line)
    if found is not None and b"null" in line:
        absent = {name for name in ("error", "method") if found.get(name) == b"null"}
        if absent and "result" in found:
            kept = {name: value for name, value in found.items() if name not in absent}
            return read_strictly(_object(kept))
    return read_strictly(line)


def parts(line: bytes) -> dict[str, bytes] | None:
    """Return the members of a message of which only the envelope matters, or None if it is no object."""
    return members(_SURROGATE.sub(rb"#^\1", line))


def requests_of(lines: Iterable[bytes]) -> Iterator[Mapping[str, bytes]]:
    """Return the members of the requests in these lines."""
    for line in lines:
        for one in split(line):
            found = parts(one)
            if found is not None and "id" in found and "method" in found:
                yield found


class Client:
    """The conversation of one group over one carrier."""

    def __init__(self, carrier: Carrier, era: str, prefix: str = "") -> None:
        self._carrier = carrier
        self._era = era
        self._prefix = prefix
        self._transcript = Transcript()
        self._answers: Mapping[str, bytes] = {}
        self._steps: dict[str, Step] = {}

    async def have(
        self, name: str, face: Face, expected: Transcript | None, refusals: int | None = None
    ) -> Transcript:
        """Take the steps of a variant. `expected` are the messages on the pipe, `refusals` the number of errors instead."""
        self._transcript = transcript = Transcript()
        self._answers = face.answers
        wanted = face.wanted if expected is None else sum(seen.is_answer for seen in expected.relevant())
        wanted = wanted if refusals is None else refusals
        try:
            for step in face.steps:
                if isinstance(step, Wait):
                    await self._until(step)
                elif not name and b'"notifications/initialized"' in step:
                    # Over HTTP the session is known from the answer to initialize only.
                    if not self._carrier.ordered:
                        await self._gather(lambda: len(transcript.answers) >= 1, START)
                    await self._send(step)
                else:
                    await self._send(wire(step, self._era, self._prefix))
            await self._gather(
                lambda: (
                    sum(seen.is_answer for seen in transcript.relevant(refused=refusals is not None))
                    >= wanted
                ),
                TIMEOUT if name else START,
            )
            if face.fenced:
                await self._fence(name)
            if expected is not None and refusals is None:
                others = [seen.body for seen in expected.received if not seen.is_answer]
                await self._gather(
                    lambda: len(transcript.received) - len(transcript.answers) >= len(others), LATE
                )
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as fault:
            transcript.ended = repr(fault)
        return transcript

    async def _fence(self, name: str) -> None:
        raw = json.dumps(f"fence-{name}").encode()
        given = b'"arguments":{"fence":%b}' % json.dumps(name).encode()
        await self._carrier.send(wire(call("fence", raw, given), self._era, self._prefix))
        with trio.move_on_after(TIMEOUT) as scope:
            while True:
                message = await self._next()
                if message is not None and message.is_answer and message.id == raw:
                    return
        if scope.cancelled_caught:
            self._transcript.ended = "the next call was not answered"

    async def _until(self, wait: Wait) -> None:
        received = self._transcript.received
        await self._gather(
            lambda: sum(seen.method == wait.method for seen in received) >= wait.count, TIMEOUT
        )

    async def _gather(self, is_enough, timeout: float) -> None:
        with trio.move_on_after(timeout):
            while not is_enough():
                await self._next()

    async def _send(self, line: bytes) -> None:
        found = parts(line) or {}
        if "id" in found and "method" in found:
            try:
                self._steps[_value(found["id"])] = Step("", line, found["id"])
            except ValueError:
                pass
        self._transcript.sent.append(line)
        await self._carrier.send(line)

    async def _next(self) -> Seen | None:
        """Read the next message, and answer it if it is a request. Return the message, or None for another line."""
        try:
            line = await self._carrier.received.receive()
        except trio.EndOfChannel:
            raise ConnectionResetError("the connection has ended") from None
        last = None
        # As a client on a pipe reads it.
        for one in split(line.decode("utf-8", "replace").encode()):
            message = read(one)
            if message is None:
                self._transcript.noise += 1
                continue
            if self._carrier.escapes:
                message = unescaped(message)
            if not message.id.startswith(b'"fence-'):
                await self._take(message)
            last = message
        return last

    async def _take(self, message: Seen) -> None:
        found = members(message.payload) or {}
        step = self._steps.get(_value(message.id)) if message.id and message.is_answer else None
        if "inputRequests" in found and step is not None:
            self._transcript.received.append(
                attrs.evolve(
                    message, payload=b'{"inputRequests":%b}' % found["inputRequests"], method="input"
                )
            )
            again = retry(step, len(self._steps), found)
            line = _with_answers(again.line, found["inputRequests"], self._answers)
            self._steps[_value(again.id)] = attrs.evolve(
                step, line=line, id=again.id, name=step.name or _value(step.id)
            )
            self._transcript.sent.append(line)
            await self._carrier.send(line)
            return
        if step is not None and step.name and message.is_answer:
            # The answer to a retry is that of the request.
            message = attrs.evolve(message, id=step.name.encode())
        self._transcript.received.append(message)
        if message.kind == "request":
            line = self._answer_to(message)
            if line:
                self._transcript.sent.append(line)
                await self._carrier.send(line)

    def _answer_to(self, message: Seen) -> bytes:
        body = self._answers.get(message.method)
        if body is None and message.method in ANSWERS:
            body = b'"result":' + json.dumps(ANSWERS[message.method]).encode()
        if body is None:
            body = b'"error":{"code":-32601,"message":"not here"}'
        return b'{"jsonrpc":"2.0","id":%b,%b}' % (message.id, body) if body else b""


def _value(raw: bytes) -> str:
    """Return an id in one spelling: of a string its value, of anything else its text."""
    return json.dumps(json.loads(raw)) if raw.startswith(b'"') else raw.decode()


def _with_answers(line: bytes, requests: bytes, answers: Mapping[str, bytes]) -> bytes:
    """Replace the usual responses by the raw responses of a variant."""
    found = members(line) or {}
    params = members(found["params"]) or {}
    given = members(params["inputResponses"]) or {}
    for key, asked in (members(requests) or {}).items():
        method = json.loads(asked)["method"]
        if method in answers:
            given[key] = answers[method].partition(b":")[2]
    params["inputResponses"] = _object(given)
    found["params"] = _object(params)
    return _object(found)


def _object(found: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(json.dumps(name).encode() + b":" + value for name, value in found.items()) + b"}"


async def converse(
    carrier: Carrier,
    opening: Face,
    variants: Sequence[tuple[Variant, Face, int | None]],
    era: str,
    expected: Mapping[str, Transcript] | None,
    prefix: str = "",
) -> dict[str, Transcript]:
    """Run a whole conversation. Return the messages for each variant, and for the opening under an empty name."""
    client = Client(carrier, era, prefix)
    found = {"": await client.have("", opening, expected and expected[""])}
    for variant, face, refusals in variants:
        found[variant.name] = await client.have(
            variant.name, face, expected and expected[variant.name], refusals
        )
        if found[variant.name].ended:
            break
    return found
