"""A daemon that is to end before it has started."""

import os
import signal

from mcpbridged.bridge.config.settings import Settings
from mcpbridged.bridge.daemon import app


def test_r09_a_signal_while_the_token_is_read_ends_the_start(monkeypatch, tmp_path):
    """The handler that kills helper programs takes the signal; also where there is no helper, the start must end."""

    def read(*_args):
        os.kill(os.getpid(), signal.SIGTERM)
        return "the tokens"

    monkeypatch.setattr(app.Tokens, "read", read)
    monkeypatch.setattr(app, "Sockets", None)  # what comes next would fail
    former = signal.getsignal(signal.SIGTERM)
    assert app.run(Settings(servers=()), {"HOME": str(tmp_path)}) == 0
    assert signal.getsignal(signal.SIGTERM) is former
