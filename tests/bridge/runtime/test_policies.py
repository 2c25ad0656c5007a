"""The policy of a principal, and when its role is read again."""

from types import SimpleNamespace

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.runtime.policies import PolicyTable


def role(*denied):
    return SimpleNamespace(allow=("*",), deny=denied, without=())


def test_a_principal_without_a_role_has_the_policy_of_the_server():
    common = AccessPolicy()
    assert PolicyTable(common, {"limited": role("x")}).find("other") is common


def test_a_role_narrows_the_policy_once():
    table = PolicyTable(AccessPolicy(), {"limited": role("delete_*")})
    policy = table.find("limited")
    assert policy is not table.common
    assert table.find("limited") is policy


def test_a_role_that_changes_is_read_after_it_was_dropped():
    roles = {"limited": role("x")}
    table = PolicyTable(AccessPolicy(), roles)
    before = table.find("limited")
    roles["limited"] = role("y")
    assert table.find("limited") is before
    table.drop("limited")
    table.drop("unknown")
    assert table.find("limited") is not before
    del roles["limited"]
    assert table.find("limited") is table.common
