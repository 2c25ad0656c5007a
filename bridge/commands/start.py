"""The entry point `mcp-bridge`. It imports almost nothing, because `connect NAME` runs once for each client and server."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the program and exit with its code. Exits with 69 on another system than Linux."""
    if sys.platform != "linux":
        sys.stderr.write(
            f"mcp-bridge: this program needs Linux, and this system is {sys.platform}; "
            "run it in WSL 2, in a container or on a virtual machine with Linux\n"
        )
        sys.exit(69)
    words = sys.argv[1:]
    if len(words) == 2 and words[0] == "connect" and is_name(words[1]):
        from .connect_pump import run_plain  # noqa: PLC0415 - see the module's docstring

        code = run_plain(words[1])
        if code is not None:
            sys.exit(code)
    from .wrapper import main as run_any  # noqa: PLC0415 - likewise

    run_any()


def is_name(word: str) -> bool:
    """Return whether the argument of `connect` is neither an option nor a URL."""
    return bool(word) and not word.startswith("-") and "://" not in word
