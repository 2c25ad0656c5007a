"""The policy of a principal, and when its role is read again."""

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.grants import Grant, Role, Roles
from mcpbridged.bridge.runtime.policies import PolicyTable


def denying(name, servers=("*",)):
    return Grant(servers=frozenset(servers), deny=(name,))


def test_a_principal_without_a_role_has_the_policy_of_the_server():
    common = AccessPolicy()
    assert PolicyTable(common, {"limited": Role((denying("x"),))}).find("other") is common


def test_a_role_narrows_the_policy_once():
    table = PolicyTable(AccessPolicy(), {"limited": Role((denying("delete_*"),))})
    policy = table.find("limited")
    assert policy is not table.common
    assert table.find("limited") is policy
    assert not policy.allows("delete_x")


def test_a_role_that_is_replaced_has_another_policy():
    roles = Roles()
    roles.assign([("limited", denying("x"))])
    table = PolicyTable(AccessPolicy(), roles)
    before = table.find("limited")
    roles.assign([("limited", denying("x"))])
    assert table.find("limited") is before
    roles.assign([("limited", denying("y"))])
    assert not table.find("limited").allows("y")
    assert table.find("limited").allows("x")
    roles.assign([])
    assert not table.find("limited").allows("z")


def test_only_the_grants_for_the_server_count():
    role = Role((denying("x", ["a"]), Grant(servers=frozenset({"b"}))))
    assert not PolicyTable(AccessPolicy(), {"limited": role}, "a").find("limited").allows("x")
    assert PolicyTable(AccessPolicy(), {"limited": role}, "b").find("limited").allows("x")
