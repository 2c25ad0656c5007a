"""Token files that are accepted, and those that are refused."""

import os
import stat

import pytest

from mcpbridged.bridge.config import credentials, private_group
from mcpbridged.bridge.config.credentials import (
    BOOT,
    BadCredential,
    check_key,
    check_trusted,
    default_token,
    is_unmapped_root,
    read_credential,
    read_secret,
    read_token,
)

from ...support.kubelet_volume import write_volume

GOOD = "mcpb_0123456789abcdefghijklmnopqrstuvwxyz"


def keep(path, content=GOOD + "\n", mode=0o600):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def test_a_good_file(tmp_path):
    assert read_token(keep(tmp_path / "token")) == GOOD
    assert read_token(keep(tmp_path / "token", GOOD)) == GOOD


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (GOOD, 0o644, "0644"),
        (GOOD, 0o640, "0640"),
        ("", 0o600, "no usable token"),
        ("short", 0o600, "no usable token"),
        ("x" * 40, 0o600, "no usable token"),
        (GOOD + "\r\n", 0o600, "no usable token"),
        (GOOD + "\n\n", 0o600, "no usable token"),
        (b"\xef\xbb\xbf" + GOOD.encode(), 0o600, "ASCII"),
        ("y" * 5000, 0o600, "5000 bytes"),
    ],
)
def test_files_that_are_refused_name_the_path_and_the_reason(tmp_path, content, mode, reason):
    path = keep(tmp_path / "token", content, mode)
    with pytest.raises(BadCredential, match=reason) as caught:
        read_token(path)
    assert str(path) in str(caught.value)
    assert GOOD not in str(caught.value)


def test_a_path_that_is_not_a_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "link").symlink_to(keep(tmp_path / "token"))
    for name, reason in (
        ("fifo", "regular"),
        ("link", "symbolic link"),
        ("", "regular"),
        ("missing", "No such file"),
    ):
        with pytest.raises(BadCredential, match=reason):
            read_token(tmp_path / name)


def _exit_code(call):
    """What a process of a user without rights ends with: 42 for BadCredential."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            call()
        except BadCredential:
            code = 42
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("look", [read_token, check_trusted, check_key])
def test_a_directory_without_permission_is_refused(tmp_path, look):
    closed = tmp_path / "closed"
    closed.mkdir()
    path = keep(closed / "token")
    closed.chmod(0)
    try:
        assert _exit_code(lambda: look(path)) == 42
    finally:
        closed.chmod(0o700)


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(BadCredential):
        check_trusted(tmp_path / "a")


def test_the_token_of_a_boot_is_generated_once(tmp_path):
    environment = {"XDG_RUNTIME_DIR": os.fspath(tmp_path)}
    path, token = default_token(BOOT, environment)
    assert path == tmp_path / "mcp-bridge" / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert default_token(BOOT, environment) == (path, token)
    assert len(token) > 40
    assert [file.name for file in path.parent.iterdir()] == ["token"]


def test_a_directory_that_others_can_write_is_refused(tmp_path):
    (tmp_path / "mcp-bridge").mkdir()
    (tmp_path / "mcp-bridge").chmod(0o777)
    with pytest.raises(BadCredential, match="others could change it; chmod go-w"):
        default_token(BOOT, {"XDG_RUNTIME_DIR": os.fspath(tmp_path)})


def test_a_token_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadCredential, match="cannot keep a token"):
        default_token(BOOT, {"XDG_RUNTIME_DIR": os.fspath(tmp_path / "file")})


@pytest.mark.parametrize(
    ("uid", "uid_map", "unmapped"),
    [
        (65534, "      1000       1000          1\n", True),
        (65534, "         0          0 4294967295\n", False),
        (65534, "         1       1000          1\n         0          0          1\n", False),
        (1001, "      1000       1000          1\n", False),
        (0, "      1000       1000          1\n", False),
    ],
)
def test_an_unmapped_root_has_the_overflow_uid(uid, uid_map, unmapped):
    assert is_unmapped_root(uid, uid_map, "65534\n") is unmapped


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_key_may_be_read_by_a_group(tmp_path, mode):
    key = tmp_path / "key.pem"
    key.touch()
    key.chmod(mode)
    check_key(key)


def test_without_a_uid_map_no_uid_is_an_unmapped_root():
    assert not is_unmapped_root(65534, "", "")


# ---- credentials of a service manager or a pod


def test_a_credential_in_the_layout_of_the_kubelet_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(private_group.os, "getgroups", lambda: [54321])
    write_volume(tmp_path / "secrets", {"key": GOOD}, group=54321 if os.geteuid() == 0 else os.getegid())
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "secrets")}
    assert read_secret("credential:key", environment, tmp_path) == GOOD
    # Another file of the same kind is not a credential.
    with pytest.raises(BadCredential, match="symbolic link"):
        read_secret(str(tmp_path / "secrets" / "key"), {}, tmp_path)


@pytest.mark.parametrize(
    ("mode", "group", "reason"),
    [(0o444, 54321, "0444"), (0o440, 12345, "0440"), (0o460, 54321, "0460")],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to a group")
def test_a_credential_that_others_can_read_is_refused(tmp_path, monkeypatch, mode, group, reason):
    monkeypatch.setattr(private_group.os, "getgroups", lambda: [54321])
    write_volume(tmp_path / "secrets", {"key": GOOD}, group=group, mode=mode)
    with pytest.raises(BadCredential, match=reason):
        read_credential(tmp_path / "secrets" / "key")


def test_a_link_that_others_could_replace_is_no_credential(tmp_path):
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    (directory / "key").symlink_to(keep(tmp_path / "token"))
    with pytest.raises(BadCredential, match="others could change it"):
        read_credential(directory / "key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to a user")
def test_a_credential_of_another_user_is_refused(tmp_path):
    path = keep(tmp_path / "token")
    os.chown(path, 54321, -1)
    with pytest.raises(BadCredential, match="belongs to uid 54321"):
        read_credential(path)


def test_only_a_credential_may_belong_to_root(tmp_path, monkeypatch):
    path = keep(tmp_path / "token", mode=0o400)
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of root")
    monkeypatch.setattr(credentials.os, "geteuid", lambda: 65532)
    assert read_credential(path).decode() == GOOD + "\n"
    with pytest.raises(BadCredential, match="belongs to uid 0, not to uid 65532"):
        read_token(path)
