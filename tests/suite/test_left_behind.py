"""The instrument that watches all tests: planted faults are found."""

import gc
import io
import os
import socket
import time
import warnings

import anyio
import pytest
import trio

from ..support.left_behind import nothing_left, shared


@pytest.fixture(autouse=True)
def _nothing_left():
    """Do not watch these tests, which leave something behind on purpose."""


def burn(seconds):
    """Use processor time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def start_system_task():
    trio.lowlevel.spawn_system_task(trio.sleep_forever, name="planted")
    await trio.sleep(0)


@pytest.mark.parametrize("runner", ["trio", "anyio"])
def test_a_planted_task_that_is_left_is_found(runner):
    with pytest.raises(AssertionError, match="the task planted was left"), nothing_left():
        if runner == "trio":
            trio.run(start_system_task)
        else:
            anyio.run(start_system_task, backend="trio")


def test_the_child_of_a_planted_task_is_found():
    async def parent():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="planted child")

    async def main():
        trio.lowlevel.spawn_system_task(parent)
        await trio.sleep(0)
        await trio.sleep(0)

    with pytest.raises(AssertionError, match="the task planted child was left"), nothing_left():
        trio.run(main)


def test_a_planted_step_that_blocks_is_found():
    async def main():
        burn(0.05)

    with pytest.raises(AssertionError, match=r"a step of .* took 0\.0\d s"), nothing_left(longest=0.02):
        trio.run(main)


@pytest.mark.parametrize("make", [os.pipe, lambda: [socket.socket().detach()]], ids=["pipe", "socket"])
def test_a_planted_descriptor_that_is_left_is_found(make):
    made = []
    with pytest.raises(AssertionError, match=r"the descriptor \d+ of (pipe|socket)"), nothing_left():
        made += make()
    for number in made:
        os.close(number)


def test_descriptors_of_clients_of_daemons_are_not_looked_at():
    made = []
    with nothing_left(descriptors=False):
        made += os.pipe()
    for number in made:
        os.close(number)


def test_a_fixture_that_several_tests_share_may_begin_in_a_test():
    made = []
    with nothing_left(), shared():
        made += os.pipe()
    with pytest.raises(AssertionError, match="pipe"), nothing_left():
        made += os.pipe()
    for number in made:
        os.close(number)


def test_time_that_passes_is_no_processor_time():
    async def main():
        time.sleep(0.05)

    with nothing_left(longest=0.02):
        trio.run(main)


def test_what_is_closed_and_ended_is_no_fault():
    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            read, write = os.pipe()
            os.close(read)
            os.close(write)

    with nothing_left():
        trio.run(main)


def test_a_file_in_a_cycle_is_no_fault():
    class Node:
        pass

    def make():
        node = Node()
        node.itself, node.file = node, io.FileIO(os.dup(0), closefd=True)

    with nothing_left(), warnings.catch_warnings(action="ignore"):
        make()
        gc.collect()
