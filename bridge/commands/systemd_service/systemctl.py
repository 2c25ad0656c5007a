"""Run `systemctl --user` and `loginctl`."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...config.xdg import directory_in, home_in
from ..control_client import Unreachable
from ..progress import Progress

# A start waits for READY=1, which waits for the secrets of all servers (seconds).
_PATIENCE: Final = 180.0


def _pairs(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _units_below(directory: Path) -> Path:
    return directory / "systemd" / "user"


class SystemctlFailed(Exception):
    """Raised for a command that has failed. The text has the command and what it wrote."""


class UserManager:
    """The systemd instance of this user. `units` is the directory of its units."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        if "XDG_RUNTIME_DIR" not in self._environment and os.path.isdir(usual := f"/run/user/{os.geteuid()}"):  # noqa: PTH112 - a text
            # `su` and cron do not set it, and systemctl finds the manager there.
            self._environment["XDG_RUNTIME_DIR"] = usual
        self.units = _units_below(home_in(environment) / ".config")

    def check(self) -> None:
        """Check that the manager can be reached. Raises Unreachable."""
        if shutil.which("systemctl", path=self._environment.get("PATH")) is None:
            raise Unreachable(
                "this machine has no systemd (there is no program systemctl); run `mcp-bridge serve` in your session instead"
            )
        done = self._run("show-environment")
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unreachable(
                f"the systemd manager of your user cannot be reached: {reason}; log in through a session of systemd, or "
                "with `machinectl shell USER@`, not with su or sudo; without systemd run `mcp-bridge serve` instead"
            )
        # The manager was started without the variables of this shell.
        theirs = _pairs(done.stdout)
        if found := directory_in(theirs, "XDG_CONFIG_HOME"):
            self.units = _units_below(found)

    def do(self, *words: str) -> None:
        """Run a command. Raises SystemctlFailed."""
        with Progress().wait(f"systemctl --user {' '.join(words)}"):
            done = self._run(*words)
        if done.returncode:
            text = done.stderr.strip() or f"exit status {done.returncode}"
            raise SystemctlFailed(f"systemctl --user {' '.join(words)}: {text}")

    def state(self, unit: str) -> dict[str, str]:
        """Return the properties of a unit (systemctl(1)); an unknown unit has LoadState=not-found."""
        names = "LoadState,ActiveState,SubState,UnitFileState,MainPID,FragmentPath,StatusText,Result,ExecMainStatus"
        done = self._run("show", unit, f"--property={names}")
        return _pairs(done.stdout)

    def lingers(self) -> bool | None:
        """Return whether the manager runs without a session of the user; None if that is unknown."""
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return None
        done = self._call("loginctl", "show-user", name, "--property=Linger")
        return {"Linger=yes": True, "Linger=no": False}.get(done.stdout.strip())

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._call("systemctl", "--user", "--no-pager", *words)

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - programs of systemd
                words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE,
                check=False,
            )
        except FileNotFoundError:
            return subprocess.CompletedProcess(words, 127, "", f"there is no program {words[0]}")
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 124, "", f"no response within {_PATIENCE:g} s")
