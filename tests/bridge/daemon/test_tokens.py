"""Where the owner's token is read, and when it is outdated."""

import os
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from mcpbridged.bridge.config.credentials import PRINCIPAL, new_token
from mcpbridged.bridge.config.settings import Settings, TokenConfig
from mcpbridged.bridge.daemon.errors import CannotStart
from mcpbridged.bridge.daemon.tokens import Kept, Tokens

from ...support.kubelet_volume import write_volume


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


# ---- tokens in files that change, and tokens with an end

NOW = 1_800_000_000.0
LATER = datetime.fromtimestamp(NOW + 100, UTC)


@pytest.fixture
def kept(tmp_path, environment):
    """The tokens of a configuration that keeps that of the owner and that of `ci` in files."""
    files = tmp_path / "owner", tmp_path / "ci"
    values = [secret_file(file) for file in files]
    config = tmp_path / "config.toml"
    settings = Settings(
        (),
        token_source=str(files[0]),
        tokens=(TokenConfig("ci", b"", secret=str(files[1])),),
        token_overlap=60,
        file=config,
    )
    return Tokens.read(settings, environment), files, values


def test_tokens_in_files_are_principals(kept):
    tokens, _, (owner, ci) = kept
    assert [tokens.accepted.principal(token) for token in (owner, ci)] == [PRINCIPAL, "ci"]
    assert tokens.secrets == [owner, ci]
    assert not {owner, ci} & set(repr(tokens).split("'"))


def test_a_changed_file_is_read_again_and_the_former_token_of_the_owner_is_valid_for_a_while(
    kept, environment
):
    tokens, (file, _), (former, _) = kept
    assert not tokens.is_outdated
    token = secret_file(file)
    assert tokens.is_outdated
    renewed = tokens.renewed(environment, NOW)
    assert not renewed.is_outdated
    assert not renewed.faults
    assert [renewed.accepted.principal(one) for one in (token, former)] == [PRINCIPAL, PRINCIPAL]
    assert renewed.next_end(NOW) == NOW + 60
    assert renewed.valid_at(NOW + 60).principal(former) is None
    assert renewed.overlap(tokens) == 60
    assert renewed.overlap(renewed) == 0


def test_without_an_overlap_the_former_token_is_refused_at_once(kept, environment):
    tokens, (file, _), (former, _) = kept
    tokens = attrs.evolve(tokens, settings=attrs.evolve(tokens.settings, token_overlap=0))
    secret_file(file)
    assert tokens.renewed(environment, NOW).accepted.principal(former) is None


def test_the_number_of_former_tokens_is_limited(kept, environment):
    tokens, (file, _), (former, _) = kept
    for _ in range(5):
        secret_file(file)
        tokens = tokens.renewed(environment, NOW)
    assert tokens.accepted.principal(former) is None
    assert len(tokens.former) == 4


def test_the_changed_token_of_a_name_replaces_the_former_one_at_once(kept, environment):
    tokens, (_, file), (_, former) = kept
    token = secret_file(file)
    renewed = tokens.renewed(environment, NOW)
    assert [renewed.accepted.principal(one) for one in (token, former)] == ["ci", None]


@pytest.mark.parametrize("fault", ["empty", "short", "missing", "readable", "same"])
def test_a_changed_file_that_cannot_be_used_changes_nothing(kept, environment, fault):
    tokens, files, (owner, ci) = kept
    if fault == "missing":
        files[0].unlink()
    elif fault == "same":
        files[1].write_text(owner)
        files[0].write_text(secret_file(files[0].with_name("other")))
    else:
        files[0].write_text({"empty": "", "short": "abc"}.get(fault, new_token()))
        files[0].chmod(0o644 if fault == "readable" else 0o600)
    renewed = tokens.renewed(environment, NOW)
    if fault == "same":
        # The token of the owner has changed as well, so that the former one is free.
        assert not renewed.faults
        assert renewed.accepted.principal(owner) == "ci"
        return
    assert len(renewed.faults) == 1
    assert owner not in renewed.faults[0]
    assert [renewed.accepted.principal(token) for token in (owner, ci)] == [PRINCIPAL, "ci"]
    # The fault is reported once for each content of the file.
    assert not renewed.is_outdated


def test_one_token_for_two_principals_is_refused(kept, environment):
    tokens, files, (owner, ci) = kept
    files[1].write_text(owner)
    renewed = tokens.renewed(environment, NOW)
    assert len(renewed.faults) == 1
    assert not renewed.is_outdated
    assert [renewed.accepted.principal(token) for token in (owner, ci)] == [PRINCIPAL, "ci"]


def test_an_expired_token_is_not_valid():
    old, new = b"o" * 32, b"n" * 32
    tokens = Tokens(
        Kept("", ""),
        None,
        Settings(
            (),
            tokens=(
                TokenConfig("ci", new, former=old, former_expires=datetime.fromtimestamp(NOW + 50, UTC)),
                TokenConfig("ide", b"i" * 32, expires=LATER),
            ),
        ),
    )
    tokens = attrs.evolve(tokens, kept=Kept(new_token(), ""))

    def valid(at):
        return {digest[:1]: name for digest, name in tokens.valid_at(at)._principals[1:]}

    assert valid(NOW) == {b"o": "ci", b"n": "ci", b"i": "ide"}
    assert valid(NOW + 50) == {b"n": "ci", b"i": "ide"}
    assert valid(NOW + 100) == {b"n": "ci"}
    assert [tokens.next_end(at) for at in (NOW, NOW + 50, NOW + 100)] == [NOW + 50, NOW + 100, float("inf")]
    assert tokens.valid_names(NOW) == {"ci", "ide"}
    assert tokens.valid_names(NOW + 100) == {"ci"}


def test_a_credential_is_read_again_when_the_kubelet_has_replaced_it(environment, tmp_path):
    # The link to the file stays the same. Only the directory to which it leads is another one.
    secrets, tokens = tmp_path / "secrets", [new_token(), new_token()]
    write_volume(secrets, {"ci": tokens[0]}, group=os.getegid(), mode=0o400)
    settings = Settings(
        (), tokens=(TokenConfig("ci", b"", secret="credential:ci"),), file=tmp_path / "config.toml"
    )
    environment = {**environment, "CREDENTIALS_DIRECTORY": str(secrets)}
    before = Tokens.read(settings, environment)
    assert not before.is_outdated
    write_volume(secrets, {"ci": tokens[1]}, group=os.getegid(), mode=0o400, update=1)
    assert before.is_outdated
    after = before.renewed(environment, NOW)
    assert not after.faults
    assert [after.accepted.principal(token) for token in tokens] == [None, "ci"]
