"""Pins cover all that a server executes, and tell each part from all others."""

import os
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.config.edit import with_pin
from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.runtime import pinning
from mcpbridged.bridge.runtime.pinning import PinChecker, PinMismatch, Subject
from mcpbridged.transports.options import Launch

SUBJECT = Subject("/bin/a", ("a", "b"), "/cwd", ("KEY",), (("/bin/a", "00"),))
OTHERS = [
    {"program": "/bin/b"},
    {"argv": ("a", "c")},
    {"argv": ("a", "b", "")},
    {"argv": ("ab",)},
    {"cwd": ""},
    {"variables": ("KEY", "OTHER")},
    {"variables": ()},
    {"files": (("/bin/a", "01"),)},
    {"files": (("/bin/a", "00"), ("/s", "00"))},
]


@pytest.mark.parametrize("change", OTHERS)
def test_every_part_of_a_subject_changes_its_pin(change):
    assert attrs.evolve(SUBJECT, **change).pin != SUBJECT.pin


def test_the_order_of_variables_does_not_matter_and_a_pin_is_for_ever():
    one, other = (attrs.evolve(SUBJECT, variables=names) for names in (("A", "B"), ("B", "A")))
    assert one.pin == other.pin
    # Printed once. Another value here would refuse every server that was ever approved.
    assert SUBJECT.pin == "sha256:1675411b670a4a351b82e89d5fb1165f46ab32c4b64f9877105f96588fac5058"


words = st.lists(st.text(max_size=4), max_size=4).map(tuple)


@given(words, words, words, words)
def test_no_two_subjects_have_the_same_pin(argv, names, other_argv, other_names):
    one = attrs.evolve(SUBJECT, argv=argv, variables=names)
    other = attrs.evolve(SUBJECT, argv=other_argv, variables=other_names)
    assert (one.pin == other.pin) == ((argv, sorted(names)) == (other_argv, sorted(other_names)))


# ---- what is looked at


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    return path


def config(*argv, pin="", cwd=None):
    return ServerConfig("one", Launch(tuple(map(str, argv)), {"PATH": os.defpath}, cwd), pin=pin)


def pinned(*argv, **more):
    return attrs.evolve(config(*argv, **more), pin=PinChecker().subject(config(*argv, **more)).pin)


def files(*argv, **more):
    return [path for path, _ in PinChecker().subject(config(*argv, **more)).files]


def test_what_has_not_changed_is_approved_and_what_has_is_not(program):
    server, looks = pinned(program, "x"), PinChecker()
    for _ in range(2):
        looks.check(server)
    with pytest.raises(PinMismatch, match=r"what the server one starts is not .* mcp-bridge approve one"):
        looks.check(attrs.evolve(server, launch=config(program, "y").launch))
    program.write_text("#!/bin/sh\n:\n")
    with pytest.raises(PinMismatch):
        looks.check(server)


def test_a_file_of_the_same_size_and_time_is_read_again(program, monkeypatch):
    monkeypatch.setattr(pinning.time, "time", lambda: program.stat().st_ctime + 3600)
    server, looks = pinned(program), PinChecker()
    looks.check(server)
    before = program.stat()
    program.write_text("#!/bin/zz\n")
    while program.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of files goes in steps
        program.touch()
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PinMismatch):
        looks.check(server)


@pytest.mark.parametrize(("age", "reads"), [(3600, 1), (1, 2)])
def test_only_a_file_that_has_not_changed_for_a_while_is_read_once(program, monkeypatch, age, reads):
    server, looks, read = pinned(program), PinChecker(), []
    digest = pinning.hashlib.file_digest
    monkeypatch.setattr(pinning.hashlib, "file_digest", lambda *given: read.append(1) or digest(*given))
    monkeypatch.setattr(pinning.time, "time", lambda: program.stat().st_ctime + age)
    looks.check(server)
    looks.check(server)
    assert len(read) == reads


def test_the_script_of_an_interpreter_is_part_of_it(program, tmp_path):
    script = tmp_path / "server.py"
    script.write_text("")
    assert files(program, script, program) == [str(program), str(script)]
    assert files(program, "server.py", cwd=str(tmp_path)) == [str(program), str(script)]
    assert files(program, "server.py") == [str(program)]
    assert files(program, "-m", script) == [str(program)]
    assert files(program, tmp_path) == [str(program)]
    assert files(program) == [str(program)]


def test_a_program_is_followed_to_its_content(program, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(program)
    server = pinned(link)
    PinChecker().check(server)
    other = tmp_path / "other"
    other.write_text("#!/bin/true\n")
    other.chmod(0o700)
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(PinMismatch):
        PinChecker().check(server)


def test_what_cannot_be_read_is_not_approved(program, tmp_path, monkeypatch):
    server = pinned(program)
    with pytest.raises(PinMismatch, match="no pin; look at its command, then run mcp-bridge approve one"):
        PinChecker().check(config(program))
    with monkeypatch.context() as patch:
        patch.setattr(pinning, "LARGEST_PINNED", 9)
        with pytest.raises(PinMismatch, match="has 10 bytes and the limit is 9"):
            PinChecker().check(server)
    program.unlink()
    with pytest.raises(PinMismatch, match="there is no program"):
        PinChecker().check(server)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o700)
    with pytest.raises(PinMismatch, match="is no regular file"):
        PinChecker()._digest(str(fifo))
    with pytest.raises(PinMismatch, match="cannot be read: No such file"):
        PinChecker()._digest(str(tmp_path / "nothing"))


# ---- into the file

PIN = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[servers.a]\ncommand = ['x']\n", f"[servers.a]\ncommand = ['x']\npin = \"{PIN}\"\n"),
        ("[servers.a]", f'[servers.a]\npin = "{PIN}"\n'),
        ("[servers.a] # of mine\npin = 'old'\nera = 'auto'\n", f"[servers.a] # of mine\npin = \"{PIN}\"\nera = 'auto'\n"),
        ('[ servers . "a" ]\r\nx = 1\r\n', f'[ servers . "a" ]\r\nx = 1\r\npin = "{PIN}"\r\n'),
        ("[servers.ab]\npin = ''\n[servers.a]\n[servers.a.env]\npin = 'x'\n",
         f"[servers.ab]\npin = ''\n[servers.a]\npin = \"{PIN}\"\n\n[servers.a.env]\npin = 'x'\n"),
        ("servers.a.command = ['x']\n", f"servers.a.command = ['x']\nservers.a.pin = \"{PIN}\"\n"),
        ("[servers]\na = {x = 1}\n", f'[servers]\na = {{x = 1,pin = "{PIN}"}}\n'),
        ("[servers.a]\nx = [\n[1],\n]\npin = 'old'\n", f'[servers.a]\nx = [\n[1],\n]\npin = "{PIN}"\n'),
        ("[servers.a]\nx = '''\n[servers.a]\n'''\n", f"[servers.a]\nx = '''\n[servers.a]\n'''\npin = \"{PIN}\"\n"),
    ],
)  # fmt: skip
def test_a_pin_is_written_into_its_table_only(text, wanted):
    assert with_pin(text, "a", PIN) == wanted


def test_the_program_of_this_test_is_approved_as_it_is():
    # A large file of this machine, once.
    subject = PinChecker().subject(config(os.path.realpath("/proc/self/exe"), Path(__file__)))
    assert [len(digest) for _, digest in subject.files] == [64, 64]
