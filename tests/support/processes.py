"""Servers with descendants of several kinds, started through a Spawner in a process that can be killed.

As a program it is that process: `python processes.py KIND` prints the pids of the fork server, the keeper, the server
and its descendants as one JSON line, starts one more server for each line that it reads, and answers with its pid or the fault.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import trio

from mcpbridged.transports.options import Launch, SpawnFailed
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.validators.limits import Limits

# Each server prints the pids of the processes that must not survive, as one JSON line.
DAEMON = """
import os, signal, time
def daemonise(work):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, b"%d" % os.getpid())
            work()
        os._exit(0)
    pid = int(os.read(read, 32))
    os.wait()
    return pid
def rest():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)
"""
SERVERS = {
    "daemonised": DAEMON + "print([daemonise(rest)], flush=True); rest()",
    # A descendant without PR_SET_PDEATHSIG, and so the server itself.
    "unbound": DAEMON
    + "import ctypes; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0); print([daemonise(rest)], flush=True); rest()",
    # Each process runs for a moment, starts a successor in a new session, and exits when the file is removed.
    "bomb": DAEMON
    + """
def burst():
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()
        os.utime(os.environ["BEAT"])
        time.sleep(0.001)
print([daemonise(burst) for _ in range(2)], flush=True); rest()
""",
    "stopped": DAEMON + "print([daemonise(rest)], flush=True); os.kill(os.getpid(), signal.SIGSTOP); rest()",
    "group": DAEMON
    + "print([daemonise(rest)], flush=True); time.sleep(0.2); os.killpg(os.getpgrp(), signal.SIGKILL)",
}


class Host:
    """The process that starts servers. `mark` is in the environment of all their descendants."""

    def __init__(self, kind: str) -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self._beat = Path(tempfile.gettempdir(), self.mark)
        self._beat.touch()
        self.process = subprocess.Popen(
            [sys.executable, __file__, kind, self.mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        found = json.loads(self.process.stdout.readline())
        self.fork_server, self.keeper, self.server = found["fork server"], found["keeper"], found["server"]
        self.descendants = found["descendants"]

    def command(self, word: str) -> dict:
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def left(self) -> list[int]:
        """Return the living processes of the servers, of their descendants and of their keepers."""
        kept = [pid for pid in (self.fork_server, self.keeper) if is_alive(pid)]
        pids = map(int, filter(str.isdecimal, os.listdir("/proc")))
        return [*kept, *filter(self._is_ours, pids), *self._beats()]

    def _beats(self) -> list[int]:
        before = self._beat.stat().st_mtime_ns
        time.sleep(0.02)
        return [0] if self._beat.stat().st_mtime_ns != before else []

    def _is_ours(self, pid: int) -> bool:
        try:
            return self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        left = [pid for pid in self.left() if pid]
        self._beat.unlink()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main(kind: str, mark: str) -> None:
    # Under nohup it is ignored, and every process would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    beat = str(Path(tempfile.gettempdir(), mark))
    environment = {"PATH": os.environ["PATH"], "MARK": mark, "BEAT": beat}
    limits = Limits(stop_seconds=0.2)

    def write(message: dict) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    async def run(spawner: Spawner) -> None:
        poller = Poller()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            launch = Launch((sys.executable, "-c", SERVERS[kind]), environment)
            child = await spawner.spawn(launch, limits=limits, poller=poller)

            def on_line(line: bytes) -> None:
                keeper = parent_of(child.pid)
                write(
                    {
                        "fork server": parent_of(keeper),
                        "keeper": keeper,
                        "server": child.pid,
                        "descendants": json.loads(line),
                    }
                )

            child.set_line_handler(on_line)
            nursery.start_soon(serve, child)
            async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
                while words := await stdin.receive_some(64):
                    if words == b"stop\n":
                        child.stop()
                        write({})
                        continue
                    echo = Launch((sys.executable, "-c", "print(1, flush=True); input()"), environment)
                    try:
                        another = await spawner.spawn(echo, limits=limits, poller=poller)
                    except SpawnFailed as fault:
                        write({"fault": str(fault)})
                    else:
                        nursery.start_soon(serve, another)
                        write({"pid": another.pid})

    async def serve(child) -> None:
        await child.run(lambda _: None, lambda _: None)

    trio.run(run, Spawner.start())


if __name__ == "__main__":
    main(*sys.argv[1:])


def threads_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))
