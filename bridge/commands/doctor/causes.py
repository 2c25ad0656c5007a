"""Find the cause in the output of a server that failed to start, and lines that fix it, which can be pasted. Pure."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Final, NamedTuple

from ...config.child_environment import groups_with, looks_secret

# How similar the name of a program must be for a suggestion, from 0 to 1.
_SIMILAR: Final = 0.8
# Modules of Python whose package has another name.
_PACKAGES: Final = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dotenv": "python-dotenv",
    "git": "GitPython",
    "yaml": "PyYAML",
}
_PYTHON_MODULE: Final = re.compile(
    r"ModuleNotFoundError: No module named '([\w.-]+)'|No module named ([\w.-]+)\Z"
)
_NODE_MODULE: Final = re.compile(r"[Cc]annot find (?:module|package) '((?:@[\w.-]+/)?[A-Za-z0-9][\w.-]*)")
_NAME: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|KeyError: '([A-Z][A-Z0-9_]*)'")
_LACKS: Final = re.compile(
    r"KeyError|required|missing|not set|not defined|not provided|not found|undefined|unset|must be set|please set|\bset\b",
    re.IGNORECASE,
)
# The last line of a stack trace of Python or Node.js names the error.
_ERROR_LINE: Final = re.compile(r"^\s*(?:[\w.]+(?:Error|Exception|Exit|Interrupt)\b|Error)\b.*")
# Where the programs that start servers are packaged. The names are those of Debian, npm and PyPI.
_RUNNERS: Final = {
    "npx": ("sudo apt install npm",),
    "npm": ("sudo apt install npm",),
    "node": ("sudo apt install nodejs",),
    "uvx": ("pipx install uv",),
    "uv": ("pipx install uv",),
    "pipx": ("sudo apt install pipx",),
    "docker": ("sudo apt install docker.io",),
    "podman": ("sudo apt install podman",),
    "deno": ("npm install --global deno",),
    "bunx": ("npm install --global bun",),
    "bun": ("npm install --global bun",),
}


class Fix(NamedTuple):
    """What to do, and lines that can be pasted."""

    text: str
    commands: tuple[str, ...] = ()


def install_commands(program: str) -> tuple[str, ...]:
    """Return the commands that install a program which starts servers; none for another program."""
    return _RUNNERS.get(PurePath(program).name, ())


def error_line(lines: Sequence[str]) -> str:
    """Return the line of a stack trace that names the error, or the last line; empty without output."""
    named = [line for line in lines if _ERROR_LINE.match(line)]
    return (named or [line for line in lines if line.strip()] or [""])[-1].strip()


def fix_for(
    name: str, command: Sequence[str], lines: Sequence[str], withheld: Iterable[str] = ()
) -> Fix | None:
    """Return the fix for a server with this command that printed these lines, or None if the cause is unknown.

    `withheld` are the names of variables that are set in the daemon and not passed to the server.
    """
    text = "\n".join(lines)
    if found := _PYTHON_MODULE.search(text):
        module = (found[1] or found[2]).split(".")[0]
        return _module_fix(command, module)
    if found := _NODE_MODULE.search(text):
        return Fix(
            f"install the package {found[1]} that the server imports", (f"npm install --global {found[1]}",)
        )
    mentioned = {one[1] or one[0] for one in _NAME.finditer(text)}
    if known := sorted(mentioned & {*withheld}):
        entries = ", ".join(json.dumps(group_of(one)) for one in known)
        return Fix(
            f"the server asks for {', '.join(known)}, set in the daemon and not passed to it: add to [servers.{name}]",
            (f"pass_env = [{entries}]", "mcp-bridge reload"),
        )
    if missing := sorted(one for one in mentioned if _looks_missing(one, lines)):
        one = missing[0]
        return Fix(
            f"the server asks for {one}, which is not set: keep its value in a file of mode 0600, and name the file in [servers.{name}]",
            (
                f"install -m 600 /dev/stdin ~/.config/mcp-bridge/{one.lower()}",
                f'secrets.{one} = "~/.config/mcp-bridge/{one.lower()}"',
                "mcp-bridge reload",
            ),
        )
    return None


def _looks_missing(name: str, lines: Iterable[str]) -> bool:
    return any(name in line and _LACKS.search(line) for line in lines)


def group_of(name: str) -> str:
    """Return the entry of pass_env for a variable: its group, if it has one."""
    groups = groups_with(name)
    return f"@{groups[0]}" if groups else name


def _module_fix(command: Sequence[str], module: str) -> Fix:
    package, command = _PACKAGES.get(module, module), [*command]
    program = PurePath(command[0]).name
    if program in ("uv", "uvx"):
        # uvx PACKAGE, and uv run PROGRAM.
        at = 2 if command[1:2] == ["run"] else 1
        words = [*command[:at], "--with", package, *command[at:]]
        return Fix(f"add the package {package} to the command", (*_command_lines(words), "mcp-bridge reload"))
    python = command[0] if program.startswith("python") else "python3"
    return Fix(
        f"install the package {package} for the interpreter of the server",
        (f"{shlex.quote(python)} -m pip install {shlex.quote(package)}",),
    )


def misspelt_fix(name: str, command: Sequence[str], programs: Iterable[str]) -> Fix | None:
    """Return the fix for a program that is missing, if its name is similar to one that exists or that starts servers."""
    from difflib import get_close_matches  # noqa: PLC0415 - for a missing program only

    found = get_close_matches(command[0], {*programs, *_RUNNERS}, 1, _SIMILAR)
    if "/" in command[0] or not found or found[0] == command[0]:
        return None
    installed = install_commands(found[0]) if found[0] not in {*programs} else ()
    return Fix(
        f"is {found[0]} meant? Change [servers.{name}] with mcp-bridge edit",
        (*installed, *_command_lines([found[0], *command[1:]]), "mcp-bridge reload"),
    )


def _command_lines(words: Sequence[str]) -> tuple[str, ...]:
    """Return the lines of the configuration for a command, as `add` writes them; none if a word may be a secret.

    `args` is always one of them, because that of the file would be appended to a list that has the arguments too.
    """
    if any(looks_secret("", word) for word in words):
        return ()
    program, *arguments = map(json.dumps, words)
    return (f"command = {program}", f"args = [{', '.join(arguments)}]")


def silent_fix(name: str, command: Sequence[str], *, in_http_mode: bool) -> Fix:
    """Return the fix for a server that runs and does not answer. `in_http_mode` is whether its output is that of a web server."""
    if in_http_mode:
        return Fix(
            f"start it in stdio mode; many servers do with this command in [servers.{name}]",
            (*_command_lines([*command, "--transport", "stdio"]), "mcp-bridge reload"),
        )
    trial = (
        ()
        if any(looks_secret("", word) for word in command)
        else (f"echo {shlex.quote(_INITIALIZE)} | {shlex.join(command)}",)
    )
    return Fix(
        "run it in a terminal: a server must answer this message on stdout, and print other text on stderr only",
        (*trial, f"mcp-bridge logs {name}"),
    )


_INITIALIZE: Final = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    '"clientInfo":{"name":"test","version":"1"}}}'
)
