"""The tables of the configuration file: its size, its owner and its mode are checked before it is parsed."""

import os
import time
from functools import partial

import pytest

from mcpbridged.bridge.config.tables import LARGEST_FILE, BadConfig, read

from ...support.config_file import write_config_file


@pytest.fixture
def write(tmp_path):
    return partial(write_config_file, tmp_path)


def test_a_file_over_the_limit_is_refused_before_it_is_parsed(write):
    path = write("x" * (LARGEST_FILE + 1))
    began = time.monotonic()
    with pytest.raises(BadConfig, match=f"more than {LARGEST_FILE} bytes"):
        read(path)
    assert time.monotonic() - began < 5


def test_a_fault_names_the_file(write):
    path = write("nonsense = 1")
    with pytest.raises(BadConfig, match=f"{path}:1:1: there is no key 'nonsense'"):
        read(path)


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_others_can_change_is_refused(write, mode):
    path = write("", mode)
    with pytest.raises(BadConfig, match=f"mode {mode:04o}: others could change it"):
        read(path)


def test_a_directory_that_others_can_change_is_refused(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "config.toml").write_text("")
    folder.chmod(0o777)
    with pytest.raises(BadConfig, match=f"{folder} has mode 0777"):
        read(folder / "config.toml")


def test_a_link_is_checked_at_its_target(tmp_path):
    target = tmp_path / "target.toml"
    target.write_text("")
    target.chmod(0o666)
    (tmp_path / "config.toml").symlink_to(target)
    with pytest.raises(BadConfig, match=r"target.toml has mode 0666"):
        read(tmp_path / "config.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(write):
    path = write("")
    os.chown(path, 12345, -1)
    with pytest.raises(BadConfig, match="belongs to uid 12345"):
        read(path)


def test_a_missing_file_or_a_directory_is_named(tmp_path):
    with pytest.raises(BadConfig, match=r"config.toml: there is no such file"):
        read(tmp_path / "config.toml")
    with pytest.raises(BadConfig, match="is not a regular file"):
        read(tmp_path)


@pytest.mark.parametrize("table", ["listen", "log", "oauth", "metrics", "admin"])
def test_an_unknown_key_of_each_table_is_an_error(table, write):
    path = write(f"[{table}]\nnonsense = 1\n")
    with pytest.raises(BadConfig, match=r":2:1: .*nonsense"):
        read(path)
