"""Which rule of a sandbox explains a line of output."""

import pytest

from mcpbridged.bridge.core.sandbox_hints import sandbox_hint
from mcpbridged.bridge.core.start_errors import Output, StartFault
from mcpbridged.transports.options import Sandbox

BASIC = Sandbox()
LANDLOCK = Sandbox("landlock", base_read=("/usr",), read=("/docs",), write=("/work/",))
BWRAP = Sandbox("bwrap", read=("/docs",))


@pytest.mark.parametrize(
    ("line", "sandbox", "hint"),
    [
        ('sudo: The "no new privileges" flag is set', BASIC, "no server gains privileges"),
        ("bwrap: No permissions to create new namespace", BWRAP, "bwrap needs user namespaces"),
        ("bwrap: setting up uid map: Permission denied", BWRAP, "bwrap needs user namespaces"),
        ("bwrap: execvp /opt/x: No such file or directory", BWRAP, "does not contain the program '/opt/x'"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", BWRAP, "may not mount here"),
        ("bwrap: capset failed: Operation not permitted", BWRAP, "may not mount here"),
        ("bwrap: something else", BWRAP, ""),
        ("connect EACCES /run/docker.sock", LANDLOCK, "permits no Unix sockets"),
        ("connect EACCES /run/docker.sock", BASIC, ""),
        ("getaddrinfo EAI_AGAIN x.example", Sandbox(network=False), "has no network"),
        ("connect EACCES 1.2.3.4:80", Sandbox("landlock", connect=(443, 53)), "ports 443, 53 only"),
        ("ENOTFOUND x.example", LANDLOCK, ""),
        ("URLError: <urlopen error [Errno 13] Permission denied>", Sandbox(network=False), "has no network"),
        ("PermissionError: Permission denied: '/x'", Sandbox("bwrap", network=False), "refuses /x"),
        ("EACCES: permission denied, open '/home/u/x.json'", LANDLOCK, "refuses /home/u/x.json: add its directory to read, or"),
        ("EACCES: permission denied, mkdir '/home/u/x'", LANDLOCK, "refuses /home/u/x: add its directory to write"),
        ("PermissionError: [Errno 13] Permission denied: '/docs/a'", LANDLOCK, "/docs/a: add its directory to write"),
        ("Permission denied", LANDLOCK, "refuses a path"),
        ("Permission denied: '/x'", BASIC, ""),
        ("EROFS: read-only file system, open '/docs/a'", BWRAP, "refuses to change /docs/a"),
        ("ENOENT: no such file or directory, open '/home/u/a'", BWRAP, "may hide /home/u/a"),
        ("ENOENT: no such file or directory, open '/docs/a'", BWRAP, ""),
        ("ModuleNotFoundError: No module named 'x'", BWRAP, "may hide a path"),
        ("all is well", LANDLOCK, ""),
    ],
)  # fmt: skip
def test_a_line_is_explained_by_the_rule_that_probably_caused_it(line, sandbox, hint):
    found = sandbox_hint(line, sandbox)
    assert (hint in found) if hint else (found == "")


def test_a_failed_start_is_explained_by_its_sandbox_first():
    output = Output(
        (),
        (
            "  open('/needed/secret')",
            "PermissionError: [Errno 13] Permission denied: '/docs/a'",
        ),
    )
    assert "add its directory to write" in StartFault("exited", output, sandbox=LANDLOCK).summary
    assert "does it lack a credential" in StartFault("exited", output).summary
