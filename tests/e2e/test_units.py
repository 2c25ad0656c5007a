"""The systemd units, checked by `systemd-analyze`. They are not started, because tests run without systemd."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.bridge_process import PROGRAM, REPOSITORY

UNITS = REPOSITORY / "systemd"
SERVICE, SOCKET, TEMPLATE = "mcp-bridge.service", "mcp-bridge.socket", "mcp-bridge@.service"
CHECK, TIMER = "mcp-bridge-check.service", "mcp-bridge-check.timer"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    manuals = folder / "man"
    for page in (REPOSITORY / "man").iterdir():  # `verify` looks for the manuals that Documentation= names.
        section = manuals / f"man{page.suffix[1:]}"
        section.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, section)
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "MANPATH": str(manuals), "SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


def placed(folder: Path, name: str, *, program: Path = PROGRAM) -> Path:
    """Write the unit into a folder, with the path of the installed program. All other lines are unchanged."""
    text, count = re.subn(
        r"^ExecStart=\S+", f"ExecStart={program}", (UNITS / name).read_text(), flags=re.MULTILINE
    )
    assert count == ("ExecStart" in text)
    target = folder / name
    target.write_text(text)
    return target


@pytest.mark.parametrize(
    ("manager", "names"),
    [("--user", (SERVICE, SOCKET)), ("--user", (CHECK, TIMER)), ("--system", (TEMPLATE,))],
    ids=["user", "check", "system"],
)
def test_systemd_accepts_the_units(tmp_path, manager, names):
    paths = [placed(tmp_path, name) for name in names]
    done = analyze(tmp_path, "verify", manager, *map(str, paths))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_a_fault_in_a_unit(tmp_path):
    path = placed(tmp_path, SERVICE)
    path.write_text(path.read_text().replace("[Service]", "[Service]\nNoNewPrivilege=yes"))
    assert "NoNewPrivilege" in analyze(tmp_path, "verify", "--user", str(path)).stderr
    missing = placed(tmp_path, SERVICE, program=Path("/no/such/mcp-bridge"))
    assert "/no/such/mcp-bridge" in analyze(tmp_path, "verify", "--user", str(missing)).stderr


# What `systemd-analyze security` calls the exposure, in tenths. The check has no setting that needs a user namespace.
@pytest.mark.parametrize(
    ("manager", "name", "most"),
    [("--user", SERVICE, 30), ("--user", CHECK, 65), ("--system", TEMPLATE, 20)],
    ids=["user", "check", "system"],
)
def test_the_exposure_of_a_unit_is_low(tmp_path, manager, name, most):
    path = placed(tmp_path, name)
    done = analyze(tmp_path, "security", manager, "--offline=true", f"--threshold={most}", str(path))
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr)
    bare = tmp_path / f"bare-{name}"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    exposed = analyze(tmp_path, "security", manager, "--offline=true", f"--threshold={most}", str(bare))
    assert exposed.returncode != 0
    # The unit was rated and not merely refused.
    assert "Overall exposure level" in exposed.stdout
