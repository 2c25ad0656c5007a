"""The tokens of the state of the page."""

import socket

from mcpbridged.bridge.config.settings import AdminConfig, Settings, TokenConfig
from mcpbridged.bridge.daemon.page_state import TokenUse, token_uses
from mcpbridged.transports.http.quota import Quota
from mcpbridged.validators.limits import Limits


def settings(**more):
    tokens = (TokenConfig("editor", b"x" * 32, frozenset({"git", "files"})), TokenConfig("ci", b"y" * 32))
    return Settings((), tokens=tokens, admin=AdminConfig(enabled=True), **more)


def test_the_use_of_each_token_is_counted_by_connections():
    quota = Quota(Limits())
    near, far = socket.socketpair()
    with near, far:
        one, other = quota.admit(near, "one"), quota.admit(far, "other")
        one.identify("editor")
        other.identify("owner")
        other.release()
        owner, editor, ci = token_uses(settings(), quota)
    assert (owner.name, owner.servers, owner.connections) == ("owner", ("*",), 0)
    assert owner.last_used > 1_600_000_000
    assert editor == TokenUse("editor", ("files", "git"), 1, 0.0)
    assert ci == TokenUse("ci", ("*",), 0, 0.0)


def test_without_authentication_the_owner_has_no_token():
    assert [use.name for use in token_uses(settings(authenticate=False), Quota(Limits()))] == ["editor", "ci"]
