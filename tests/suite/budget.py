"""Run a command and fail if it takes longer than its budget: `python -m tests.suite.budget SECONDS COMMAND ...`.

Prints the time. Exits with the status of the command if it failed, and with 1 if it took too long. It is not ended early.
"""

import subprocess
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run the command. Raises ValueError if the budget (seconds) is no number."""
    budget, command = float(arguments[0]), arguments[1:]
    begun = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    seconds = time.monotonic() - begun
    name = " ".join(command)
    print(f"{name}: {seconds:.0f} s of {budget:g} s", flush=True)
    if code == 0 and seconds > budget:
        print(f"{name} took longer than its budget", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
