"""Run a target for the inputs in files: `python -m tests.fuzz.replay TARGET FILE...`. Needs no atheris."""

import sys
from pathlib import Path

from .catalog import TARGETS


def main() -> None:
    name, *files = sys.argv[1:]
    for file in files:
        TARGETS[name].check(Path(file).read_bytes())
        print(f"{file}: no finding")


if __name__ == "__main__":
    main()
