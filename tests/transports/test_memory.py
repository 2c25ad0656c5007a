"""Freed memory is returned to the kernel when it is stable."""

import pytest

from mcpbridged.transports import memory
from mcpbridged.transports.memory import HeapTrimmer

MIB = 1024 * 1024


class World:
    def __init__(self):
        self.size = 30 * MIB
        self.trims = 0
        self.kept = 30 * MIB
        self.it = HeapTrimmer(lambda: self.size, self.trim)
        self.now = 100.0

    def trim(self):
        self.trims += 1
        self.size = self.kept

    def at(self, size):
        self.size = size * MIB
        self.now += 1
        self.it.tick(self.now)
        return self.trims


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


def test_the_resident_memory_is_read_and_trimmed(monkeypatch):
    assert memory.resident() > MIB
    memory.trim()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: object())
    memory.trim()


@pytest.mark.parametrize("path", ["/nonexistent"])
def test_without_procfs_nothing_is_trimmed(monkeypatch, path):
    monkeypatch.setattr(memory, "_STATM", memory.Path(path))
    assert memory.resident() == 0
