"""The keys of `requestState` that replicas share."""

import pytest

from mcpbridged.bridge.config.settings import Settings
from mcpbridged.bridge.daemon.errors import CannotStart
from mcpbridged.bridge.daemon.state_keys import read_state_keys


def keep(path, text):
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return str(path)


def settings(folder, *sources):
    return Settings((), state_key_sources=sources, file=folder / "config.toml")


def test_keys_have_the_order_of_the_configuration(tmp_path):
    sources = [keep(tmp_path / name, name * 32) for name in ("a", "b")]
    assert read_state_keys(settings(tmp_path, *sources), {}) == ("a" * 32, "b" * 32)
    assert read_state_keys(settings(tmp_path, *reversed(sources)), {}) == ("b" * 32, "a" * 32)
    # A relative path begins at the directory of the configuration.
    assert read_state_keys(settings(tmp_path, "./a"), {}) == ("a" * 32,)
    assert read_state_keys(settings(tmp_path), {}) == ()


def test_a_key_may_be_a_credential(tmp_path):
    keep(tmp_path / "state-key", "k" * 32)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_state_keys(settings(tmp_path, "credential:state-key"), environment) == ("k" * 32,)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["k" * 31], "listen: request_state_keys: key 1 has 31 bytes; the smallest is 32: "),
        (["k" * 32, "short"], "key 2 has 5 bytes"),
        (["k" * 32, "l" * 32, "k" * 32], "key 3 is the same as key 1"),
    ],
)
def test_keys_that_cannot_be_used_end_the_start(tmp_path, texts, reason):
    sources = [keep(tmp_path / str(number), text) for number, text in enumerate(texts)]
    with pytest.raises(CannotStart, match=reason) as caught:
        read_state_keys(settings(tmp_path, *sources), {})
    assert caught.value.code == 78
    assert not any(text in str(caught.value) for text in texts)


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(CannotStart, match=r"listen: request_state_keys: key 1: .*No such file"):
        read_state_keys(settings(tmp_path, "./missing"), {})
