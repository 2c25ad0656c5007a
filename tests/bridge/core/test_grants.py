"""Which servers a principal may use, and which roles are kept."""

from mcpbridged.bridge.core import grants
from mcpbridged.bridge.core.grants import Grant, Roles

READER = Grant(servers=frozenset({"git"}), read_only=True)


def test_a_principal_without_a_role_may_use_everything():
    roles = Roles()
    assert roles.get("owner") is None
    assert roles.permits("owner", "git")


def test_a_role_names_the_servers():
    roles = Roles()
    assert roles.assign([("reader", READER), ("all", Grant())]) == {"reader"}
    assert roles.permits("reader", "git")
    assert not roles.permits("reader", "files")
    assert roles.get("all") is None
    assert roles.get("reader").within("git") == (READER,)
    assert roles.get("reader").within("files") == ()
    assert roles.get("reader").within("") == (READER,)


def test_only_a_change_within_a_server_is_reported():
    roles = Roles()
    roles.assign([("a", Grant(servers=frozenset({"x"}))), ("b", READER)])
    assert roles.assign([("a", Grant()), ("b", READER)]) == frozenset()
    kept = roles.get("b")
    assert roles.assign([("a", Grant(deny=("y",))), ("b", READER)]) == {"a"}
    assert roles.get("b") is kept


def test_a_removed_principal_may_use_nothing():
    roles = Roles()
    roles.assign([("a", Grant()), ("b", READER)])
    assert roles.assign([]) == {"b"}
    assert not roles.permits("a", "git")
    assert not roles.permits("b", "git")
    assert roles.assign([("a", Grant())]) == {"a"}
    assert roles.permits("a", "git")


def test_a_derived_principal_has_the_grants_of_its_admission_or_none():
    roles = Roles()
    assert not roles.permits("_jwt-x", "git")
    roles.admit("_jwt-x", (READER,))
    role = roles.get("_jwt-x")
    assert roles.permits("_jwt-x", "git")
    roles.admit("_jwt-x", (READER,))
    assert roles.get("_jwt-x") is role
    roles.admit("_jwt-x", (Grant(),))
    assert roles.permits("_jwt-x", "files")
    # A derived principal with the unrestricted grant has a role too, because one that is not kept may use nothing.
    assert not roles.get("_jwt-x").restricts


def test_the_derived_principal_that_was_admitted_longest_ago_is_dropped(monkeypatch):
    monkeypatch.setattr(grants, "_MOST_DERIVED", 2)
    roles = Roles()
    for name in ("_1", "_2", "_1", "_3"):
        roles.admit(name, (Grant(),))
    assert [name for name in ("_1", "_2", "_3") if roles.permits(name, "git")] == ["_1", "_3"]
