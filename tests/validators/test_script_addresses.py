"""Addresses that run a script."""

import re

import pytest

from mcpbridged.validators.script_addresses import (
    DEFAULT_SCHEMES,
    PATTERN,
    UNREADABLE,
    refused_scheme,
    refused_template,
)


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("javascript:alert(1)", "javascript"),
        ("JaVaScRiPt:alert(1)", "javascript"),
        (" \t\n\x01javascript:alert(1)", "javascript"),
        ("java\tscript:alert(1)", "javascript"),
        ("java\r\nscript\n:alert(1)", "javascript"),
        ("java\x00script:alert(1)", "javascript"),
        ("\ufeff\u00a0javascript:alert(1)", "javascript"),
        ("java\u200bscript:alert(1)", "javascript"),
        ("java\U000e0041script:alert(1)", "javascript"),
        ("\ud800javascript:alert(1)", "javascript"),
        (" " * 20_000 + "javascript:alert(1)", "javascript"),
        ("j" + "\t" * 20_000 + "avascript:alert(1)", "javascript"),
        ("\u200b" * 20_000 + "javascript:alert(1)", UNREADABLE),
        ("view-source:javascript:alert(1)", "javascript"),
        ("feed: view-source:javascript:alert(1)", "javascript"),
        ("feed:" * 8 + "javascript:alert(1)", "feed"),
        ("vbscript:msgbox(1)", "vbscript"),
        ("VB\nSCRIPT:x", "vbscript"),
        ("data:text/html,<script>", "data:text/html"),
        ("data: TEXT/html ;base64,AAAA", "data:text/html"),
        ("data:image/svg+xml,<svg onload=x>", "data:image/svg+xml"),
        ("DATA:application/xhtml+xml;charset=utf-8,x", "data:application/xhtml+xml"),
    ],
)
def test_an_address_that_runs_a_script(address, entry):
    assert refused_scheme(address, DEFAULT_SCHEMES) == entry


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://example.com/javascript:alert(1)",
        "file:///x",
        "git://host/repository",
        "custom://My Vault/Note.md",
        "users/me",
        "javascript",
        "x-javascript:a",
        "javascriptx:a",
        "view-source:https://example.com/",
        "view-source",
        "data:text/plain,x",
        "data:,x",
        "data:image/png;base64,AAAA",
        "https://example.com/" + "a" * 20_000,
        "https://example.com/\u00e9" + "a" * 20_000,
    ],
)
def test_an_address_that_runs_none(address):
    assert refused_scheme(address, DEFAULT_SCHEMES) == ""


def test_the_source_of_an_icon_may_be_an_image():
    assert refused_scheme("data:image/svg+xml,<svg/>", DEFAULT_SCHEMES, icon=True) == ""
    assert refused_scheme("data:image/png;base64,AAAA", (*DEFAULT_SCHEMES, "data"), icon=True) == ""
    assert refused_scheme("data:text/html,x", DEFAULT_SCHEMES, icon=True) == "data:text/html"
    assert refused_scheme("javascript:x", DEFAULT_SCHEMES, icon=True) == "javascript"


def test_the_list_decides():
    assert refused_scheme("javascript:x", ()) == ""
    assert refused_scheme("file:///etc/passwd", ("file",)) == "file"
    assert refused_scheme("data:text/plain,x", ("data",)) == "data"
    assert refused_scheme("data:text/html,x", ("data", "data:text/html")) == "data:text/html"


@pytest.mark.parametrize(
    ("template", "entry"),
    [
        ("javascript:{code}", "javascript"),
        ("java{x}script:{code}", "javascript"),
        ("{?x}javascript:alert(1)", "javascript"),
        ("{scheme}:{rest}", ""),
        ("https://example.com/{path}", ""),
        ("{+url}", ""),
    ],
)
def test_a_template_is_read_with_empty_expressions(template, entry):
    assert refused_template(template, DEFAULT_SCHEMES) == entry


@pytest.mark.parametrize("text", [*DEFAULT_SCHEMES, "file", "data", "x-a.b+c", "data:text/x"])
def test_an_entry_of_the_list(text):
    assert re.search(PATTERN, text)


@pytest.mark.parametrize(
    "text", ["", "javascript:", "JavaScript", "a b", "file:text/x", "data:", "data:x", "1a", "a\n"]
)
def test_no_entry_of_the_list(text):
    assert not re.search(PATTERN, text)
