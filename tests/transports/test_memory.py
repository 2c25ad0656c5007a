"""Memory of large messages is kept while more of them come, and returned to the kernel afterwards."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mcpbridged.transports import memory
from mcpbridged.transports.memory import HeapTrimmer, keep_freed_memory, large_messages

MIB = 1024 * 1024
TRIM, MAP = -1, -3


class World:
    def __init__(self, *, keeps=False):
        self.size = 30 * MIB
        self.trims = 0
        self.kept = 30 * MIB
        self.it = HeapTrimmer(lambda: self.size, self.trim, keeps=keeps)
        self.now = 100.0

    def trim(self):
        self.trims += 1
        self.size = self.kept

    def at(self, size):
        self.size = size * MIB
        self.now += 1
        self.it.tick(self.now)
        return self.trims

    def large(self, size):
        """Receive a large message, and return the number of trims a second later."""
        large_messages.count += 1
        return self.at(size)


def test_the_heap_is_trimmed_once_when_grown_memory_is_stable():
    world = World()
    assert [world.at(size) for size in (30, 30, 80, 90, 70, 70, 30, 30)] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_memory_that_is_in_use_is_not_trimmed_again_and_again():
    world = World()
    world.kept = 80 * MIB
    assert [world.at(size) for size in (30, 80, 80, 80, 80, 85, 85, 95, 95)] == [0, 0, 1, 1, 1, 1, 1, 1, 2]


def test_checks_have_a_least_interval():
    world = World()
    world.at(30)
    world.size = 90 * MIB
    for _ in range(10):
        world.it.tick(world.now + 0.1)
    assert world.trims == 0
    world.at(90)
    world.at(90)
    assert world.trims == 1


def test_without_kept_memory_large_messages_do_not_delay_a_trim():
    world = World()
    world.at(30)
    assert [world.large(62) for _ in range(3)] == [0, 1, 1]


def test_kept_memory_is_returned_once_after_some_seconds_without_a_large_message():
    world = World(keeps=True)
    world.at(30)
    assert [world.large(62) for _ in range(100)] == [0] * 100
    assert [world.at(62) for _ in range(3)] == [0, 0, 0]
    assert [world.at(62), *(world.at(30) for _ in range(100))] == [1] * 101


def test_growth_without_a_large_message_is_trimmed_as_without_kept_memory():
    world = World(keeps=True)
    world.large(30)
    assert [world.at(30) for _ in range(4)] == [0, 0, 0, 1]
    assert [world.at(size) for size in (80, 90, 90)] == [1, 1, 2]


def test_a_message_that_was_in_use_at_the_last_trim_is_returned_after_its_end():
    world = World(keeps=True)
    world.kept = 44 * MIB
    world.large(62)
    assert [world.at(62) for _ in range(4)] == [0, 0, 0, 1]
    world.kept = 30 * MIB
    # The last of it is sent, and the resident memory stays as it is.
    assert [world.large(44), *(world.at(44) for _ in range(3)), world.at(44)] == [1, 1, 1, 1, 2]
    assert world.size == 30 * MIB


def test_a_large_message_between_two_checks_counts():
    world = World(keeps=True)
    world.large(62)
    world.at(62)
    world.at(62)
    large_messages.count += 1
    world.it.tick(world.now + 0.1)
    assert [world.at(62) for _ in range(5)] == [0, 0, 0, 0, 1]


def test_the_resident_memory_is_read_and_trimmed(monkeypatch):
    assert memory.resident() > MIB
    memory.trim()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: object())
    memory.trim()


@pytest.mark.parametrize("path", ["/nonexistent"])
def test_without_procfs_nothing_is_trimmed(monkeypatch, path):
    monkeypatch.setattr(memory, "_STATM", memory.Path(path))
    assert memory.resident() == 0


class Library:
    """A C library with these functions. `mallopt` stores the options, unless it refuses them."""

    def __init__(self, *functions, refused=()):
        self.options = {}
        self.trimmed = []

        def mallopt(option, value):
            if option in refused:
                return 0
            self.options[option] = value
            return 1

        def malloc_trim(pad):
            self.trimmed.append(pad)
            return 1

        known = {"mallopt": mallopt, "malloc_trim": malloc_trim, "gnu_get_libc_version": lambda: b"2.36"}
        for name in functions:
            setattr(self, name, known[name])


GLIBC = ("mallopt", "malloc_trim", "gnu_get_libc_version")


@pytest.fixture
def use(monkeypatch):
    """Load this C library."""

    def use(library):
        monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: library)
        return library

    return use


@pytest.mark.parametrize(
    ("size", "trim", "map_"),
    [
        (64 * MIB, 64 * MIB, 32 * MIB),
        (16 * MIB, 16 * MIB, 16 * MIB),
        (1, 128 * 1024, 128 * 1024),
        (2**39, 2**31 - 1, 32 * MIB),
    ],
)
def test_both_thresholds_are_set_within_the_bounds_of_glibc(use, size, trim, map_):
    library = use(Library(*GLIBC))
    assert keep_freed_memory(size)
    assert library.options == {TRIM: trim, MAP: map_}
    assert library.mallopt.argtypes == (memory.ctypes.c_int, memory.ctypes.c_int)
    assert library.mallopt.restype is memory.ctypes.c_int
    memory.trim()
    assert library.trimmed == [0]


def test_with_size_0_no_threshold_is_set(use):
    library = use(Library(*GLIBC))
    assert not keep_freed_memory(0)
    assert library.options == {}


@pytest.mark.parametrize(
    "functions",
    [
        pytest.param((), id="musl"),
        pytest.param(("mallopt",), id="bionic"),
        pytest.param(("gnu_get_libc_version",), id="no symbols of the allocator"),
    ],
)
def test_with_another_c_library_nothing_changes(use, functions):
    library = use(Library(*functions))
    assert not keep_freed_memory(64 * MIB)
    memory.trim()
    assert (library.options, library.trimmed) == ({}, [])


def test_in_a_static_executable_nothing_changes(monkeypatch):
    def refuse(_name):
        raise OSError("Dynamic loading not supported")

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    assert not keep_freed_memory(64 * MIB)
    memory.trim()


@pytest.mark.parametrize("refused", [(TRIM,), (MAP,)])
def test_a_refused_threshold_is_no_error(use, refused):
    library = use(Library(*GLIBC, refused=refused))
    assert not keep_freed_memory(64 * MIB)
    assert len(library.options) == 1


# Prints the page faults per message of 10 MB of which three copies exist, and by how much the resident memory has grown
# then and after a trim (MiB).
MEASURED = """
import json, resource, sys
from mcpbridged.transports import memory

kept = memory.keep_freed_memory(int(sys.argv[1]))
before = memory.resident()
for count in range(11):
    if count == 1:
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    copies = [bytes([number]) * 10_000_000 for number in range(3)]
    del copies
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
full = memory.resident()
memory.trim()
sizes = [size >> 20 for size in (full - before, memory.resident() - before)]
print(json.dumps([kept, faults / 10, *sizes]))
"""


def measured(size):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(size)], capture_output=True, check=True, timeout=30
    )
    return SimpleNamespace(
        **dict(zip(("kept", "faults", "full", "trimmed"), json.loads(done.stdout), strict=True))
    )


@pytest.mark.skipif(
    not hasattr(memory.ctypes.CDLL(None), "gnu_get_libc_version"), reason="thresholds of glibc"
)
def test_glibc_reuses_the_pages_of_large_messages_until_a_trim():
    usual, kept = measured(0), measured(64 * MIB)
    assert (usual.kept, kept.kept) == (False, True)
    assert usual.faults > 4000
    assert kept.faults < 100
    assert kept.full > 20
    assert kept.trimmed < 2
