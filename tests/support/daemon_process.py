"""Run `mcp-bridge serve` as a process with a configuration of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mcpbridged.bridge.commands import control_client
from mcpbridged.bridge.config.settings import CONTROL

from .bridge_process import _MARK, EXAMPLE, PROGRAM, REPOSITORY, Bridge
from .known_secrets import remember, require_hidden

_PASS_ON = """
import json, os, sys
high = [os.dup(os.dup(number)) for number in json.loads(sys.argv[1])]
for at, number in enumerate(high):
    os.dup2(number, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
# Commands whose purpose is to print a secret.
SHOW_SECRETS = {"admin", "client-config"}
CHILDREN = REPOSITORY / "tests/e2e/children"


def toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def write_config(path: Path, servers: Mapping[str, Mapping], **tables: Mapping | str) -> None:
    """Write a configuration with any free port, whose servers inherit the variable that marks processes of a test.

    A text in `tables` is the value of a key of the file.
    """
    listen = {"http": "127.0.0.1:0", **tables.pop("listen", {})}
    own = {key: value for key, value in tables.items() if isinstance(value, str)}
    lines = [f"{key} = {toml(value)}" for key, value in own.items()]
    lines += ["[listen]", *(f"{key} = {toml(value)}" for key, value in listen.items())]
    for name, keys in servers.items():
        given = {"pass_env": [_MARK], **keys} if "command" in keys else keys
        lines += [f"[servers.{name}]", *(f"{key} = {toml(value)}" for key, value in given.items())]
    for table, content in tables.items():
        if table in own:
            continue
        lines += [f"[{table}]", *(f"{key} = {toml(value)}" for key, value in content.items())]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)


class Daemon(Bridge):
    """A running daemon."""

    def __init__(
        self,
        folder: Path,
        *,
        listeners: Sequence[socket.socket] = (),
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """`within` is a command that runs the command in its last arguments."""
        self.folder = folder
        self.config = folder / "config.toml"
        serve = [str(PROGRAM), "serve", "--allow-root", "--config", str(self.config)]
        variables = dict(environment or {})
        if listeners:
            # As in sd_listen_fds(3): descriptors from 3 on, and the pid of the process that they are meant for.
            numbers = [sock.fileno() for sock in listeners]
            serve = [sys.executable, "-c", _PASS_ON, json.dumps(numbers), *serve]
            variables["LISTEN_FDS"] = str(len(listeners))
        super().__init__(
            folder / "run",
            program=[*within, *serve],
            environment=variables,
            passed=[sock.fileno() for sock in listeners],
        )

    @property
    def unix(self) -> Path:
        return self.folder / "run/mcp-bridge/mcp-bridge.sock"

    def url(self, server: str, transport: str = "mcp") -> str:
        base = self._base.replace("http", "ws", 1) if transport == "ws" else self._base
        return f"{base}/servers/{server}/{transport}"

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment of commands."""
        runtime = self.folder / "run"
        return {
            **os.environ,
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_STATE_HOME": str(runtime / "state"),
            _MARK: "not of the family",
        }

    def do(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of mcp-bridge for this daemon."""
        done = subprocess.run(
            [PROGRAM, *words, "--config", str(self.config)],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        if words[:2] in {("token", "new"), ("token", "rotate")}:
            remember(done.stdout.strip())
        elif words[0] not in SHOW_SECRETS:
            require_hidden(done.stdout, f"stdout of {words}")
        require_hidden(done.stderr, f"stderr of {words}")
        return done

    @contextlib.contextmanager
    def following(self, *words: str):
        """Run a command that prints events, such as `tap`. Yield the list that gets its lines; SIGINT ends it with 130."""
        process = subprocess.Popen(
            [PROGRAM, *words, "--config", str(self.config)],
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        reader.start()
        with process:
            try:
                yield lines
                process.send_signal(signal.SIGINT)
                assert process.wait(10) == 130
            finally:
                process.kill()
                reader.join()

    def shell(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell, in which "$@" is a command of mcp-bridge."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script, "bash", PROGRAM, *words, "--config", str(self.config)],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def control(self, method: str, path: str) -> Any:
        """Return the response of the control API, as a command gets it, and without the start of a command."""
        listen = {}
        with contextlib.suppress(tomllib.TOMLDecodeError):
            listen = tomllib.loads(self.config.read_text()).get("listen", {})
        return control_client.request(Path(listen.get("unix") or self.unix), method, f"{CONTROL}/{path}", 60)

    def status(self) -> dict:
        """Return what `status --json` prints."""
        return self.control("GET", "status")

    def logs(self, server: str) -> list[str]:
        """Return the kinds and texts that `logs SERVER` prints."""
        found = self.control("GET", f"logs?server={quote(server)}")
        return [f"{entry['kind']}: {entry['text']}" for entry in found]

    def reload(self) -> dict:
        """Reload the configuration. Raises ErrorResponse if the daemon refuses it."""
        return self.control("POST", "reload")

    def restart(self, server: str) -> None:
        """Restart the processes of a server."""
        self.control("POST", f"restart?server={quote(server)}")


def _listen(sock: socket.socket, received: list[str]) -> None:
    while data := sock.recv(4096):
        received += data.decode().split("\n")


class ServiceManager:
    """The notification socket of a service manager (sd_notify(3)). It is closed with the last reference."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.received: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(self.path))
        # The thread has no reference to this object.
        self._thread = threading.Thread(target=_listen, args=(self._sock, self.received), daemon=True)
        self._thread.start()

    def __del__(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    def wait_for(self, word: str, count: int = 1) -> None:
        end = time.monotonic() + 20
        while sum(line.startswith(word) for line in self.received) < count:
            assert time.monotonic() < end, (word, self.received)
            time.sleep(0.01)


@contextlib.contextmanager
def daemon(folder: Path, servers: Mapping[str, Mapping] | None = None, **tables: Mapping):
    write_config(folder / "config.toml", servers or {"example": {"command": EXAMPLE}}, **tables)
    with Daemon(folder) as running:
        yield running


def child(name: str, *words: str) -> list[str]:
    """Return the command of a server of tests/e2e/children."""
    return [sys.executable, str(CHILDREN / name), *words]
