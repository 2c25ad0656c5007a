"""With the units of systemd a server that uses too much memory ends alone, and the cgroup can hold a tree of servers."""

import pytest

from ..support.units import service


@pytest.mark.parametrize("name", ["mcp-bridge.service", "mcp-bridge@.service"])
def test_r14_one_server_that_is_killed_for_memory_does_not_end_the_others(name):
    unit = service(name)
    assert unit["OOMPolicy"] == "continue"
    high, most = (int(unit[key].removesuffix("%")) for key in ("MemoryHigh", "MemoryMax"))
    assert 0 < high < most <= 90
    assert unit["KillMode"] == "mixed"


@pytest.mark.parametrize("name", ["mcp-bridge.service", "mcp-bridge@.service"])
def test_r14_the_cgroup_of_the_service_is_delegated_and_writable(name):
    unit = service(name)
    assert unit["Delegate"] == "yes"
    assert unit.get("ProtectControlGroups", "no") in ("no", "private")
    # The daemon looks for the cgroups of its servers below its own.
    assert "DelegateSubgroup" not in unit
