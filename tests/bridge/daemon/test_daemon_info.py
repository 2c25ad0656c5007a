"""The description of a daemon, without its secrets."""

import json
import os

import msgspec

from mcpbridged.bridge.daemon import daemon_info as module
from mcpbridged.bridge.daemon.daemon_info import HIDDEN, daemon_info


def test_values_that_may_be_secrets_are_not_sent():
    info = daemon_info("1", None, 0o022, {"PATH": "/bin", "API_TOKEN": "hidden-value"})
    assert info.variables == {"PATH": "/bin", "API_TOKEN": HIDDEN}
    assert (info.config, info.umask, info.pid) == ("", "0022", os.getpid())
    assert b"hidden-value" not in msgspec.json.encode(info)


def test_text_that_is_not_utf_8_becomes_json():
    info = daemon_info("1", None, 0o077, {"A": os.fsdecode(b"\xff")})
    assert json.loads(msgspec.json.encode(info))["variables"] == {"A": "\N{REPLACEMENT CHARACTER}"}


def test_a_removed_working_directory_is_empty(tmp_path, monkeypatch):
    def fail():
        raise FileNotFoundError

    monkeypatch.setattr(module.Path, "cwd", fail)
    assert daemon_info("1", tmp_path / "x.toml", 0, {}).cwd == ""
