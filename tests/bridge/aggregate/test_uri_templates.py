"""The URIs that a resource template matches."""

import time

import pytest

from mcpbridged.bridge.aggregate.uri_templates import literal_length, matches


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("a://b", "a://b"),
        ("example://square/{number}", "example://square/12"),
        ("note://{name}", "note://My Vault"),
        ("note://{name}", "note://My%20Vault?x#y"),
        ("a://{x}/{y}", "a://1/2"),
        ("a://{x}-{y}", "a://1-2-3"),
        ("a://{x,y}", "a://1,2"),
        ("a://{x:3}", "a://123"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("file:///{path*}", "file:///a/b/c.txt"),
        ("file://{/path*}", "file:///a/b"),
        ("file://{/x,y}", "file:///a/b"),
        ("file://{/x}", "file:///a"),
        ("a://b{.format}", "a://b.json"),
        ("a://b{;x}", "a://b;x=1"),
        ("a://b{;x}", "a://b"),
        ("a://b{#part}", "a://b#c/d"),
        ("a://b{#part}", "a://b"),
        ("a://search{?q,lang}", "a://search?q=x/y&lang=de"),
        ("a://search{?q,lang}", "a://search"),
        ("a://search?fixed=1{&q}", "a://search?fixed=1&q=x"),
        ("{+any}", "a://b"),
        ("a://{x}/end", "a://1/end"),
        ("a://{+x}/end", "a://1/end/2/end"),
    ],
)
def test_a_template_stands_for_the_uris_that_servers_take_it_for(template, uri):
    assert matches(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("a://b", "a://bc"),
        ("example://square/{number}", "example://square/"),
        ("example://square/{number}", "example://square/1/2"),
        ("example://square/{number}", "example://cube/1"),
        ("a://{x}", "b://1"),
        ("a://{x}-{y}", "a://12"),
        ("file:///{+path}", "file:///"),
        ("file://{/x}", "file:///a/b"),
        ("a://b{.format}", "a://b"),
        ("a://b{;x}", "a://bc"),
        ("a://{x", "a://{x"),
        ("a://x}", "a://x}"),
        ("a://{{x}}", "a://{1}"),
        ("a" * 2049, "a" * 2049),
        ("{x}" * 64, "x" * 64),
        ("", "a"),
        ("a://{+x}/end", "a://1/end/2"),
    ],
)
def test_a_template_stands_for_no_other_uri(template, uri):
    assert not matches(template, uri)


def test_of_two_templates_the_one_with_more_literal_text_is_more_specific():
    assert literal_length("file:///{+path}") < literal_length("file:///notes/{name}")
    assert literal_length("a://{x") == 0


def test_a_template_of_many_expressions_takes_no_long_time():
    began = time.thread_time()
    for template in ("a://" + "{+x}" * 60 + "!", "a://" + "{x}a" * 60 + "!", "a://" + "{?x}" * 60 + "!"):
        assert not matches(template, "a://" + "?a" * 4096)
    # A generous limit: matching by backtracking would take years.
    assert time.thread_time() - began < 10
