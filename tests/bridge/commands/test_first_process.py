"""Stop signals while the program starts as the first process of a PID namespace."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from mcpbridged.bridge.commands import first_process

# The program stops itself where the handlers of the daemon are not yet there: when it imports its parser.
_SIGNALLED = """
import os, signal, sys
class Importer:
    def find_spec(self, name, path, target=None):
        if name.endswith(".wrapper"):
            os.kill(1, getattr(signal, sys.argv[1]))
            sys.argv[1:] = ["--version"]
sys.meta_path.insert(0, Importer())
from mcpbridged.bridge.commands import start
start.main()
"""
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]


def _can_unshare():
    return (
        os.geteuid() == 0
        and bool(shutil.which("unshare"))
        and not subprocess.run([*NAMESPACE, "true"], check=False).returncode
    )


@pytest.mark.skipif(not _can_unshare(), reason="needs root and unshare(1)")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 128 + 15), ("SIGHUP", 128 + 1)])
def test_a_stop_during_the_start_is_not_lost(name, code):
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", _SIGNALLED, name], check=False, timeout=30, capture_output=True
    )
    assert (done.returncode, done.stdout) == (code, b"")


def test_the_exit_code_is_that_of_a_shell(monkeypatch):
    codes = []
    handlers = {}
    monkeypatch.setattr(first_process.os, "_exit", codes.append)
    monkeypatch.setattr(first_process.signal, "signal", handlers.__setitem__)
    first_process.exit_on_stop_signals()
    for number, handler in handlers.items():
        handler(number, None)
    assert codes == [128 + signal.SIGTERM, 128 + signal.SIGHUP]
