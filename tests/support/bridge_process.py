"""Run the bridge as a process: start it, wait until it is ready, end it, and require that no process is left.

Standard library only and no event loop, because pytest fixtures and programs use it.
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .known_secrets import remember, require_hidden

# Beside our interpreter, unless the environment names another, such as that of an installed wheel.
PROGRAM = Path(os.environ.get("MCP_BRIDGE", Path(sys.executable).with_name("mcp-bridge")))
REPOSITORY = Path(__file__).parents[2]
EXAMPLE = (sys.executable, str(REPOSITORY / "examples/server.py"))
# A server of the era of its first message, with the official Python SDK v2.
MODERN = (sys.executable, str(REPOSITORY / "tests/conformance/servers/py2.py"))

_READY = re.compile(r"^mcp-bridge: ready on (https?://[^/]+|unix:\S+?)(/\S+)?$")
# Variable of all processes that a test starts, also of daemonised processes.
_MARK = "MCP_BRIDGE_TEST_MARK"


class Bridge:
    """A running bridge in front of one command, as a context manager that ends the bridge and looks for orphans."""

    def __init__(
        self,
        runtime_dir: Path,
        command: Sequence[str] = EXAMPLE,
        *options: str,
        program: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
        passed: Sequence[int] = (),
    ) -> None:
        """`program` is run instead of the wrapper, if it is given, with these variables and descriptors as well."""
        self.mark = uuid.uuid4().hex
        self.lines: list[str] = []
        self._runtime_dir = runtime_dir
        self._ready = threading.Event()
        self._base = ""
        self._stopped = False
        runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            program
            or [PROGRAM, "--allow-root", "--port", "0", "--env", _MARK, *options, "--stdio", "--", *command],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "XDG_RUNTIME_DIR": str(runtime_dir),
                "XDG_STATE_HOME": str(runtime_dir / "state"),
                _MARK: self.mark,
                **(environment or {}),
            },
            pass_fds=passed,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))
                if ready := _READY.match(self._ready_line(self.lines[-1])):
                    self._base = ready[1]
                    self._ready.set()
        self._ready.set()

    @staticmethod
    def _ready_line(line: str) -> str:
        """Return the ready line as text, also if it was logged as JSON."""
        if not line.startswith("{"):
            return line
        event = json.loads(line)
        return f"mcp-bridge: ready on {event['url']}" if event["event"] == "ready" else ""

    def __enter__(self) -> Self:
        if not self._ready.wait(60) or not self._base:
            self.kill()
            raise RuntimeError("the bridge did not become ready:\n" + "\n".join(self.lines))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        alive = self.process.poll() is None
        code = self.stop() if alive else self.process.returncode
        left = self.wait_until_alone(5)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self._reader.join(5)
        if kind is None:
            self._require_hidden_secrets()
            assert not left, f"left behind: {left}"
            expected = alive or self._stopped
            assert expected, f"the bridge ended by itself with {code}:\n" + "\n".join(self.lines)
            assert not alive or code == 0, f"the bridge ended with {code}:\n" + "\n".join(self.lines)
        elif fault is not None:
            fault.add_note("the bridge's log:\n" + "\n".join(self.lines[-40:]))

    def _require_hidden_secrets(self) -> None:
        """Require that neither stderr nor a log file shows a secret of the tests."""
        if self._token_file.exists():
            remember(self._token_file.read_text().strip())
        require_hidden("\n".join(self.lines), "stderr of the bridge")
        for file in self._runtime_dir.parent.rglob("*.log*"):
            if file.is_file():
                require_hidden(file.read_text(errors="replace"), str(file))

    # ---- addresses

    @property
    def mcp(self) -> str:
        return self._base + "/mcp"

    @property
    def sse(self) -> str:
        return self._base + "/sse"

    @property
    def ws(self) -> str:
        return self._base.replace("http", "ws", 1) + "/ws"

    @property
    def healthz(self) -> str:
        return self._base + "/healthz"

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._base.rpartition("/")[2].rsplit(":", 1)
        return host, int(port)

    @property
    def token(self) -> str:
        return remember(self._token_file.read_text().strip())

    @property
    def _token_file(self) -> Path:
        return self._runtime_dir / "state" / "mcp-bridge" / "token"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    # ---- end

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self._stopped = True
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self._stopped = True
        self.process.kill()
        self.process.wait()

    # ---- processes

    def family(self) -> list[int]:
        """Return all living processes that the bridge or a descendant has started, without the bridge itself."""
        return [pid for pid in _marked(self.mark) if pid != self.process.pid]

    def children(self, program: str = "server.py") -> list[int]:
        """Return the processes of the family that run this program."""
        return [pid for pid in self.family() if program in " ".join(_command_line(pid))]

    def newest_child(self) -> int:
        """Return the pid of the server that was started last. It may be the lowest, because pids wrap."""
        return max(self.children(), key=_started_at)

    def wait_until_alone(self, seconds: float) -> list[int]:
        """Wait until no process of the family is alive. Return the processes that are left."""
        return wait_until_gone(self.family, seconds)


def _started_at(pid: int) -> int:
    """Return the start time of a process (clock ticks since boot, proc_pid_stat(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def wait_until_gone(look, seconds: float) -> list[int]:
    """Wait until `look` finds no process. Return the processes that are left after this time (seconds)."""
    end = time.monotonic() + seconds
    while (pids := look()) and (left := end - time.monotonic()) > 0:
        try:
            ended = os.pidfd_open(pids[0])
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(left * 1000)
        os.close(ended)
    return pids


def _marked(mark: str) -> list[int]:
    wanted = f"{_MARK}={mark}".encode()
    return sorted(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and wanted in _read_proc(entry / "environ").split(b"\0")
    )


def _command_line(pid: int) -> list[str]:
    return [part.decode(errors="replace") for part in _read_proc(Path(f"/proc/{pid}/cmdline")).split(b"\0")]


def _read_proc(path: Path) -> bytes:
    """Return the content of a file of /proc, or b"" for a process that has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
