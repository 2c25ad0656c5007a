"""Make many calls at once through a stdio server in front of a server that keeps a journal, and compare what came back with the journal."""

import json
import random
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

MODERN = "2026-07-28"
_PREFIX = "io.modelcontextprotocol/"
_ENVELOPE = {
    f"{_PREFIX}protocolVersion": MODERN,
    f"{_PREFIX}clientInfo": {"name": "journaled", "version": "1"},
    f"{_PREFIX}clientCapabilities": {},
}
# The largest line that is read (bytes), and the limit on one call (seconds).
_LONGEST, _PATIENCE = 1 << 22, 60
# How long the first answer is awaited, while the processes start (seconds).
_OPENING = 60
# The words of an error by which a client knows that it must not simply repeat the call.
_MAY_HAVE_BEEN = re.compile(r"may have been|Session terminated before the request completed")


@attrs.define
class Call:
    number: str
    text: str
    answered: trio.Event = attrs.Factory(trio.Event)
    answers: list[dict[str, Any]] = attrs.Factory(list)


class StdioClient:
    """A client of one stdio server that sends lines, and keeps all that comes back."""

    def __init__(self, era: str, dice: random.Random) -> None:
        self.era = era
        self.calls: dict[str, Call] = {}
        self.strange: list[str] = []
        self._dice = dice
        self._process: trio.Process | None = None
        self.ended = False
        self._sending = trio.Lock()

    async def run(
        self,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        log: Any = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the server until it exits, or the task is cancelled."""
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
        self._process = process
        try:
            task_status.started()
            buffer = b""
            while data := await process.stdout.receive_some():
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._take(line)
            if buffer:
                self.strange.append(f"half a line at the end: {buffer[:200]!r}")
            self.strange.append("the process has ended")
        finally:
            # No more answers come.
            for call in self.calls.values():
                call.answered.set()
            self.ended = True
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                await process.stdin.aclose()
                await process.stdout.aclose()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            self.strange.append(f"not JSON: {line[:200]!r}")
            return
        if "method" in message:
            return
        call = self.calls.get(json.dumps(message.get("id")))
        if call is None:
            self.strange.append(f"an unknown id: {line[:200]!r}")
            return
        call.answers.append(message)
        call.answered.set()

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._sending:
            await self._process.stdin.send_all(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def request(
        self, identity: Any, method: str, params: dict[str, Any], call: Call, seconds: float | None = None
    ) -> None:
        """Send a request and wait for its answer, or until the time (seconds) is over."""
        self.calls[json.dumps(identity)] = call
        if self.era == "modern":
            params = {**params, "_meta": {**_ENVELOPE, **params.get("_meta", {})}}
        if self.ended:
            return
        with trio.move_on_after(_PATIENCE if seconds is None else seconds):
            await self._send({"id": identity, "method": method, "params": params})
            await call.answered.wait()

    async def open_session(self) -> dict[str, Any]:
        """Do the handshake, or what takes its place in the modern era. Return the answer."""
        if self.era == "modern":
            opening = ("server/discover", {})
        else:
            client = {"name": "journaled", "version": "1"}
            about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
            opening = ("initialize", about)
        call = Call("", "")
        await self.request("opening", *opening, call, _OPENING)
        del self.calls['"opening"']
        if self.era != "modern":
            await self._send({"method": "notifications/initialized"})
        return call.answers[0]

    async def make_calls(self, first: int, count: int, at_once: int) -> None:
        """Make so many calls of the tool `count`, and wait for their answers."""
        room = trio.Semaphore(at_once)
        async with trio.open_nursery() as nursery:
            for number in range(first, first + count):
                await room.acquire()
                nursery.start_soon(self._call, number, room)

    async def _call(self, number: int, room: trio.Semaphore) -> None:
        # Ids of all forms: `7` and `"7"` are two ids, and a large integer is not a float.
        identity = self._dice.choice([number, str(number), 9007199254740993 + number, f"c-é-{number}"])
        size = self._dice.choice([0, 0, 0, 10, 100_000])
        seconds, steps = self._dice.choice([0, 0, 0.002, 0.02]), self._dice.choice([0, 0, 3])
        arguments = {"number": f"n{number}", "seconds": seconds, "steps": steps, "size": size}
        params: dict[str, Any] = {"name": "count", "arguments": arguments}
        if steps:
            params["_meta"] = {"progressToken": f"p{number}"}
        try:
            await self.request(identity, "tools/call", params, Call(f"n{number}", f"n{number} " + "x" * size))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The server has exited: the call has no answer.
            return
        finally:
            room.release()


@attrs.frozen
class Verdict:
    """The findings, each once with the first example, and the number of outcomes."""

    findings: dict[str, str]
    outcomes: Counter[str]

    def __str__(self) -> str:
        return "\n".join(
            [*(f"{name}: {example}" for name, example in self.findings.items()), str(dict(self.outcomes))]
        )


def judge(client: StdioClient, journal: Path) -> Verdict:
    """Compare the answers with the journal."""
    executed = Counter(journal.read_text().split())
    found: dict[str, str] = {}
    outcomes: Counter[str] = Counter()
    for example in client.strange:
        found.setdefault("a strange line", example)
    for identity, call in client.calls.items():
        times = executed[call.number]
        if times > 1:
            found.setdefault("executed twice", f"{identity}: {times} times, {_short(call)}")
        if len(call.answers) != 1:
            found.setdefault("answered twice" if call.answers else "no answer", f"{identity}: {_short(call)}")
        for answer in call.answers[:1]:
            _judge_answer(identity, call, answer, times, found, outcomes)
    return Verdict(found, outcomes)


def _judge_answer(
    identity: str,
    call: Call,
    answer: dict[str, Any],
    times: int,
    found: dict[str, str],
    outcomes: Counter[str],
) -> None:
    if "result" in answer:
        outcomes["result"] += 1
        if [item.get("text") for item in answer["result"].get("content", ())] != [call.text]:
            found.setdefault("a wrong answer", f"{identity}: {_short(call)}")
        if not times:
            found.setdefault("a result without an execution", f"{identity}: {_short(call)}")
        return
    outcomes["error, executed" if times else "error"] += 1
    text = answer.get("error", {}).get("message", "")
    if len(text) < len("not found"):
        found.setdefault("an error without a reason", f"{identity}: {answer}")
    elif times and not _MAY_HAVE_BEEN.search(text):
        found.setdefault("an error that hides a possible execution", f"{identity}: {answer}")


def _short(call: Call) -> str:
    return f"{call.number} {json.dumps(call.answers)[:300]}"
