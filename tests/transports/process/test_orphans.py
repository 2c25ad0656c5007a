"""A sweep kills adopted processes, and none that this process has started."""

import os
import subprocess
import sys

from mcpbridged.transports.process import keeper, orphans

ADOPTED = "import os, sys, time\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\ntime.sleep(1000)"


def test_only_adopted_processes_are_killed():
    keeper.adopt_orphans()
    others = set(keeper.children())  # processes of other tests
    sleep = [sys.executable, "-c", "input()"]
    ours = orphans.start_tracked(
        lambda: subprocess.Popen(sleep, stdin=subprocess.PIPE, start_new_session=True)
    )
    with (
        ours,
        subprocess.Popen(sleep, stdin=subprocess.PIPE) as plain,
        subprocess.Popen([sys.executable, "-c", ADOPTED], stdout=subprocess.PIPE) as parent,
    ):
        adopted = int(parent.stdout.readline())
        parent.wait(10)
        assert adopted in keeper.children()
        assert not orphans.sweep({*others, adopted})
        assert orphans.sweep(others)
        while adopted in keeper.children():
            orphans.sweep(others)
        assert not orphans.sweep(others)
        with orphans._STARTING:
            assert orphans.sweep(others)  # unknown while a process is being started
        assert (ours.poll(), plain.poll()) == (None, None)
        orphans.untrack(ours)
        for process in (ours, plain):
            process.communicate(b"\n", timeout=10)
    assert orphans._session(os.getpid()) == os.getsid(0)
    assert orphans._session(1 << 30) == 0


EXITED = "import os, time\nif os.fork(): time.sleep(0.1); os._exit(0)\ntime.sleep(0.2)"


def test_the_zombies_of_adopted_processes_are_removed():
    keeper.adopt_orphans()
    ours = orphans.start_tracked(lambda: subprocess.Popen([sys.executable, "-c", "exit(7)"]))
    others = set(keeper.children())
    subprocess.run([sys.executable, "-c", EXITED], check=True, timeout=10)
    (adopted,) = set(keeper.children()) - others
    os.waitid(os.P_PID, adopted, os.WEXITED | os.WNOWAIT)
    os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
    with orphans._STARTING:
        orphans.reap()
    assert adopted in keeper.children()  # not distinguishable while a process is being started
    orphans.reap()
    assert adopted not in keeper.children()
    # The exit status of our own process is still there.
    assert ours.wait(10) == 7
    orphans.untrack(ours)
