"""Values that follow from the settings."""

import attrs

from mcpbridged.bridge.config.settings import AggregateConfig, ServerConfig, TokenConfig
from mcpbridged.bridge.core.grants import Grant
from mcpbridged.transports.options import Launch

SERVER = ServerConfig("a", Launch(("server",), {"KEY": "a-long-secret", "PIN": "1"}))


def test_short_values_are_no_secrets_to_redact():
    hidden = attrs.evolve(SERVER, hidden=frozenset({"KEY", "PIN"}))
    assert hidden.secrets == ("a-long-secret",)
    assert SERVER.secrets == ()


def test_a_change_of_the_members_needs_no_restart_of_the_aggregate():
    def aggregate(*members):
        launch = Launch(("aggregate", "--of", *members), {})
        return ServerConfig("aggregate", launch, aggregate=AggregateConfig(members))

    assert aggregate("a").start_config == aggregate("a", "b").start_config
    assert aggregate("a") != aggregate("a", "b")
    assert SERVER.start_config is SERVER


def test_values_are_read_again_with_the_same_reader():
    seen = []

    def resolver(helpers):
        seen.append(helpers)
        return attrs.evolve(SERVER, fault="")

    pending = attrs.evolve(SERVER, pending=True, resolver=resolver)
    resolved = pending.resolved("helpers")
    assert (resolved.pending, resolved.resolver, seen) == (False, resolver, ["helpers"])
    assert SERVER.resolved("helpers") is SERVER


def test_only_two_kinds_of_sharing_cross_the_eras():
    assert [attrs.evolve(SERVER, share=share).shares for share in ("", "session", "client")] == [False] * 3
    assert [attrs.evolve(SERVER, share=share).shares for share in ("principal", "server")] == [True] * 2


def test_the_grant_of_a_token_is_what_it_permits():
    token = TokenConfig("t", b"1")
    assert attrs.evolve(token, sha256=b"2", secret="place", former=b"3").grant == token.grant == Grant()
    for key, value in [
        ("servers", frozenset({"a"})),
        ("allow", ("x",)),
        ("deny", ("x",)),
        ("without", ("roots",)),
        ("methods", ("tools/*",)),
        ("read_only", True),
    ]:
        assert getattr(attrs.evolve(token, **{key: value}).grant, key) == value
    assert not {"sha256", "secret", "former"} & set(repr(token).replace("=", " ").split())
