"""Bridges to test: one that a file's tests share, and a way to start one with a server and options of one's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.bridge_process import EXAMPLE, Bridge


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """The example server's bridge, for tests that leave it as they found it."""
    with Bridge(tmp_path_factory.mktemp("bridge") / "run") as running:
        yield running


@pytest.fixture
def start_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """`start_bridge(command, *options)`; when the test is over, the bridge is stopped and nothing may be left of it."""
    with ExitStack() as stack:

        def start(command: tuple[str, ...] = EXAMPLE, *options: str) -> Bridge:
            return stack.enter_context(Bridge(tmp_path / "run", command, *options))

        yield start
