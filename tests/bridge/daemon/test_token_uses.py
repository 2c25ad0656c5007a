"""When a credential was last used."""

import pytest

from mcpbridged.bridge.daemon.token_uses import TokenUses
from mcpbridged.bridge.daemon.use_times import read_uses, write_uses

pytestmark = pytest.mark.anyio


class Connections:
    """A quota with these connections."""

    def __init__(self):
        self.of = {}

    def use_of(self, principal):
        return self.of.get(principal, (0, 0.0))


async def test_an_open_connection_is_a_use_and_a_closed_one_was_one(tmp_path):
    quota, file = Connections(), tmp_path / "uses.json"
    write_uses(file, {"ci": 5.0, "gone": 6.0})
    uses = TokenUses(file, quota, lambda: {"ci", "ide", "new"})
    assert uses.now() == {"ci": 5.0}
    quota.of = {"ci": (0, 7.0), "ide": (1, 0.0)}
    now = uses.now()
    assert now["ci"] == 7.0
    assert now["ide"] > 1_700_000_000
    # The quota has dropped its time, which it keeps for some principals only.
    quota.of = {}
    assert uses.now()["ci"] == 7.0


async def test_only_a_change_is_written(tmp_path):
    quota, file = Connections(), tmp_path / "uses.json"
    uses = TokenUses(file, quota, lambda: {"ci"})
    await uses.write()
    assert not file.exists()
    quota.of = {"ci": (0, 7.0)}
    await uses.write()
    assert read_uses(file) == {"ci": 7.0}
    file.unlink()
    await uses.write()
    assert not file.exists()
