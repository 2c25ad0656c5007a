"""Programs that print a secret, within limits of time and output."""

import os
import threading
import time

import pytest

from mcpbridged.bridge.config.helper_programs import HelperFailed, Helpers

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def run(script, *, seconds=10.0, longest=100):
    return Helpers(seconds).run(("sh", "-c", script), ENVIRONMENT, longest)


def test_the_output_is_returned():
    assert run("printf secret") == b"secret"


def test_a_helper_reads_what_is_sent_to_it():
    assert Helpers().run(("cat",), ENVIRONMENT, 100_000, b"x" * 65_000) == b"x" * 65_000
    assert Helpers().run(("cat",), ENVIRONMENT, 100) == b""


def test_a_helper_that_reads_nothing_blocks_no_writer():
    assert Helpers().run(("echo",), ENVIRONMENT, 100, b"x" * 1_000_000) == b"\n"


@pytest.mark.parametrize(("size", "allowed"), [(100, True), (101, False)])
def test_the_output_has_a_limit(size, allowed):
    script = f"head -c {size} /dev/zero"
    if allowed:
        assert len(run(script)) == size
    else:
        with pytest.raises(HelperFailed, match="printed 101 bytes; the limit is 100"):
            run(script)


def test_an_endless_output_is_ended():
    with pytest.raises(HelperFailed):
        run("exec cat /dev/zero")


def test_a_failure_has_its_code_and_not_its_output():
    with pytest.raises(HelperFailed, match=r"the helper 'sh' exited with 3$"):
        run("echo secret; exit 3")


def test_a_missing_helper_is_named():
    with pytest.raises(HelperFailed, match="no-such-helper"):
        Helpers().run(("no-such-helper",), ENVIRONMENT, 100)


def test_a_helper_that_takes_too_long_is_killed_with_its_descendants(tmp_path):
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(HelperFailed):
        run(f"sleep 60 & echo $! > {pids}; wait", seconds=0.2)
    assert time.monotonic() - began < 5
    sleeper = int(pids.read_text())
    end = time.monotonic() + 5
    while time.monotonic() < end and os.path.exists(f"/proc/{sleeper}"):
        with open(f"/proc/{sleeper}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "Z":
                break
    else:
        assert not os.path.exists(f"/proc/{sleeper}")


def test_a_cancelled_helper_is_killed_and_no_other_starts(tmp_path):
    helpers, ready = Helpers(60), tmp_path / "ready"
    os.mkfifo(ready)

    def cancel():
        ready.read_text()
        helpers.end()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(HelperFailed):
        helpers.run(("sh", "-c", f"echo > {ready}; exec sleep 60"), ENVIRONMENT, 100)
    thread.join()
    with pytest.raises(HelperFailed, match="was cancelled"):
        helpers.run(("true",), ENVIRONMENT, 100)
