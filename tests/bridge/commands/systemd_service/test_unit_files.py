"""The units of the service, as `service install` writes them."""

import shutil
import subprocess

import pytest

from mcpbridged.bridge.commands.systemd_service.unit_files import (
    CHECK,
    addresses_of,
    command_of,
    service_unit,
    socket_unit,
    timer_unit,
)

from ....support.bridge_process import REPOSITORY

SERVICE = (REPOSITORY / "systemd/mcp-bridge.service").read_text()
SOCKET = (REPOSITORY / "systemd/mcp-bridge.socket").read_text()
PROGRAM = shutil.which("true")


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/x", "/usr/bin/x"),
        ("/My Apps/x", '"/My Apps/x"'),
        ("/50%/x", '"/50%%/x"'),
        ("/$HOME/x", "/$$HOME/x"),
        ('/a"b\\c', '"/a\\"b\\\\c"'),
        ("it's", '"it\'s"'),
        ("#x", '"#x"'),
        ("", '""'),
    ],
)
def test_a_word_is_written_as_systemd_reads_it(word, written):
    unit = service_unit(SERVICE, ["/bin/true", word], {})
    assert command_of(unit) == f"/bin/true {written}"


def test_only_the_command_and_the_variables_differ_from_the_unit_of_the_package():
    unit = service_unit(SERVICE, ["/bin/true", "serve"], {"PATH": "/a b:/c$d", "XDG_STATE_HOME": "/s%"})
    assert 'Environment="PATH=/a b:/c$d"\nEnvironment="XDG_STATE_HOME=/s%%"\n' in unit
    first, *rest = unit.splitlines()
    assert first.startswith("# Written by `mcp-bridge service install`")
    assert [line for line in rest if not line.startswith(("ExecStart=", "Environment="))] == [
        line for line in SERVICE.splitlines() if not line.startswith("ExecStart=")
    ]


def test_the_socket_has_the_addresses_of_the_configuration():
    unit = socket_unit(SOCKET, ["[::1]:9000", "%t/x.sock"])
    assert addresses_of(unit) == ["[::1]:9000", "%t/x.sock"]
    assert [line for line in unit.splitlines()[1:] if "ListenStream" not in line] == [
        line for line in SOCKET.splitlines() if "ListenStream" not in line
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_accepts_the_units(tmp_path):
    (tmp_path / "mcp-bridge.service").write_text(
        service_unit(
            SERVICE, [PROGRAM, "serve", "--config", "/a $b%/c d"], {"PATH": "/a b:/bin", "X": "'\"\\"}
        )
    )
    (tmp_path / "mcp-bridge.socket").write_text(
        socket_unit(SOCKET, ["127.0.0.1:9000", "%t/mcp-bridge/x.sock"])
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--user", *tmp_path.glob("*")],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": "/tmp", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "mcp-bridge" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_units_of_the_check_name_themselves():
    template = (REPOSITORY / "systemd/mcp-bridge-check.service").read_text()
    unit = service_unit(template, ["/bin/true", "check", "--all"], {}, CHECK)
    assert command_of(unit) == "/bin/true check --all"
    assert "systemctl --user edit mcp-bridge-check`" in unit.splitlines()[0]
    timer = (REPOSITORY / "systemd/mcp-bridge-check.timer").read_text()
    first, rest = timer_unit(timer).split("\n", 1)
    assert "systemctl --user edit mcp-bridge-check.timer`" in first
    assert rest == timer
