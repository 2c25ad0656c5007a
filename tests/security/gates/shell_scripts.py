"""Mistakes in shell scripts and in the recipes of the Makefile."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import appended, new_file
from ..result import Result, checked
from ..tools import files, lines, version

CLASS: Final = "shell scripts"
TOOL: Final = "shellcheck"
SPEED: Final = "fast"

_FINDING: Final = re.compile(r"(.*?):(\d+):\d+: (.*)")
# `cd` at the beginning of a recipe, single quotes that another program expands, and loops over a list of make.
_RECIPES_MAY: Final = "SC2164,SC2016,SC2043"
# Names of `make` stand for words of any kind, so nothing can be said about their quotes.
_WORD: Final = "make_word"


def run(root: Path) -> Result:
    """Check all scripts by their first line or their name, and each recipe as a script of its own."""
    scripts = [path for path in files(root) if _is_script(root / path)]
    found = lines(["shellcheck", "--external-sources", "--format=gcc", *scripts], root)
    return checked((*found, *_of_makefile(root)), version("shellcheck", "--version"))


def _is_script(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    with path.open("rb") as file:
        return bool(re.match(rb"#!\s*\S*(?:/|env )(?:ba|da)?sh\b", file.readline(200)))


def _of_makefile(root: Path) -> Iterator[str]:
    recipes = list(_recipes((root / "Makefile").read_text()))
    with tempfile.TemporaryDirectory() as folder:
        for number, recipe in recipes:
            (Path(folder) / f"{number}.sh").write_text(f"#!/bin/sh\n{recipe}\n")
        paths = [f"{number}.sh" for number, _ in recipes]
        for line in lines(["shellcheck", "--format=gcc", f"--exclude={_RECIPES_MAY}", *paths], Path(folder)):
            if match := _FINDING.match(line):
                # The first line of a script is not in the Makefile.
                begun = int(match[1].removesuffix(".sh"))
                yield f"Makefile:{begun + int(match[2]) - 2}: {match[3]}"


def _recipes(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of the first line of each command of a recipe, and the command as the shell gets it."""
    command: list[str] = []
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not command and not line.startswith("\t"):
            continue
        begun = begun if command else number
        command.append(line.removeprefix("\t"))
        if not line.endswith("\\"):
            yield begun, _expanded("\n".join(command).lstrip("@-+"))
            command = []


def _expanded(command: str) -> str:
    """Replace the variables and functions of make, which may be nested, by a word."""
    made = []
    position = 0
    while position < len(command):
        if command[position] != "$":
            made.append(command[position])
            position += 1
        elif command[position + 1] == "$":
            made.append("$")
            position += 2
        elif command[position + 1] == "(":
            made.append(_WORD)
            position = _end(command, position + 2)
        else:
            made.append(_WORD)
            position += 2
    return "".join(made)


def _end(command: str, position: int) -> int:
    """Return the position after the parenthesis that closes the one before `position`."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(command[position], 0)
        position += 1
    return position


PLANTS: Final = (
    new_file("an unquoted variable in a script", "tests/planted.sh", "#!/bin/sh\nrm -r $1\n", "tests/planted.sh", "SC2086"),
    new_file("a script without a suffix", "tests/planted-script", '#!/usr/bin/env bash\nx=$(echo $1)\necho $y "$x"\n', "tests/planted-script", "SC2154"),
    appended("an unquoted variable in a recipe", "Makefile", "\nplanted:\n\t@read name; rm -r $$name\n", "Makefile:", "SC2086"),
)  # fmt: skip
