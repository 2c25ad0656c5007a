"""Convert the values of options. Each function raises ArgumentTypeError with the value and what it must be."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from ...validators.origin import LARGEST_PORT
from ..config.addresses import BadAddress, check_host, check_origin, check_path
from .output import notice

# Options by name: the number of values of each, and a reason.
Reasons = Mapping[str, tuple[int, str]]
# Called with the parser, the options so far, the values, and the name of the option.
OnOption = Callable[[argparse.ArgumentParser, argparse.Namespace, list[str], str], None]


def whole_number(name: str, low: int, high: int) -> Callable[[str], int]:
    """Return a conversion to an integer within these limits."""

    def convert(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f"{name} must be a whole number from {low} to {high}, not {text!r}"
            )
        return int(text)

    return convert


def _checked_by(check: Callable[[str], str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        try:
            return check(text)
        except BadAddress as fault:
            raise argparse.ArgumentTypeError(str(fault)) from None

    return convert


def file(text: str) -> Path:
    """Return the path of a file."""
    if not text:
        raise argparse.ArgumentTypeError("the file name is empty")
    return Path(text)


port = whole_number("the port", 0, LARGEST_PORT)
milliseconds = whole_number("the time in milliseconds", 1, 10**9)
size = whole_number("the size in bytes", 1, 2**31 - 1)
path = _checked_by(check_path)
origin = _checked_by(check_origin)
host = _checked_by(check_host)


class CallingAction(argparse.Action):
    """Calls a function for each occurrence of an option."""

    def __init__(self, *, on_option: OnOption, **more: object) -> None:
        """Keep the function; the rest is that of argparse.Action."""
        super().__init__(**more)  # type: ignore[arg-type]  # those of the base class
        self._on_option = on_option

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option: str | None = None,
    ) -> None:
        """Call the function with the values as a list."""
        found = cast("list[str]", values if isinstance(values, list) else [values])
        self._on_option(parser, namespace, found, option or "")


def add_calling(
    parser: argparse.ArgumentParser, name: str, count: int | str, on_option: OnOption, *more_names: str
) -> None:
    """Add an option with this number of values, which `--help` does not list."""
    parser.add_argument(
        name, *more_names, action=CallingAction, nargs=count, on_option=on_option, help=argparse.SUPPRESS
    )


def add_foreign(parser: argparse.ArgumentParser, ignored: Reasons, refused: Reasons) -> None:
    """Add options of other programs: some are ignored with a notice, and the others are refused. `--help` lists neither."""

    def ignore(
        _parser: argparse.ArgumentParser, _options: argparse.Namespace, _: list[str], option: str
    ) -> None:
        notice(f"{option} is ignored: {ignored[option][1]}")

    def refuse(
        _parser: argparse.ArgumentParser, _options: argparse.Namespace, _: list[str], option: str
    ) -> None:
        parser.error(f"{option} is not supported: {refused[option][1]}")

    for reasons, on_option in ((ignored, ignore), (refused, refuse)):
        for name, (count, _) in reasons.items():
            add_calling(parser, name, count, on_option)
