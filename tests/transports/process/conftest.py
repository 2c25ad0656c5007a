import pytest

from mcpbridged.transports.process.spawner import Spawner


@pytest.fixture
def spawner():
    spawner = Spawner.start()
    yield spawner
    spawner.close()
