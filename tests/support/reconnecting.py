"""`mcp-bridge connect` in front of a daemon that is restarted."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from .bridge_process import EXAMPLE, PROGRAM
from .daemon_process import Daemon, write_config
from .handshake import INITIALIZED
from .raw_http import INITIALIZE

SERVER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("servers") / "counting.py")]
TIMEOUT = 20
CLIENT_WITH_ROOTS = {**INITIALIZE, "capabilities": {"roots": {}}}


def message(method, number=None, **params):
    found = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
    return found if number is None else {**found, "id": number}


def call(number, name, **arguments):
    return message("tools/call", number, name=name, arguments=arguments)


class Installation:
    """A configuration whose daemon is started several times, and the journal of its server."""

    def __init__(self, folder):
        self.folder = folder
        self.journal = folder / "journal"
        self.journal.touch()
        self.configure()

    def configure(self, *words, name="one", **server):
        servers = {"other": {"command": EXAMPLE}}
        if name:
            servers[name] = {"command": [*SERVER, str(self.journal), *words], **server}
        write_config(self.folder / "config.toml", servers, limits={"drain_seconds": 1})

    def daemon(self, **options):
        return Daemon(self.folder, **options)

    def calls(self):
        """Return the names and numbers of the calls that the server received."""
        lines = [line.split(" ", 1)[1] for line in self.journal.read_text().splitlines()]
        return [line.removeprefix("tools/call ") for line in lines if line.startswith("tools/call")]

    def wait_for_call(self):
        end = time.monotonic() + TIMEOUT
        while not self.calls():
            assert time.monotonic() < end
            time.sleep(0.01)

    def processes(self):
        """Return the messages that each server process received, without calls."""
        found = {}
        for line in self.journal.read_text().splitlines():
            pid, text = line.split(" ", 1)
            if not text.startswith(("tools/", "server/")):
                found.setdefault(pid, []).append(text.rpartition(" ")[0])
        return list(found.values())


class Process:
    """A running `connect`, used through its standard streams only."""

    def __init__(self, home, *words, name="one"):
        variables = {**Daemon.variables.fget(home)}
        self.process = subprocess.Popen(
            [PROGRAM, "connect", name, "--config", str(home.folder / "config.toml"), *words],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines = queue.SimpleQueue()
        self.stderr_lines = []
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=lambda: self.stderr_lines.extend(self.process.stderr), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def send(self, *messages):
        for one in messages:
            self.process.stdin.write(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self):
        return self.lines.get(timeout=TIMEOUT)

    def answer(self, number, seen=None):
        """Return the response to a request. Earlier messages are appended to `seen`."""
        while (found := self.receive()).get("id") != number or "method" in found:
            if seen is not None:
                seen.append(found)
        return found

    def open(self):
        self.send(message("initialize", 0, **CLIENT_WITH_ROOTS), INITIALIZED)
        assert "result" in self.answer(0)

    def wait_for_stderr(self, text):
        end = time.monotonic() + TIMEOUT
        while text not in self.stderr:
            assert time.monotonic() < end, (text, self.stderr_lines)
            time.sleep(0.01)

    @property
    def stderr(self):
        return b"".join(self.stderr_lines).decode()

    def end(self):
        """Close the input and return the exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.wait()

    def wait(self):
        code = self.process.wait(TIMEOUT)
        for thread in self._threads:
            thread.join(TIMEOUT)
        return code


@contextlib.contextmanager
def connected(home, *words, name="one"):
    found = Process(home, *words, name=name)
    try:
        yield found
    finally:
        found.process.kill()
        with contextlib.suppress(BrokenPipeError):
            found.end()
        found.process.stdout.close()
        found.process.stderr.close()
