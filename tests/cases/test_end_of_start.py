"""A signal ends a daemon that has not started yet."""

import os
import signal

from mcpbridged.bridge.config.settings import Settings
from mcpbridged.bridge.daemon import app


def test_r09_a_signal_while_the_token_is_read_ends_the_start(monkeypatch, tmp_path):
    """The handler that kills helper programs gets the signal. The start must end even if no helper runs."""

    def read(*_args):
        os.kill(os.getpid(), signal.SIGTERM)
        return "the tokens"

    monkeypatch.setattr(app.Tokens, "read", read)
    # Any later step of the start would fail.
    monkeypatch.setattr(app, "Sockets", None)
    former = signal.getsignal(signal.SIGTERM)
    assert app.run(Settings(servers=()), {"HOME": str(tmp_path)}) == 0
    assert signal.getsignal(signal.SIGTERM) is former
