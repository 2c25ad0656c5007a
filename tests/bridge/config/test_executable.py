"""Why a command cannot be executed."""

import errno
import os

import pytest

from mcpbridged.bridge.config.executable import (
    NotRunnable,
    check_program,
    check_word,
    explained,
    why_no_script,
    why_not_executed,
    why_not_there,
)
from mcpbridged.transports.options import Launch, SpawnFailed


@pytest.fixture
def program(tmp_path):
    """Return a function that writes an executable file and returns its path."""

    def write(content=b"#!/bin/sh\n", mode=0o755):
        path = tmp_path / "program"
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    return write


def test_a_program_must_not_depend_on_the_working_directory():
    check_word("name")
    check_word("/absolute/path")
    for word, text in (("", "empty word"), ("bin/x", "relative path"), ("./x", "relative path")):
        with pytest.raises(NotRunnable, match=text):
            check_word(word)


def test_a_program_with_a_path_is_checked(program, tmp_path):
    check_program(program())
    check_program("name")
    check_program(str(tmp_path / "missing"))
    for mode, text in ((0o644, "is not executable; chmod"), (0o757, "writable by every user")):
        with pytest.raises(NotRunnable, match=text):
            check_program(program(mode=mode))
    with pytest.raises(NotRunnable, match="is a directory"):
        check_program(str(tmp_path))


def test_a_missing_program_or_folder_is_named(program, tmp_path):
    environment = {"PATH": str(tmp_path)}
    program()
    assert why_not_there(Launch(("program",), environment)) == ""
    assert why_not_there(Launch(("other",), environment)).startswith(
        "there is no program 'other' in its PATH; "
    )
    assert why_not_there(Launch(("/no/such",), environment)) == "there is no program '/no/such'"
    missing = str(tmp_path / "x")
    assert (
        why_not_there(Launch(("program",), environment, cwd=missing)) == f"cwd {missing} is not a directory"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF...", "it is damaged, or built for another machine"),
        (b"echo\n", "it has no #! line"),
        (b"#!\n", "its #! line names no interpreter"),
        (b"#!/no/such -x\n", "names '/no/such', which does not exist"),
        (b"#! /bin/sh\r\n", "its lines end with CR LF"),
        (b"#!/etc/passwd\n", "which is not executable"),
        (b"#!/etc\n", "which is not executable"),
        (b"#!/bin/sh\n", ""),
    ],
)
def test_the_first_bytes_show_why_a_file_is_not_executed(program, content, reason):
    why = why_not_executed(Launch((program(content),), {}))
    assert reason in why
    assert bool(why) is bool(reason)


def test_only_texts_are_explained_as_scripts(program):
    assert why_no_script(program(b"echo\n")).startswith("it has no #! line")
    assert why_no_script(program(b"\x00\x01")) == why_no_script(program(b"\xff")) == ""
    assert why_no_script("/no/such") == ""


@pytest.mark.parametrize(("number", "added"), [(errno.ENOEXEC, True), (errno.EMFILE, False)])
def test_a_failed_start_is_explained_where_the_file_is_the_reason(program, number, added):
    launch = Launch((program(b"echo\n"),), {})
    with pytest.raises(SpawnFailed) as caught, explained(launch):
        raise SpawnFailed(f"cannot start: {os.strerror(number)}")
    assert str(caught.value).startswith(f"cannot start: {os.strerror(number)}")
    assert ("#! line" in str(caught.value)) is added
