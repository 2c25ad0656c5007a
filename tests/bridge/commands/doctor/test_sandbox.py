"""What the doctor finds in the sandboxes of servers."""

import pytest

from mcpbridged.bridge.commands.doctor.finding import ERROR, OK, WARNING
from mcpbridged.bridge.commands.doctor.sandbox import check_sandbox_of, check_sandboxes, why_bwrap_fails
from mcpbridged.bridge.config.settings import ServerConfig, Settings
from mcpbridged.transports.options import Launch, Sandbox
from mcpbridged.transports.process import confinement


def server(*argv, **sandbox):
    return ServerConfig("one", Launch(argv or ("server",), {"HOME": "/home/u"}, sandbox=Sandbox(**sandbox)))


def found(one, abi=6):
    return [(finding.kind, finding.text) for finding in check_sandbox_of(one, abi)]


def test_a_server_without_a_sandbox_has_no_finding():
    assert found(server()) == []


def test_what_a_sandbox_permits_is_shown():
    assert found(server(network=False)) == [(OK, "servers.one: sandbox: basic, network no")]
    assert found(server(level="landlock", connect=(443, 53))) == [
        (OK, "servers.one: sandbox: landlock, network TCP to the ports 443, 53")
    ]


@pytest.mark.parametrize(
    ("argv", "sandbox", "warning"),
    [
        (("docker", "run", "-i", "x"), {}, "not the container"),
        (("npx", "-y", "x"), {}, "a cache that other servers execute"),
        (("uv", "run", "x"), {}, "a cache that other servers execute"),
        (("server",), {"write": ("/home/u/",)}, "write has /home/u/"),
        (("server",), {"read": ("/",)}, "read has /,"),
    ],
)
def test_what_a_sandbox_leaves_open_is_a_warning(argv, sandbox, warning):
    [_, (level, text)] = found(server(*argv, level="bwrap", **sandbox))
    assert (level, warning in text) == (WARNING, True)


def test_a_kernel_without_scopes_is_a_warning():
    assert [level for level, _ in found(server(level="landlock"), abi=5)] == [OK, WARNING]
    assert [level for level, _ in found(server(level="bwrap"), abi=5)] == [OK]


@pytest.mark.parametrize(
    ("abi", "level", "expected"),
    [(0, "landlock", ERROR), (2, "bwrap", OK), (3, "landlock", OK), (7, "landlock", OK)],
)
def test_a_kernel_without_landlock_is_an_error_if_a_server_needs_it(monkeypatch, abi, level, expected):
    monkeypatch.setattr(confinement, "landlock_abi", lambda: abi)
    monkeypatch.setattr("mcpbridged.bridge.commands.doctor.sandbox.find_bwrap", lambda: "")
    findings = list(check_sandboxes(Settings((server(level=level),))))
    assert findings[0].kind == expected
    assert f"version {abi}" in findings[0].text
    missing = [one for one in findings if "not installed" in one.text]
    assert [one.kind for one in missing] == ([ERROR] if level == "bwrap" else [])


def test_a_bwrap_that_fails_is_an_error_with_its_reason(monkeypatch, tmp_path):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    assert why_bwrap_fails(str(program)) == "bwrap: No permissions to create new namespace"
    program.write_text("#!/bin/sh\nexit 3\n")
    assert why_bwrap_fails(str(program)) == "exit code 3"
    assert "No such file" in why_bwrap_fails(str(tmp_path / "missing"))
    program.write_text("#!/bin/sh\n")
    assert why_bwrap_fails(str(program)) == ""
    monkeypatch.setattr("mcpbridged.bridge.commands.doctor.sandbox.find_bwrap", lambda: str(program))
    assert f"{program} works" in [one.text for one in check_sandboxes(Settings((server(level="bwrap"),)))]
