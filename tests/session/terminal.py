"""A shell in a window of tmux(1): type commands, wait for their end, and read what the window shows."""

import os
import re
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

# A window is high enough for the output of any command, so that no line scrolls away.
_ROWS = 400
# How long a command may take (seconds). Packages are downloaded.
_SECONDS = 300
# The user of the shell if root records: nobody, as in /etc/passwd.
ORDINARY_USER = 65534


class TooSlow(Exception):
    """A command did not end, or did not print the expected text, in time."""


class Terminal:
    """A window of a tmux server with a shell. `columns` is its width. Files of the terminal are in `folder`."""

    def __init__(self, tmux: Path, folder: Path, columns: int, environment: Mapping[str, str]) -> None:
        self._tmux = tmux
        folder.mkdir()
        self._socket = folder / "tmux"
        # The shell writes the status of each command into this pipe before it prints its prompt.
        prompts = folder / "prompts"
        os.mkfifo(prompts)
        prompts.chmod(0o622)
        self._prompts = os.open(prompts, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(prompts, os.O_WRONLY)
        shell = ["bash", "--noprofile", "--norc"]
        settings = {
            **environment,
            "PS1": "$ ",
            "PS2": "> ",
            "HISTFILE": "/dev/null",
            "PROMPT_COMMAND": f"echo $? >{prompts}",
        }
        user = str(ORDINARY_USER)
        words = ["env", "-i", *(f"{name}={value}" for name, value in settings.items()), *shell]
        if os.geteuid() == 0:
            words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", *words]
        else:
            # A daemon of the user who records has the usual socket, so that the shell has another user id.
            words = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}", *words]
        self._is_busy = False
        self._run(
            "new-session", "-d", "-x", str(columns), "-y", str(_ROWS), "-c", environment["HOME"], *words
        )
        self._end_of_command()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Interrupt a command that runs, and end the shell and tmux. Raises TooSlow."""
        if self._is_busy:
            self._run("send-keys", "C-c")
            self._end_of_command()
        self._run("kill-server")
        os.close(self._prompts)
        os.close(self._writer)

    def run(self, command: str) -> tuple[int, str]:
        """Type a command, and return its exit status and what the window shows then. Raises TooSlow."""
        self._type(command)
        status = self._end_of_command()
        return status, self.shown().removesuffix("\n$")

    def start(self, command: str, expected: str) -> str:
        """Type a command that does not end, and return what the window shows when `expected` is printed. Raises TooSlow."""
        self._type(command)
        self._is_busy = True
        return self._shown_with(expected)

    def _type(self, command: str) -> None:
        # `-R` and `clear-history` leave an empty window; the shell prints its prompt at the next key.
        self._run("send-keys", "-R", "C-l")
        self._run("clear-history")
        for line in command.split("\n"):
            self._run("send-keys", "-l", line)
            self._run("send-keys", "Enter")

    def _end_of_command(self) -> int:
        ready, _, _ = select.select([self._prompts], [], [], _SECONDS)
        if not ready:
            raise TooSlow(f"no prompt within {_SECONDS} s:\n{self.shown()}")
        status = int(os.read(self._prompts, 100).split()[-1])
        # The shell prints the prompt after its line in the pipe.
        self._shown_with("$", at_end=True)
        return status

    def _shown_with(self, text: str, *, at_end: bool = False) -> str:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            shown = self.shown()
            if shown.rstrip().endswith(text) if at_end else text in shown:
                return shown
            time.sleep(0.05)
        raise TooSlow(f"{text!r} was not shown within {_SECONDS} s:\n{shown}")

    def shown(self) -> str:
        """Return what the window shows. A line that the terminal has wrapped is one line."""
        text = self._run("capture-pane", "-p", "-J", "-S", "-")
        return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip("\n")

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [self._tmux, "-f", "/dev/null", "-S", self._socket, *words],
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout
