"""A home directory in which the lines of a document are run as a user would type them.

The program and the shell are the real ones. In the PATH stand three programs for others: `mcp-bridge` permits root and takes a
free port, `uvx` and `npx` start a server of this repository in place of a package, and `claude` writes its arguments down.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.command_lines import commands_in, usage_fault

# Lines for a service manager, which the tests have not. Those of mcp-bridge are parsed.
MANAGED = ("systemctl ", "journalctl ", "mcp-bridge service ")
# `mcp-bridge serve` and the wrapper run until they are stopped; the others follow something until SIGINT.
_OPTION = "-"
_FOLLOWING = (" -f", " --follow", " --watch", "mcp-bridge tap")
_SECONDS = 60
# `serve` has its port in the configuration.
_PROGRAM = f"""\
#!/bin/sh
case "$1" in
    serve) shift; exec {shlex.quote(str(PROGRAM))} serve --allow-root "$@" ;;
    --version|--help) exec {shlex.quote(str(PROGRAM))} "$@" ;;
    -*) exec {shlex.quote(str(PROGRAM))} --allow-root --port 0 "$@" ;;
    *) exec {shlex.quote(str(PROGRAM))} "$@" ;;
esac
"""


class Home:
    """A temporary home directory, with a daemon or a wrapper that the lines have started."""

    def __init__(self, folder: Path, server: tuple[str, ...] = EXAMPLE) -> None:
        self.folder = folder
        self.server = shlex.join(server)
        self.outside = folder / "here"
        self.running: Bridge | None = None
        self.typed: list[str] = []
        self._stack = contextlib.ExitStack()
        for directory in (self.bin, self.outside, folder / "run", folder / ".config/mcp-bridge"):
            directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        for name, text in {
            "mcp-bridge": _PROGRAM,
            "uvx": f"#!/bin/sh\nexec {self.server}\n",
            "npx": f"#!/bin/sh\nexec {self.server}\n",
            "claude": '#!/bin/sh\nprintf "%s\\n" "$@" >"$HOME/claude"\n',
        }.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    @property
    def bin(self) -> Path:
        return self.folder / ".local/bin"

    @property
    def config(self) -> Path:
        return self.folder / ".config/mcp-bridge/config.toml"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of a login shell of this user, without those of the test."""
        return {
            "HOME": str(self.folder),
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "LANG": "C.UTF-8",
        }

    @property
    def port(self) -> int:
        assert self.running is not None
        return self.running.address[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._stack.close()

    def write(self, text: str) -> None:
        """Write the configuration, with any free port."""
        if "[listen]" not in text:
            text = f'{text}\n[listen]\nhttp = "127.0.0.1:0"\n'
        self.config.write_text(text)
        self.config.chmod(0o600)

    # ---- lines

    def type(self, line: str, codes: tuple[int, ...] = (0,), stir: Callable[[], None] = lambda: None) -> str:
        """Run a line of a document. Returns its output; fails the test for another exit code than these."""
        self.typed.append(line)
        program, *words = shlex.split(line, comments=True)
        line = self._with_port(line)
        if line.startswith(MANAGED):
            assert [fault for command in commands_in(line) if (fault := usage_fault(command))] == []
            return ""
        if program == "mcp-bridge" and words and (words[0] == "serve" or words[0].startswith(_OPTION)):
            self.start(line.split(" #")[0].removesuffix("&"))
            return ""
        if any(word in line for word in _FOLLOWING):
            return self.follow(line, stir)
        done = self.shell(line)
        assert done.returncode in codes, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _with_port(self, line: str) -> str:
        return line.replace(":8808", f":{self.port}") if self.running is not None else line

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line in the shell. The state of the shell, such as exported variables, ends with the line."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=self.environment,
            cwd=self.outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def start(self, line: str, before: str = "") -> None:
        """Start what serves until it is stopped, in place of what a former line has started, and wait until it is ready."""
        self.stop()
        variables = self.environment
        variables["XDG_STATE_HOME"] = str(self.folder / ".local/state")
        bridge = Bridge(
            self.folder / "run",
            program=["bash", "-c", f"{before}exec {line}"],
            environment=variables,
        )
        self.running = self._stack.enter_context(bridge)

    def stop(self) -> None:
        """Stop what a line has started. Fails the test if it ends with another code than 0."""
        self._stack.close()
        self.running = None

    def follow(self, line: str, stir: Callable[[], None]) -> str:
        """Run a line that ends with SIGINT only, until it has printed something. `stir` causes what it prints."""
        with self._started(line) as (process, lines):
            end = time.monotonic() + _SECONDS
            while not lines:
                assert process.poll() is None, f"{line}: {process.returncode}"
                assert time.monotonic() < end, f"{line} prints nothing"
                stir()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130, line
        return "".join(lines)

    @contextlib.contextmanager
    def _started(self, line: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            env=self.environment,
            cwd=self.outside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        with process:
            try:
                yield process, lines
            finally:
                process.kill()
                reader.join()
