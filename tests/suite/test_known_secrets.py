"""The search for the secrets of tests in all that daemons and commands write: planted faults are found."""

import base64
import secrets
import urllib.parse

import pytest

from ..support import known_secrets
from ..support.bridge_process import EXAMPLE, Bridge
from ..support.daemon_process import daemon
from ..support.hostile_bridge import running
from ..support.known_secrets import remember, require_hidden, shown


@pytest.fixture
def secret():
    # With characters that URLs and JSON escape.
    return remember(f'{secrets.token_urlsafe(24)}"/é+')


@pytest.fixture(autouse=True)
def _no_others(monkeypatch):
    """Forget what these tests remember."""
    monkeypatch.setattr(known_secrets, "_KNOWN", {})


@pytest.mark.parametrize(
    "encode",
    [
        str,
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: text.replace('"', '\\"').replace("é", "\\u00e9"),
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(b"x" + text.encode()).decode(),
        lambda text: base64.b64encode(b"user:" + text.encode()).decode(),
    ],
    ids=["plain", "URL", "JSON", "base64", "base64 for URLs after a byte", "Basic"],
)
def test_each_form_is_found(secret, encode):
    assert shown(f"a line with {encode(secret)} in it")
    with pytest.raises(AssertionError, match="the place shows a secret of the tests: a line"):
        require_hidden(f"first\na line with {encode(secret)} in it\n", "the place")


def test_other_texts_are_no_fault(secret):
    require_hidden(f"{secret[:-4]} {secrets.token_urlsafe(24)}", "the place")


def test_a_short_word_is_not_searched_for():
    assert not shown(remember("short"))


def test_a_bridge_whose_log_has_a_planted_token_fails(tmp_path):
    planted = remember(secrets.token_urlsafe(24))
    bridge = Bridge(tmp_path / "run", EXAMPLE)
    with pytest.raises(AssertionError, match="stderr of the bridge shows"), bridge:
        bridge.lines.append(f"mcp-bridge: info: planted token={planted}")


def test_a_bridge_whose_log_has_its_own_token_fails(tmp_path):
    with (
        pytest.raises(AssertionError, match="stderr of the bridge shows"),
        Bridge(tmp_path / "run") as bridge,
    ):
        bridge.lines.append(f"mcp-bridge: info: planted {bridge._token_file.read_text().strip()}")


def test_a_daemon_whose_log_file_has_a_planted_token_fails(tmp_path):
    with pytest.raises(AssertionError, match=r"planted\.log shows"), daemon(tmp_path) as found:
        (tmp_path / "planted.log").write_text(f"token={found.token}\n")


def test_a_command_that_prints_a_known_secret_fails(tmp_path):
    with daemon(tmp_path) as found:
        line = found.do("--version").stdout.strip()
        remember(line)
        with pytest.raises(AssertionError, match=r"stdout of \('--version',\) shows"):
            found.do("--version")


def test_the_token_that_a_command_makes_is_known(tmp_path):
    with daemon(tmp_path) as found:
        assert shown(found.do("token", "new", "planted").stdout)


def test_a_bridge_of_the_attacks_whose_log_has_its_token_fails(tmp_path):
    with pytest.raises(AssertionError, match="stderr of the bridge shows"), running(tmp_path) as bridge:
        bridge.stderr.append(f"mcp-bridge: info: planted {bridge.token}\n")
