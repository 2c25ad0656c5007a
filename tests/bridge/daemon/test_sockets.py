"""The sockets of the daemon, bound or passed."""

import socket
import stat

import pytest

from mcpbridged.bridge.config.settings import Settings
from mcpbridged.bridge.daemon import sockets as module
from mcpbridged.bridge.daemon.certificates import CertificateFiles
from mcpbridged.bridge.daemon.errors import CannotStart
from mcpbridged.bridge.daemon.sockets import Sockets, load_certificate


@pytest.fixture
def environment(tmp_path):
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def test_both_sockets_are_bound_and_removed(environment, tmp_path):
    runtime = module.runtime_directory(environment)
    settings = Settings((), port=0, unix=runtime / "socket")
    sockets = Sockets(settings, environment)
    assert (len(sockets.tcp), sockets.unix_path, sockets.passed) == (1, settings.unix, False)
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    tcp, unix = sockets.addresses(settings)
    assert tcp.startswith("http://127.0.0.1:")
    assert str(settings.unix) in unix
    sockets.close()
    assert not settings.unix.exists()


def test_a_daemon_may_have_no_tcp(environment, tmp_path):
    sockets = Sockets(Settings((), port=None, unix=tmp_path / "socket"), environment)
    assert sockets.tcp == []
    sockets.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_passed_sockets_replace_tcp_and_stay(environment, tmp_path, monkeypatch, family):
    passed = socket.socket(family)
    passed.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "passed"))
    monkeypatch.setattr(module, "passed_sockets", lambda _environment, *, others: [] if others else [passed])
    sockets = Sockets(Settings((), port=0, unix=tmp_path / "own"), environment)
    assert sockets.passed
    assert sockets.tcp == ([passed] if family == socket.AF_INET else [])
    assert sockets.unix_path == tmp_path / ("own" if family == socket.AF_INET else "passed")
    sockets.close()
    assert not (tmp_path / "own").exists()
    assert (tmp_path / "passed").exists() is (family == socket.AF_UNIX)


@pytest.mark.parametrize(("in_use", "code"), [(True, 75), (False, 78)])
def test_a_port_in_use_may_be_free_later(environment, tmp_path, in_use, code):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        host, port = ("127.0.0.1", other.getsockname()[1]) if in_use else ("no host", 0)
        with pytest.raises(CannotStart) as caught:
            Sockets(Settings((), host=host, port=port), environment)
    assert caught.value.code == code


def test_a_certificate_that_cannot_be_used_ends_the_start(tmp_path):
    assert load_certificate(None) is None
    for name in ("certificate", "key"):
        (tmp_path / name).write_text("no PEM")
        (tmp_path / name).chmod(0o600)
    with pytest.raises(CannotStart, match="cannot be used") as caught:
        load_certificate(CertificateFiles(tmp_path / "certificate", tmp_path / "key"))
    assert caught.value.code == 78
