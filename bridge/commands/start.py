"""The entry point `mcp-bridge`. It imports almost nothing, because `connect NAME` runs once for each client and server."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Collect garbage after this many new objects, instead of 700. The daemon sets its own threshold when it is ready.
_OBJECTS_OF_A_START = 50_000


def main() -> "NoReturn":
    """Run the program and exit with its code. Exits with 69 on another system than Linux."""
    if sys.platform != "linux":
        sys.stderr.write(
            f"mcp-bridge: this program needs Linux, and this system is {sys.platform}; "
            "run it in WSL 2, in a container or on a virtual machine with Linux\n"
        )
        sys.exit(69)
    from posix import getpid  # noqa: PLC0415 - see the module's docstring

    if getpid() == 1:
        from .first_process import exit_on_stop_signals  # noqa: PLC0415 - in a container only

        exit_on_stop_signals()
    words = sys.argv[1:]
    if len(words) == 2 and words[0] == "connect" and is_name(words[1]):
        from .connect_pump import run_plain  # noqa: PLC0415 - see the module's docstring

        code = run_plain(words[1])
        if code is not None:
            sys.exit(code)
    import gc  # noqa: PLC0415 - see the module's docstring

    # Most objects of a start are modules and classes, which stay. Collections would only look at them again and again.
    gc.set_threshold(_OBJECTS_OF_A_START)
    from .wrapper import main as run_any  # noqa: PLC0415 - likewise

    run_any()


def is_name(word: str) -> bool:
    """Return whether the argument of `connect` is neither an option nor a URL."""
    return bool(word) and not word.startswith("-") and "://" not in word
