"""Record the session of `steps.py` in terminals of two widths, and write docs/SESSION.md: `python tests/session/record.py`.

A recording has a new home directory and runs as a user without a runtime directory. What differs between two runs is
replaced: paths, times, process ids, sizes. The port of the daemon is the usual one, 8808, which must be free.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from steps import HOME, SESSIONS, WHEEL, WIDTHS, Step
from terminal import ORDINARY_USER, Terminal

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEPS = ROOT / ".deps/session"
DOCUMENT = ROOT / "docs/SESSION.md"
PORT = 8808
PATH = "/usr/local/bin:/usr/bin:/bin"
# A pattern of what differs between two runs, and what the document has instead.
STABLE = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-02 03:04:05"),
    (r"\bpid( |=)\d+", r"pid\g<1>1234"),
    (r"\[\d+\] (info|stdout|stderr|warning):", r"[1234] \1:"),
    (r"\bup \d[^,]*,", "up 5 s,"),
    # As wide as before, because tables are aligned.
    (r"\b[1-9](\d*)\.\d MiB", lambda found: f"1{'2' * len(found[1])}.5 MiB"),
    (r"responded after \d+\.\d s", "responded after 0.1 s"),
)
HEAD = """\
# A recorded session

`make session` writes this file. It records what a terminal shows, once with 80 and once with 120 columns: from a home directory
without a configuration to a call of an official client, and the diagnosis of three servers that do not work. Paths, times,
process ids and sizes are replaced.

The machine has no systemd for users, so `mcp-bridge serve` runs in a second terminal, and the Unix socket is below
`~/.local/state`. Elsewhere `mcp-bridge service install` starts the daemon as a service.
"""


def main() -> int:
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", PORT)) == 0:
            print(f"port {PORT} is in use; stop the program that listens on it", file=sys.stderr)
            return 1
    wheel = built_wheel()
    parts = [HEAD]
    for width in WIDTHS:
        parts += recorded(wheel, width)
    DOCUMENT.write_text("\n".join(parts))
    print(f"wrote {DOCUMENT}")
    return 0


def built_wheel() -> Path:
    """Build the wheel from this tree."""
    folder = ROOT / "build/session"
    for left in (folder, ROOT / "build/lib"):
        shutil.rmtree(left, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True)
    return folder / WHEEL


def recorded(wheel: Path, width: int) -> Iterator[str]:
    """Yield the parts of the document for a width."""
    with ExitStack() as stack:
        tools = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The ordinary user of a recording by root starts pipx from here.
        tools.chmod(0o755)
        shutil.copytree(DEPS / "python", tools / "python")
        home = stack.enter_context(new_home(wheel))
        usual = {
            "HOME": str(home),
            "USER": "you",
            "LANG": "C.UTF-8",
            "TERM": "screen",
            "PATH": f"{home}/.local/bin:{PATH}",
        }
        # pipx is a function of the shell, and the first terminal only has settings of pip.
        pipx = {"BASH_FUNC_pipx%%": f'() {{ PYTHONPATH={tools}/python python3 -m pipx "$@"; }}'}
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        terminals = [
            stack.enter_context(Terminal(DEPS / "tmux", tools / name, width, environment))
            for name, environment in (("first", usual | pipx | pip), ("second", usual))
        ]
        for title, steps in SESSIONS:
            yield f"## {title}, {width} columns\n"
            for step in steps:
                print(f"{width} columns: {step.command}", flush=True)
                screen = stable(shown_of(step, terminals, home), home)
                text = f"{step.text}\n\n" if step.text else ""
                yield f"{text}```text\n{cut_into_lines(screen, width)}\n```\n"


def shown_of(step: Step, terminals: list[Terminal], home: Path) -> str:
    """Type a command, and return what the terminal shows. Raises SystemExit if the command fails in another way than expected."""
    first, second = terminals
    command = step.command.replace(HOME, str(home))
    if step.until:
        return second.start(command, step.until)
    status, screen = first.run(command)
    if status != step.status:
        sys.exit(f"exit status {status} instead of {step.status}:\n{screen}\nThe daemon:\n{second.shown()}")
    return screen


def cut_into_lines(screen: str, width: int) -> str:
    """Return what is shown with the lines that the terminal has cut."""
    lines = screen.split("\n")
    return "\n".join(line[at : at + width] for line in lines for at in range(0, len(line) or 1, width))


def stable(screen: str, home: Path) -> str:
    """Return what is shown without the parts that differ between two runs."""
    screen = screen.replace(str(home), HOME)
    for pattern, text in STABLE:
        screen = re.sub(pattern, text, screen)
    return screen


@contextmanager
def new_home(wheel: Path) -> Iterator[Path]:
    """Yield a home directory with the files of the session. Its path is as long as that in the document."""
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as outer:
        link = Path("/tmp", Path(outer).name[: len(HOME) - len("/tmp/")])
        # A path of the right length: the directory is renamed, and renamed back for its removal.
        os.rename(outer, link)
        try:
            files = [wheel, *sorted((HERE / "servers").glob("*.py"))]
            for file in files:
                shutil.copy(file, link)
            shutil.copy(ROOT / "examples/server.py", link / "example.py")
            if os.geteuid() == 0:
                for path in (link, *link.iterdir()):
                    os.chown(path, ORDINARY_USER, ORDINARY_USER)
            yield link
        finally:
            os.rename(link, outer)


if __name__ == "__main__":
    sys.exit(main())
