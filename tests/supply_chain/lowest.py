"""Run tests with the lowest versions that pyproject.toml permits: `python -m tests.supply_chain.lowest PYTHON`.

The direct dependencies and those of the extras have their lowest versions in build/lowest-venv; what they need themselves has the
newest ones. The tests that run are those of pure code, of the libraries' edges, and calls of an official client.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from .lock import compiled, plain, uv_program
from .report import ROOT

FOLDER: Final = ROOT / "build/lowest-venv"
PINS: Final = ROOT / "build/lowest.txt"
# The edges of HTTP/1.1, HTTP/2, WebSocket, JOSE and TOML, besides pure code.
TESTS: Final = (
    "tests/validators",
    "tests/bridge/core",
    "tests/bridge/eras",
    "tests/bridge/config",
    "tests/bridge/aggregate",
    "tests/bridge/oauth",
    "tests/transports/http",
    "tests/transports/client",
    "tests/e2e/test_access_tokens.py",
    "tests/e2e/test_aggregate.py::test_an_official_client_in_front_of_all",
    "tests/e2e/test_connect.py::test_an_official_client_over_stdio",
)


def lowest(uv: str, root: Path = ROOT) -> str:
    """Return the pins of the lowest versions of direct dependencies and extras."""
    return plain(compiled(uv, root, ["pyproject.toml", "--all-extras", "--resolution=lowest-direct"]))


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.exit(__doc__)
    PINS.parent.mkdir(exist_ok=True)
    PINS.write_text(lowest(uv_program()))
    print(PINS.read_text(), end="", flush=True)
    subprocess.run([arguments[0], "-m", "venv", "--clear", str(FOLDER)], check=True)
    pip = [str(FOLDER / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    for words in (
        ["--upgrade", "pip>=25.1"],
        ["-r", str(PINS)],
        ["--no-deps", "."],
        ["-c", str(PINS), "--group", "test"],
    ):
        subprocess.run([*pip, *words], cwd=ROOT, check=True)
    subprocess.run([str(FOLDER / "bin/pip"), "check"], cwd=ROOT, check=True)
    return subprocess.run(
        [str(FOLDER / "bin/python"), "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env={**os.environ, "MCP_BRIDGE": str(FOLDER / "bin/mcp-bridge")},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
