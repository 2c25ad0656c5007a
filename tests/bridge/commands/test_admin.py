"""`mcp-bridge admin`: the link, and the program that opens it."""

import os
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import admin as module

URL = "http://127.0.0.1:8808/admin/open#code"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs the command with `--open`, and with this script as xdg-open, if there is one."""
    monkeypatch.setattr(module, "request", lambda *_words: {"url": URL})

    def run(script=None, opens=True):
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
        monkeypatch.setattr(module, "_OPENER", "xdg-open-of-the-test")
        if script is not None:
            program = tmp_path / "xdg-open-of-the-test"
            program.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
            program.chmod(0o700)
        options = SimpleNamespace(open=opens)
        return module.admin(SimpleNamespace(options=options, socket=lambda: tmp_path))

    return run


def test_the_link_is_printed_and_not_opened(run, capsys, tmp_path):
    assert run(f'echo "$1" >{tmp_path}/opened', opens=False) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{URL}\n"
    assert "once" in printed.err
    assert not (tmp_path / "opened").exists()


def test_the_link_is_opened_on_request(run, capsys, tmp_path):
    assert run(f'echo "$@" >{tmp_path}/opened') == 0
    assert (tmp_path / "opened").read_text() == f"{URL}\n"
    assert capsys.readouterr().out == f"{URL}\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [(None, "there is no xdg-open"), ("exit 3", "exited with 3"), ("#!/not/there", "cannot be run")],
)
def test_a_browser_that_cannot_be_opened_leaves_the_link(run, capsys, script, reason):
    assert run(script) == 69
    printed = capsys.readouterr()
    assert printed.out == f"{URL}\n"
    assert reason in printed.err
    assert "open the link in a browser" in printed.err
