"""Edits of the configuration file: one table changes, and the rest of the text stays."""

import tomllib
from functools import partial

import pytest

from mcpbridged.bridge.config import edit
from mcpbridged.bridge.config.tables import BadConfig

from ...support.config_file import DIGEST, WHOLE, write_config_file


@pytest.fixture
def write(tmp_path):
    return partial(write_config_file, tmp_path)


def test_only_the_table_of_the_token_is_removed():
    text = (
        WHOLE
        + f"\n[tokens.ide] # mine\nsha256 = '{DIGEST}'\n[tokens.ide.features]\ndeny = ['roots']\n[tokens.ide2]\nsha256 = '{DIGEST}'\n"
    )
    found = tomllib.loads(edit.without_token(text, "ide"))
    wanted = tomllib.loads(text)
    del wanted["tokens"]["ide"]
    assert found == wanted
    assert list(tomllib.loads(edit.without_token(WHOLE, "cursor")).get("tokens", {})) == []


def test_a_token_in_an_unusual_spelling_is_left_to_the_user():
    with pytest.raises(BadConfig, match="remove it by hand"):
        edit.without_token(f"tokens = {{ ide = {{ sha256 = '{DIGEST}' }} }}", "ide")


def test_a_file_is_replaced_as_a_whole_or_not_at_all(write):
    path = write("", 0o640)
    edit.rewrite(path, "config_version = 1\n")
    assert path.read_text() == "config_version = 1\n"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(BadConfig):
        edit.rewrite(path, "nonsense = 1")
    assert path.read_text() == "config_version = 1\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]
    with pytest.raises(BadConfig, match="cannot be written"):
        edit.rewrite(path.parent / "no/such/file", "")
