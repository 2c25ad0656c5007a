"""The manual pages: their version, and the options of `connect`, each once."""

import re

import pytest

from mcpbridged.validators.version import VERSION

from ..support.documents import MANUALS, plain, read
from .statements import options

PAGE = "man/mcp-bridge-connect.1"
# Options of every command, which mcp-bridge(1) describes.
COMMON = {"-h", "--help"}


def options_in(section):
    """Return the options in the first line of each entry."""
    heads = re.findall(r"^\.TP\n\.[BRI]+ (.*)$", section, re.MULTILINE)
    return [option for head in heads for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", plain(head))]


def section_of(page, title):
    return page.split(f".SH {title}\n")[1].split("\n.SH ")[0]


@pytest.mark.parametrize("page", MANUALS)
def test_a_manual_has_the_version_of_the_program(page):
    assert re.findall(r'^\.TH \S+ [15] \d{4}-\d\d-\d\d "mcp-bridge (\S+)" ', read(page), re.MULTILINE) == [
        VERSION
    ]


def test_the_manual_of_connect_has_every_option_once():
    written = options_in(section_of(read(PAGE), "OPTIONS"))
    assert sorted(written) == sorted(options()["connect"] - COMMON)


def test_the_synopsis_of_connect_has_no_other_option():
    synopsis = set(re.findall(r"--[a-z][a-z-]*", plain(section_of(read(PAGE), "SYNOPSIS"))))
    assert len(synopsis) > 5
    assert synopsis <= options()["connect"]


def test_an_option_that_stands_twice_is_found():
    planted = '.TP\n.BI \\-\\-key " FILE" ", " \\-\\-cert " FILE"\nText.\n.TP\n.B \\-\\-key\n'
    assert options_in(planted) == ["--key", "--cert", "--key"]
