"""Files that other users could replace are reported and not executed as helpers. No client connects to their sockets."""

import os
import shutil
import socket
import subprocess
import threading

import pytest

from mcpbridged.bridge.commands import control_client, dispatch
from mcpbridged.bridge.commands.control_client import Unreachable

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import daemon

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
NOBODY = 65534
KINDS = ["mode of the file", "group of the file", "mode of the directory", "mode above", "in /tmp itself"]
KINDS += ["owner of the file", "owner of the directory", "a link", "the directory of a link"]


def replaceable(tmp_path, kind, name="thing"):
    """Return an executable script that other users could replace, and a part of the reason."""
    folder = tmp_path / "outer/inner"
    folder.mkdir(parents=True)
    file = folder / name
    file.write_text("#!/bin/sh\necho as-good-as-a-secret\n")
    file.chmod(0o755)
    if kind.startswith("owner") and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    match kind:
        case "mode of the file":
            file.chmod(0o757)
            return file, f"{file} has mode 0757"
        case "group of the file":
            if os.geteuid() != 0:
                pytest.skip("only root can give a file to another group")
            os.chown(file, -1, 54321)
            file.chmod(0o775)
            return file, f"{file} has mode 0775"
        case "mode of the directory":
            folder.chmod(0o777)
            return file, f"{folder} has mode 0777"
        case "mode above":
            folder.parent.chmod(0o777)
            return file, f"{folder.parent} has mode 0777"
        case "in /tmp itself":
            folder.chmod(0o1777)
            return file, f"{folder} has mode 1777"
        case "owner of the file":
            os.chown(file, NOBODY, NOBODY)
            return file, f"{file} belongs to uid {NOBODY}"
        case "owner of the directory":
            os.chown(folder, NOBODY, NOBODY)
            return file, f"{folder} belongs to uid {NOBODY}"
        case "a link":
            link = tmp_path / "link"
            link.symlink_to(file)
            folder.chmod(0o777)
            return link, f"{folder} has mode 0777"
        case _:
            (tmp_path / "links").mkdir()
            link = tmp_path / "links/link"
            link.symlink_to(file)
            link.parent.chmod(0o777)
            return link, f"{link.parent} has mode 0777"


def commands(tmp_path, capsys, text):
    """Return the exit codes and the output of `config check` and `doctor`."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    here = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    results = []
    for words in (["config", "check"], ["doctor"]):
        code = dispatch.run([*words, "--config", str(path)], here)
        output = capsys.readouterr()
        results.append((code, output.out + output.err))
    return results


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["program", "script", "secret"])
def test_a_file_that_other_users_could_replace_is_an_error(tmp_path, capsys, kind, place):
    file, reason = replaceable(tmp_path, kind)
    text = {
        "program": f"[servers.a]\ncommand = ['{file}']\n",
        "script": f"[servers.a]\ncommand = ['/bin/sh', '-eu', '{file}']\n",
        "secret": f"[servers.a]\ncommand = ['/bin/sh']\nsecrets.K = 'exec:/bin/sh {file}'\n",
    }[place]
    (code, checked), (worst, examined) = commands(tmp_path, capsys, text)
    assert code == 78
    assert worst == 1
    if not (place == "program" and kind == "mode of the file"):
        assert reason in checked
        assert reason in examined
    assert "as-good-as-a-secret" not in checked + examined


@pytest.mark.parametrize("kind", ["none", "sticky above"])
def test_a_file_that_only_its_owner_can_replace_is_accepted(tmp_path, capsys, kind):
    folder = tmp_path / "outer/inner"
    folder.mkdir(parents=True)
    (folder / "s.sh").write_text("echo secret-enough\n")
    (folder / "vars").write_text("A=b\n")
    (folder / "vars").chmod(0o600)
    if kind != "none":
        folder.parent.chmod(0o1777)
    text = (
        f"[servers.a]\ncommand = ['/bin/sh', '{folder}/s.sh']\nenv_file = '{folder}/vars'\n"
        f"secrets.K = 'exec:/bin/sh {folder}/s.sh'\n"
    )
    (code, output), _ = commands(tmp_path, capsys, text)
    assert (code, output.strip()[-9:]) == (0, "no errors")


def test_the_directories_of_the_socket_and_of_an_env_file_are_checked(tmp_path, capsys):
    (tmp_path / "open").mkdir()
    (tmp_path / "open/vars").write_text("A=b\n")
    (tmp_path / "open/vars").chmod(0o600)
    (tmp_path / "open").chmod(0o777)
    for text in (
        f"listen.unix = '{tmp_path}/open/below/sock'\n",
        f"[servers.a]\ncommand = ['/bin/sh']\nenv_file = '{tmp_path}/open/vars'\n",
    ):
        for code, output in commands(tmp_path, capsys, text):
            assert code
            assert f"{tmp_path / 'open'} has mode 0777" in output


def test_a_start_warns_and_an_unsafe_helper_is_not_run(tmp_path):
    program = tmp_path / "server.py"
    shutil.copy(EXAMPLE[1], program)
    program.chmod(0o757)
    ran = tmp_path / "ran"
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\ntouch {ran}\necho as-good-as-a-secret\n")
    helper.chmod(0o777)
    servers = {
        "one": {"command": [EXAMPLE[0], str(program)]},
        "two": {"command": EXAMPLE, "secrets": {"K": f"exec:{helper}"}},
    }
    with daemon(tmp_path, servers) as running:
        assert "echo" in running.do("tools", "one").stdout
        assert [
            line
            for line in running.lines
            if "command_replaceable" in line and f"{program} has mode 0757" in line
        ]
        failed = running.status()["servers"][1]
        assert failed["state"] == "failed"
        assert "others could replace it" in failed["fault"]
    assert not ran.exists()


# ---- the socket of the daemon


@pytest.fixture
def foreign(tmp_path):
    """Yield a socket that a process of another user listens on, and the bytes that it has received."""
    path, received = tmp_path / "s", []
    reading, writing = os.pipe()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o777)
        pid = os.fork()
        if not pid:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                # SO_PEERCRED names the process that called listen(2).
                listening.listen()
                os.write(writing, b"x")
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(5)
                    os.write(writing, connection.recv(4096) or b".")
            finally:
                os._exit(0)
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        thread = threading.Thread(target=lambda: received.append(os.read(reading, 4096)), daemon=True)
        thread.start()
        yield path, received, thread
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        thread.join(5)
        os.close(reading)


@needs_root
@pytest.mark.parametrize("words", [("status",), ("tools", "one"), ("call", "one", "t"), ("connect", "one")])
def test_no_byte_is_sent_to_the_socket_of_another_user(tmp_path, foreign, words):
    path, received, thread = foreign
    config = tmp_path / "config.toml"
    config.write_text(f"[listen]\nunix = '{path}'\n[servers.one]\ncommand = ['/bin/sh']\n")
    done = subprocess.run(
        [PROGRAM, *words, "--config", str(config)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 69, done
    assert f"a process of uid {NOBODY} listens on {path}" in done.stderr
    thread.join(5)
    assert received == [b"."]


def test_sockets_of_root_and_of_the_same_user_are_accepted(tmp_path, monkeypatch):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        for uid in (os.geteuid(), 4711):
            monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
            connection = control_client._UnixConnection(path, 5)
            if uid == 4711 and os.stat(path).st_uid:
                with pytest.raises(Unreachable):
                    connection.connect()
            else:
                connection.connect()
            connection.close()
