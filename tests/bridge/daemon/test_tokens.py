"""Where the owner's token is read, and when it is outdated."""

from pathlib import Path

import pytest

from mcpbridged.bridge.config.credentials import PRINCIPAL, new_token
from mcpbridged.bridge.config.settings import Settings, TokenConfig
from mcpbridged.bridge.daemon.errors import CannotStart
from mcpbridged.bridge.daemon.tokens import Tokens


@pytest.fixture
def environment(tmp_path):
    return {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


def secret_file(path):
    token = new_token()
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return token


def test_the_default_token_is_made_and_is_for_this_user_only(environment):
    tokens = Tokens.read(Settings(()), environment)
    assert Path(tokens.source).read_text().strip() == tokens.owner
    assert tokens.accepted.principal(tokens.owner) == PRINCIPAL
    assert tokens.accepted.is_local(PRINCIPAL)
    assert Tokens.read(Settings(()), environment).owner == tokens.owner
    assert tokens.owner not in repr(tokens)


def test_a_changed_default_token_is_outdated(environment):
    tokens = Tokens.read(Settings(()), environment)
    assert not tokens.is_outdated
    Path(tokens.source).unlink()
    assert tokens.is_outdated


def test_a_token_in_a_file_of_the_command_line_is_valid_for_all_users(environment, tmp_path):
    token = secret_file(tmp_path / "token")
    tokens = Tokens.read(Settings((), token_file=tmp_path / "token"), environment)
    assert (tokens.owner, tokens.source) == (token, str(tmp_path / "token"))
    assert not tokens.accepted.is_local(PRINCIPAL)
    assert not tokens.is_outdated


def test_tokens_of_the_configuration_have_their_names(environment):
    settings = Settings((), tokens=(TokenConfig("ci", b"x" * 32),))
    assert Tokens.read(settings, environment).accepted._principals[-1] == (b"x" * 32, "ci")


def test_without_authentication_no_token_is_read(environment, tmp_path):
    tokens = Tokens.read(Settings((), authenticate=False), environment)
    assert (tokens.owner, tokens.accepted) == ("", None)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("fault", ["missing", "weak"])
def test_a_token_that_cannot_be_used_ends_the_start(environment, tmp_path, fault):
    path = tmp_path / "token"
    if fault == "weak":
        path.write_text("x" * 40)
        path.chmod(0o600)
    with pytest.raises(CannotStart) as caught:
        Tokens.read(Settings((), token_file=path), environment)
    assert caught.value.code == 78
    assert "token" in str(caught.value)
