"""A server with descendants that do not end by themselves: `family.py SERVER.PY`.

One is a plain child in the process group. One has daemonised itself: another session, an orphan by a double fork, without
shared descriptors, and with every signal ignored that can be ignored.
"""

import os
import signal
import sys


def start_plain() -> None:
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000001"])


def start_daemon() -> None:
    if os.fork() != 0:
        os.wait()
        return
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # execve(2) keeps ignored signals.
        signal.signal(number, signal.SIG_IGN)
    os.closerange(0, 1024)
    os.execvp("sleep", ["sleep", "1000002"])


start_plain()
start_daemon()
os.execv(sys.executable, [sys.executable, sys.argv[1]])
