"""Credentials that a helper program keeps."""

import os
import shlex
import sys

import pytest

from mcpbridged.bridge.config.helper_programs import Helpers
from mcpbridged.bridge.oauth.entries import Credentials
from mcpbridged.bridge.oauth.helper_store import HelperBackend
from mcpbridged.bridge.oauth.store import CredentialStore, StoreFault

pytestmark = pytest.mark.anyio

ENTRY = Credentials("https://as", "https://h/mcp", "c", "https://as/token", access_token="SECRET-TOKEN")
# A helper that keeps its entries in a folder, as one of git does.
HELPER = """
import os, sys
sent = dict(line.rstrip("\\n").split("=", 1) for line in iter(sys.stdin.readline, "\\n"))
assert sent["service"] == "mcp-bridge"
path = os.path.join(sys.argv[1], sent["key"].encode().hex())
if sys.argv[2] == "get":
    if os.path.exists(path):
        print("username=ignored")
        print("secret=" + open(path).read())
elif sys.argv[2] == "store":
    open(path, "w").write(sent["secret"])
elif os.path.exists(path):
    os.remove(path)
"""


def store_of(words, folder):
    return CredentialStore(HelperBackend(words, {"PATH": os.environ["PATH"]}, Helpers(20)), folder)


async def test_entries_are_kept_by_the_helper(tmp_path):
    store = store_of((sys.executable, "-c", HELPER, str(tmp_path)), tmp_path)
    assert await store.read("server https://h/mcp", Credentials) is None
    await store.write("server https://h/mcp", ENTRY)
    assert await store.read("server https://h/mcp", Credentials) == ENTRY
    await store.erase("server https://h/mcp")
    assert await store.read("server https://h/mcp", Credentials) is None
    assert store.mark() is None


async def test_no_secret_is_an_argument(tmp_path):
    log = tmp_path / "log"
    store = store_of(("sh", "-c", f'echo "$0 $@" >>{shlex.quote(str(log))}; cat >/dev/null'), tmp_path)
    await store.write("a", ENTRY)
    assert log.read_text() == "store \n"


async def test_a_helper_that_reads_nothing_does_not_block(tmp_path):
    store = store_of(("sh", "-c", "exit 0"), tmp_path)
    await store.write("a", Credentials("https://as", "r", "c", "t", access_token="x" * 200_000))


@pytest.mark.parametrize(
    ("script", "reason"), [("exit 3", "exited with 3"), ("head -c 70000 /dev/zero", "printed more")]
)
async def test_a_failure_names_the_action_and_no_secret(tmp_path, script, reason):
    store = store_of(("sh", "-c", script), tmp_path)
    with pytest.raises(StoreFault, match=rf"{reason}.*oauth.helper, action get"):
        await store.read("a", Credentials)


async def test_a_program_that_others_could_replace_is_not_run(tmp_path):
    program = tmp_path / "helper"
    program.write_text("#!/bin/sh\ntouch ran\n")
    program.chmod(0o777)
    with pytest.raises(StoreFault, match="others could replace it"):
        await store_of((str(program),), tmp_path).read("a", Credentials)


async def test_an_answer_without_a_secret_is_no_entry(tmp_path):
    store = store_of(("sh", "-c", "printf 'secret=\\nsecret\\nother=x\\n'"), tmp_path)
    assert await store.read("a", Credentials) is None
