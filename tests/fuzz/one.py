"""Fuzz one target, guided by the coverage of the code under test: `python -m tests.fuzz.one [--plant PLANT] TARGET ARGUMENTS`.

The arguments are those of libFuzzer (https://llvm.org/docs/LibFuzzer.html). Needs atheris.
"""

import sys

import atheris

from .mutation import changed

with atheris.instrument_imports(include=["mcpbridged", "tests.fuzz.planted"]):
    from .catalog import TARGETS
    from .planted import PLANTS


def _mutate(data: bytes, longest: int, seed: int) -> bytes:
    return atheris.Mutate(data, longest) if seed % 2 else changed(data, longest, seed)


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[0] == "--plant":
        PLANTS[arguments[1]].change()
        del arguments[:2]
    target = TARGETS[arguments[0]]
    atheris.Setup([sys.argv[0], *arguments[1:]], target.check, custom_mutator=_mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
