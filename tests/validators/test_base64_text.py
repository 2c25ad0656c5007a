"""Base64 in JSON strings."""

import base64
import json
import os

import pytest

from mcpbridged.validators.base64_text import base64_fault


@pytest.mark.parametrize("size", [*range(10), 1000])
def test_what_standard_libraries_write_is_base64(size):
    text = base64.b64encode(os.urandom(size)).decode()
    assert base64_fault(json.dumps(text).encode()) == ""


def test_escapes_of_json_are_read():
    assert base64_fault(b'"a\\/b+"') == ""
    assert base64_fault(b'"a\\u002fb\\u002B"') == ""
    assert base64_fault(b'"a\\/Y\\u003D"') == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("!!notbase64!!", "characters outside"),
        ("data:image/png;base64,AAAA", "characters outside"),
        ("ab-_", "URL-safe"),
        ("ab_=", "URL-safe"),
        ("AAAA\nAAAA\n", "white space"),
        ("AAAA AAAA", "white space"),
        ("AAAA\u200bAAAA", "characters outside"),
        ("AAA\ud800", "characters outside"),
        ("AA\\A", "characters outside"),
        ("A", "padding"),
        ("AA", "padding"),
        ("AAA", "padding"),
        ("AA=", "padding"),
        ("A===", "padding in the wrong place"),
        ("AA==AAAA", "padding in the wrong place"),
        ("=AAA", "padding in the wrong place"),
        ("====", "padding in the wrong place"),
        ("=", "padding"),
        ("AB==", "bits after its end"),
        ("AAB=", "bits after its end"),
        ("AA-=AAAA", "URL-safe"),
        ("AA-=!AAA", "characters outside"),
    ],
)
def test_no_base64(text, fault):
    assert fault in base64_fault(json.dumps(text).encode())
    assert fault in base64_fault(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
