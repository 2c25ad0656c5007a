"""What a login prints."""

from mcpbridged.bridge.commands import remote_login
from mcpbridged.bridge.commands.login_target import Target
from mcpbridged.bridge.config.oauth_settings import OAuth
from mcpbridged.bridge.config.remote import Remote
from mcpbridged.bridge.oauth.entries import Credentials


def test_the_issuer_cannot_control_the_terminal(monkeypatch, capsys):
    found = Credentials("https://a.example/\u202e", "r", "c", "t", refresh_token="r")
    monkeypatch.setattr(remote_login, "_run", lambda _work: found)
    remote_login.log_in(Target("x", Remote("https://a.example/"), OAuth()), None)
    assert capsys.readouterr().out == "x: logged in at https://a.example/\\u202e\n"
