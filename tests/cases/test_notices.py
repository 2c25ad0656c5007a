"""Notices at a terminal of 60 columns."""

import sys

from ..support.bridge_process import PROGRAM
from ..support.terminal import on_terminal

NOTICE = """
from mcpbridged.bridge.commands.output import notice
notice("no daemon is running; start it with `mcp-bridge serve`, or as a service")
notice("   File 'a', line 1, in the output of a server that is wider than the terminal")
"""


def test_a_notice_is_broken_between_words_and_the_output_of_a_server_is_not(tmp_path):
    with on_terminal([sys.executable, "-c", NOTICE], {"PATH": "/usr/bin:/bin"}, columns=60) as session:
        session.process.wait(30)
        session.expect("wider than the terminal")
    assert session.text.split("\r\n")[:3] == [
        "mcp-bridge: no daemon is running; start it with `mcp-bridge",
        "  serve`, or as a service",
        "   File 'a', line 1, in the output of a server that is wider than the terminal",
    ]


def test_an_error_of_the_usage_is_broken_between_words(tmp_path):
    words = [PROGRAM, "--unknown-option-that-is-long"]
    with on_terminal(words, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, columns=40) as session:
        session.expect("Try")
    lines = session.text.split("\r\n")
    assert lines[:2] == ["mcp-bridge: unrecognized arguments:", "  --unknown-option-that-is-long"]
