"""Measure clients that are behind: messages lost, seconds and peak memory of the daemon, for each transport.

Usage, from the root of the repository: PYTHONPATH=. .venv/bin/python benchmarks/pressure.py [--slow SECONDS]. Each row has a
daemon of its own. Clients begin to read 0.5 s after their last request. With `--slow`, one client over each of three
transports does not read for this time (seconds), and then reads everything, while the limits of the server are shorter
(stdin_stall_seconds 10, ping_seconds 10, call_idle_seconds 20, call_seconds 30).
"""

import argparse
import json
import ssl
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
import trustme

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import slow_clients
from tests.support.daemon_process import daemon
from tests.support.http2_client import Client
from tests.support.raw_http import INITIALIZE, message

SERVER = Path(__file__).parents[1] / "tests/support/servers/large_output.py"
COMMAND = [sys.executable, "-I", "-S", str(SERVER)]
MB = 1_000_000
SHAPES = {
    "3 answers of 467 kB": [("big", {"bytes": 467_000})] * 3,
    "16 answers of 2 MB": [("big", {"bytes": 2 * MB})] * 16,
    "1 call, 5000 log lines": [("log", {"count": 5000, "bytes": 50})],
    "1 call, 64 MB of log lines": [("log", {"count": 64, "bytes": MB})],
}


class Answers(dict):
    """Responses by stream. Their bodies grow in place."""

    def __setitem__(self, number: int, answer: list) -> None:
        super().__setitem__(number, [*answer[:2], bytearray(), *answer[3:]])


class Speaker(Client):
    """An HTTP/2 client that sends all its requests on one connection."""

    async def post(self, body: bytes, **fields: str) -> int:
        headers = {**slow_clients.POST, **fields}
        head = self.head(
            "POST", "/servers/plain/mcp", *((key.lower(), text) for key, text in headers.items())
        )
        return await self.send_request(head, body)


def messages_in(body: bytes) -> list[dict]:
    if body.startswith(b"{"):
        return [json.loads(body)]
    texts = [part.partition("data: ")[2] for part in body.decode().split("\n\n")]
    return [json.loads(text) for text in texts if text]


async def over_http2(running, trusted, calls, pause):
    """Send all calls as streams of one HTTP/2 connection."""
    found = slow_clients.Found()
    host, port = running.address
    stream = await trio.open_ssl_over_tcp_stream(host, port, ssl_context=trusted, https_compatible=True)
    client = Speaker(stream, port, running.token)
    client.answers = Answers()
    await client.open()
    client.h2.increment_flow_control_window(2**24)
    answer = await client.answer(await client.post(message("initialize", INITIALIZE, id=0)))
    session = {"Mcp-Session-Id": answer[1][b"mcp-session-id"].decode()}
    numbers = []
    for number, (name, arguments) in enumerate(calls, 1):
        body = message("tools/call", {"name": name, "arguments": arguments}, id=number)
        numbers.append(await client.post(body, **session))
    await pause()
    for number in numbers:
        for one in messages_in(bytes((await client.answer(number))[2])):
            found.add(one)
    await stream.aclose()
    return found


def lost(found, calls) -> int:
    """Count the answers and the log lines that did not arrive as they were sent."""
    missing = 0
    for number, (name, arguments) in enumerate(calls, 1):
        answer = found.answers.get(number, {})
        text = answer.get("result", {}).get("content", [{"text": ""}])[0]["text"]
        missing += text != "x" * arguments["bytes"] if name == "big" else not text
        if name == "log":
            missing += arguments["count"] - len(found.notifications)
    return missing


def peak(running) -> float:
    """Return the peak of the daemon's resident memory (MiB)."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(folder: Path, transport: str, calls: list, seconds: float) -> None:
    limits = {
        "write_stall_seconds": seconds + 60,
        "ping_seconds": 10,
        "call_idle_seconds": 20,
        "call_seconds": 30,
    }
    listen, trusted = {}, ssl.create_default_context()
    if transport == "http/2":
        authority = trustme.CA()
        authority.configure_trust(trusted)
        trusted.set_alpn_protocols(["h2"])
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        (folder / "key.pem").chmod(0o600)
        listen = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    tables = {"listen": listen, "limits": limits, "aggregate": {"servers": ["plain"]}}
    with daemon(folder, {"plain": {"command": COMMAND}}, **tables) as running:
        before, began = peak(running), time.monotonic()
        use = (
            partial(over_http2, running, trusted)
            if transport == "http/2"
            else partial(slow_clients.TRANSPORTS[transport], running, "plain")
        )
        found = trio.run(use, calls, partial(trio.sleep, seconds))
        taken = time.monotonic() - began
        print(
            f"| {transport} | {lost(found, calls)} | {taken:.1f} | {before:.0f} -> {peak(running):.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", type=float, default=0)
    slow = parser.parse_args().slow
    shapes = {f"64 MB after {slow:g} s": SHAPES["1 call, 64 MB of log lines"]} if slow else SHAPES
    transports = ["http", "websocket", "connect"] if slow else [*slow_clients.TRANSPORTS, "http/2"]
    for shape, calls in shapes.items():
        print(f"\n| {shape} | lost | seconds | peak resident, MiB |\n|---|---|---|---|")
        for transport in transports:
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder), transport, calls, slow or 0.5)


if __name__ == "__main__":
    main()
