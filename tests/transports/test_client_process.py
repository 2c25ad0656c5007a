"""Which process is at the other end of a connection. The client processes are real ones, or this one."""

import contextlib
import errno
import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from mcpbridged.transports import client_process
from mcpbridged.transports.client_process import CLIENT_HEADER, COMMAND, COMMAND_HEADER, UNKNOWN, Caller

pytestmark = pytest.mark.anyio

# Connects to an address, then waits for the end of its input.
CONNECT = """
import socket, sys
family, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sock = socket.socket(family)
sock.connect((host, port) if port else host)
print("connected", flush=True)
sys.stdin.read()
"""
V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
# Family and address of the listener, family and address that the client uses.
CARRIERS = {
    "IPv4": (V4, "127.0.0.1", V4, "127.0.0.1"),
    "IPv6": (V6, "::1", V6, "::1"),
    "IPv4 from a socket of IPv6": (V4, "127.0.0.1", V6, "::ffff:127.0.0.1"),
    "IPv4 at a socket of IPv6": (V6, "::", V4, "127.0.0.1"),
    "IPv4 mapped at both": (V6, "::", V6, "::ffff:127.0.0.1"),
    "another address of the loopback": (V4, "127.0.0.2", V4, "127.0.0.2"),
    "Unix": (UNIX, "", UNIX, ""),
}


@contextlib.contextmanager
def listening(family, host, folder):
    with socket.socket(family) as sock:
        if family == V6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        sock.bind(str(folder / "socket") if family == UNIX else (host, 0))
        sock.listen()
        yield sock


@contextlib.contextmanager
def connected(listener, family, host):
    """A client process and the other end of its connection."""
    address = (listener.getsockname(), 0) if family == UNIX else (host, listener.getsockname()[1])
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CONNECT, str(int(family)), *map(str, address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        sock, _ = listener.accept()
        with sock:
            process.stdout.readline()
            yield process, sock


@contextlib.contextmanager
def pair(folder, family=V4, host="127.0.0.1"):
    """Both ends of a connection of this process to itself: ours, theirs."""
    with listening(family, host, folder) as listener, socket.socket(family) as theirs:
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            yield ours, theirs


async def looked_up(sock):
    caller = Caller(sock)
    await caller.look_up()
    return caller


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_the_process_of_a_connection_is_found_and_its_exit_seen(carrier, tmp_path):
    family, host, theirs, reached = CARRIERS[carrier]
    with (
        listening(family, host, tmp_path) as listener,
        connected(listener, theirs, reached) as (process, sock),
    ):
        caller = await looked_up(sock)
        assert caller.known
        assert caller.process.pid == process.pid
        assert not caller.process.exited
        assert (await looked_up(sock)).process is caller.process
        process.stdin.close()
        while not caller.process.exited:  # also before it was waited for
            await trio.sleep(0.01)
        process.wait()
        assert caller.process.exited
        assert not (await looked_up(sock)).known


async def test_two_processes_have_different_names(tmp_path):
    with (
        listening(V4, "127.0.0.1", tmp_path) as listener,
        connected(listener, V4, "127.0.0.1") as (_, one),
        connected(listener, V4, "127.0.0.1") as (_, two),
        pair(tmp_path) as (three, _),
        pair(tmp_path, UNIX, "") as (four, _),
    ):
        names = [(await looked_up(sock)).name for sock in (one, two, three, four)]
        assert len(set(names[:3])) == 3
        assert names[2] == names[3]


async def test_no_lookup_happens_before_it_is_requested(tmp_path, monkeypatch):
    monkeypatch.setattr(client_process, "_find_owner", None)
    with pair(tmp_path) as (ours, _):
        caller = Caller(ours)
        caller.note_headers({})
        assert (caller.name, caller.known, caller.process) == ("", False, None)


async def test_requests_at_once_share_one_lookup(tmp_path, monkeypatch):
    found, calls = client_process._find_owner, []
    monkeypatch.setattr(client_process, "_find_owner", lambda *words: calls.append(words) or found(*words))
    with pair(tmp_path) as (ours, _):
        caller = Caller(ours)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(caller.look_up)
        assert caller.known
        assert len(calls) == 1


@pytest.mark.parametrize("name", ["via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"])
async def test_headers_of_a_proxy_make_the_client_unknown_for_good(name, tmp_path):
    with pair(tmp_path) as (ours, _):
        caller = await looked_up(ours)
        assert caller.known
        caller.note_headers({name: "x"})
        assert (caller.name, caller.known, caller.process) == (UNKNOWN, False, None)
        caller.note_headers({})
        await caller.look_up()
        assert caller.name == UNKNOWN


@pytest.mark.parametrize(
    ("family", "host", "more", "name"),
    [
        (UNIX, "", {}, COMMAND),
        (UNIX, "", {"via": "x"}, UNKNOWN),
        (UNIX, "", {"x-forwarded-for": "x"}, UNKNOWN),
        (V4, "127.0.0.1", {}, UNKNOWN),
    ],
)
async def test_all_commands_on_the_unix_socket_are_one_client(family, host, more, name, tmp_path):
    with pair(tmp_path, family, host) as (ours, _):
        caller = Caller(ours)
        caller.note_headers({COMMAND_HEADER: "1", **more})
        await caller.look_up()
        assert (caller.name, caller.known, caller.process) == (name, name == COMMAND, None)


async def test_a_socket_of_another_user_is_of_an_unknown_client(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    for family, host in ((V4, "127.0.0.1"), (UNIX, "")):
        with pair(tmp_path, family, host) as (ours, _):
            assert (await looked_up(ours)).name == UNKNOWN


async def test_a_socket_that_two_processes_have_is_of_an_unknown_client(tmp_path):
    with pair(tmp_path) as (ours, theirs):
        holder = [sys.executable, "-I", "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"]
        with subprocess.Popen(
            holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]
        ) as process:
            process.stdout.readline()
            assert not (await looked_up(ours)).known
            # Also where one of the two was found before, by another connection.
            with pair(tmp_path) as (other, _):
                known = await looked_up(other)
                assert known.process.pid == os.getpid()
                assert not (await looked_up(ours)).known
                process.stdin.close()
                process.wait()
                assert (await looked_up(ours)).process is known.process


async def test_a_connection_whose_other_end_is_closed_is_of_an_unknown_client(tmp_path):
    with pair(tmp_path) as (ours, theirs):
        theirs.close()
        assert not (await looked_up(ours)).known
    assert not (await looked_up(ours)).known  # our own end is closed


async def test_a_socket_without_a_visible_process_is_of_an_unknown_client(tmp_path, monkeypatch):
    monkeypatch.setattr(client_process, "_own_pids", lambda: iter([2**22 + 1]))
    with pair(tmp_path) as (ours, _):
        gc.collect()
        assert not (await looked_up(ours)).known


async def test_a_lookup_reads_a_bounded_number_of_links(tmp_path, monkeypatch):
    monkeypatch.setattr(client_process, "_MOST_LINKS", 0)
    with pair(tmp_path) as (ours, _):
        assert not (await looked_up(ours)).known


async def test_a_process_that_exits_during_the_lookup_is_not_taken_for_its_successor(tmp_path, monkeypatch):
    read = client_process._link
    seen = []

    def changed_at_the_second_look(path):
        link = read(path)
        if link in seen:
            return ""
        if link.startswith("socket:") and link == wanted:
            seen.append(link)
        return link

    monkeypatch.setattr(client_process, "_link", changed_at_the_second_look)
    with pair(tmp_path) as (ours, theirs):
        wanted = f"socket:[{os.fstat(theirs.fileno()).st_ino}]"
        assert not (await looked_up(ours)).known


def test_a_pid_that_is_used_again_is_another_process(monkeypatch):
    one = client_process._process(os.getpid(), -1)
    assert not one.exited
    parent, started = client_process._status(os.getpid())
    monkeypatch.setattr(client_process, "_status", lambda _pid: (parent, started + 1))
    assert one.exited
    other = client_process._process(os.getpid(), -1)
    assert other is not one
    assert other.name != one.name


def test_a_process_that_has_exited_is_none_and_its_descriptor_is_closed():
    with subprocess.Popen(["true"]) as process:
        descriptor = os.pidfd_open(process.pid)
        process.wait()
    assert client_process._process(process.pid, descriptor) is None
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(descriptor)


def test_a_process_that_proc_does_not_show_is_known_by_its_descriptor(monkeypatch):
    monkeypatch.setattr(client_process, "_status", lambda _pid: None)
    with subprocess.Popen(["sleep", "60"]) as process, subprocess.Popen(["sleep", "60"]) as another:
        descriptor = os.pidfd_open(process.pid)
        one = client_process._process(process.pid, descriptor)
        other = client_process._process(another.pid, os.pidfd_open(another.pid))
        second = os.pidfd_open(process.pid)
        assert client_process._process(process.pid, second) is one
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(second)
        assert (one.pid, one.exited, one.name == other.name) == (process.pid, False, False)
        process.kill()
        process.wait()
        another.kill()
    assert one.exited
    # Another process that gets its pid.
    monkeypatch.setattr(client_process, "_has_exited", lambda pidfd: pidfd == descriptor)
    with subprocess.Popen(["sleep", "60"]) as later:
        again = client_process._process(one.pid, os.pidfd_open(later.pid))
        later.kill()
    assert again is not one
    assert again.name != one.name
    # Without a descriptor nothing shows that it runs.
    assert client_process._process(os.getpid(), -1) is None


def test_a_user_namespace_hides_the_sockets_of_processes_outside():
    code = "import mcpbridged.transports.client_process as c; print(c.finds_processes())"
    words = [sys.executable, "-c", code]
    outside = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert outside == f"{Path('/proc/self/uid_map').read_text().split() == ['0', '0', '4294967295']}\n"
    inside = subprocess.run(
        ["unshare", "--user", "--map-current-user", *words], capture_output=True, text=True, check=False
    )
    if inside.returncode and "unshare" in inside.stderr:
        pytest.skip(f"no user namespace here: {inside.stderr.strip()}")
    assert inside.stdout == "False\n"


def test_the_descriptor_of_a_process_lives_as_long_as_it_is_needed():
    with subprocess.Popen(["sleep", "60"]) as process:
        descriptor = os.pidfd_open(process.pid)
        found = client_process._process(process.pid, descriptor)
        again = client_process._process(process.pid, os.pidfd_open(process.pid))
        assert again is found
        os.fstat(descriptor)
        del found, again
        gc.collect()
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(descriptor)
        process.kill()


async def test_without_pidfd_processes_are_identified_by_the_start_time(tmp_path, monkeypatch):
    def none(_pid):
        raise OSError(errno.ENOSYS, "not here")

    def without(sock):
        class Old:
            family = sock.family

            def getsockopt(self, level, option, *size):
                if option == client_process._SO_PEERPIDFD:
                    raise OSError(errno.ENOPROTOOPT, "not here")
                return sock.getsockopt(level, option, *size)

        return Old()

    client_process._processes.clear()
    monkeypatch.setattr(os, "pidfd_open", none)
    with listening(UNIX, "", tmp_path) as listener, connected(listener, UNIX, "") as (process, sock):
        caller = await looked_up(without(sock))
        assert caller.process.pid == process.pid
        assert not caller.process.exited
        process.stdin.close()
        process.wait()
        assert caller.process.exited
        assert not (await looked_up(without(sock))).known


async def test_a_peer_whose_credentials_cannot_be_read_is_unknown():
    class Broken:
        family = UNIX

        def getsockopt(self, *_):
            raise OSError(errno.EINVAL, "no")

    assert not (await looked_up(Broken())).known
    assert client_process.pid_of_peer(Broken()) == 0


async def test_a_peer_that_has_exited_already_is_unknown(tmp_path):
    with listening(UNIX, "", tmp_path) as listener, connected(listener, UNIX, "") as (process, sock):
        assert client_process.pid_of_peer(sock) == process.pid
        process.stdin.close()
        process.wait()
        assert not (await looked_up(sock)).known
    with pair(tmp_path) as (ours, _):
        assert client_process.pid_of_peer(ours) == 0


# ---- streams, and clients that the aggregate names


def test_a_stream_is_a_client_until_it_ends():
    ended = []
    one, two = client_process.stream(), client_process.stream()
    assert one.known
    assert one.name != two.name
    one.add_end_callback("server", ended.append)
    one.end()
    one.end()
    assert (ended, one.ended, two.ended) == ([one], True, False)


def test_only_a_trusted_peer_names_a_client(tmp_path):
    original = client_process.stream()
    headers = {CLIENT_HEADER: original.name}
    with pair(tmp_path) as (ours, _):
        stranger, ends = Caller(ours).for_stream(headers)
        assert ends
        assert stranger is not original
        assert Caller(ours, trusted=True).for_stream(headers) == (original, False)
        own, ends = Caller(ours, trusted=True).for_stream({})
        assert ends
        assert own is not original


async def test_a_named_process_is_the_same_object(tmp_path):
    with pair(tmp_path) as (ours, _):
        known = await looked_up(ours)
        trusted = Caller(ours, trusted=True)
        named, ends = trusted.for_stream({CLIENT_HEADER: known.name})
        assert (named.process, named.name, named.known, ends) == (known.process, known.name, True, False)
        name = known.name
        del known, named
        gc.collect()
        found, ends = trusted.for_stream({CLIENT_HEADER: name})
        assert (found.process.pid, ends) == (os.getpid(), False)


@pytest.mark.parametrize("name", ["process-1.0", f"process-{2**70}.1", "process-x", "stream-0", UNKNOWN])
def test_the_name_of_no_process_lasts_as_long_as_its_stream(name, tmp_path):
    with pair(tmp_path) as (ours, _):
        caller, ends = Caller(ours, trusted=True).for_stream({CLIENT_HEADER: name})
        assert (caller.name, caller.process, ends) == (name, None, True)
        assert caller.known == (name != UNKNOWN)
