"""The static files of the page, and what their headers forbid."""

import re
from pathlib import Path

import pytest

from mcpbridged.bridge.admin import files

FOLDER = Path(__file__).parents[3] / "bridge/admin/static-files"


def test_every_file_of_the_folder_is_served():
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {*files.NAMES, files.INDEX, files.OPEN}


@pytest.mark.parametrize("name", sorted({*files.NAMES, files.INDEX, files.OPEN}))
def test_a_file_has_its_type_and_refers_to_this_origin_only(name):
    found = files.static_file(name)
    assert found.content == (FOLDER / name).read_bytes()
    assert found.media_type.split(b";")[0] in (
        b"text/html",
        b"text/css",
        b"text/javascript",
        b"image/svg+xml",
    )
    text = found.content.decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text)


@pytest.mark.parametrize("name", [files.INDEX, files.OPEN])
def test_a_page_has_no_inline_script_or_style(name):
    text = files.static_file(name).content.decode()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)


def test_the_policy_allows_only_this_origin_and_no_html_from_text():
    policy = dict(files.PROTECTION)[b"Content-Security-Policy"].decode().split("; ")
    assert policy == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
