"""A bridge for all tests of a module, and a function that starts a bridge with a server and options."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.bridge_process import EXAMPLE, Bridge


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """Yield a bridge in front of the example server, for tests that do not change its state."""
    with Bridge(tmp_path_factory.mktemp("bridge") / "run") as running:
        yield running


@pytest.fixture
def start_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Yield `start_bridge(command, *options)`. After the test the bridge is stopped, and no process may be left."""
    with ExitStack() as stack:

        def start(command: tuple[str, ...] = EXAMPLE, *options: str) -> Bridge:
            return stack.enter_context(Bridge(tmp_path / "run", command, *options))

        yield start
