"""WWW-Authenticate fields with one and several challenges, and malformed ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.oauth_challenge import (
    BearerChallenge,
    Challenge,
    bearer_challenge,
    parse_challenges,
)

FIELDS = {
    "one parameter": ('Bearer realm="a"', [("bearer", {"realm": "a"})]),
    "several": (
        'Bearer error="invalid_token", error_description="The token, it has expired", scope="a b"',
        [
            (
                "bearer",
                {"error": "invalid_token", "error_description": "The token, it has expired", "scope": "a b"},
            )
        ],
    ),
    "no parameter": ("Bearer", [("bearer", {})]),
    "names of any case": ('BEARER Realm="a"', [("bearer", {"realm": "a"})]),
    "a word as value": ("Bearer error=invalid_token", [("bearer", {"error": "invalid_token"})]),
    "a URL as value without quotation marks": (
        "Bearer resource_metadata=https://h/.well-known/x?a=b",
        [("bearer", {"resource_metadata": "https://h/.well-known/x?a=b"})],
    ),
    "spaces round the equals sign": ('Bearer realm = "a"', [("bearer", {"realm": "a"})]),
    "no commas": ('Bearer error="a" scope="b"', [("bearer", {"error": "a", "scope": "b"})]),
    "empty elements": (',, Bearer realm="a",, ,scope="b",', [("bearer", {"realm": "a", "scope": "b"})]),
    "escapes": (r'Bearer realm="a\"b\\c"', [("bearer", {"realm": r'a"b\c'})]),
    "an empty value": ('Bearer realm=""', [("bearer", {"realm": ""})]),
    "two challenges": (
        'Basic realm="a", Bearer scope="b"',
        [("basic", {"realm": "a"}), ("bearer", {"scope": "b"})],
    ),
    "a challenge inside of a quoted string": (
        'Basic realm="x, Bearer resource_metadata=evil"',
        [("basic", {"realm": "x, Bearer resource_metadata=evil"})],
    ),
    "a token68 before": (
        'Negotiate YWJj, Bearer scope="b"',
        [("negotiate", {}), ("ywjj", {}), ("bearer", {"scope": "b"})],
    ),
    "the first of equal parameters": ('Bearer scope="a", scope="b"', [("bearer", {"scope": "a"})]),
    "a parameter without a scheme": ('realm="a"', []),
    "no end of the string": ('Bearer realm="a", scope="b', [("bearer", {"realm": "a"})]),
    "a backslash at the end of the string": ('Bearer scope="b\\', [("bearer", {})]),
    "no value": ('Bearer scope=, realm="a"', [("bearer", {"realm": "a"})]),
    "text that is nothing": ('Bearer @@@=@ "lost" realm="a"', [("bearer", {"realm": "a"})]),
    "nothing": ("", []),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_parsed(name):
    field, expected = FIELDS[name]
    assert parse_challenges([field]) == tuple(Challenge(*one) for one in expected)


def test_each_field_begins_a_new_challenge():
    assert [one.scheme for one in parse_challenges(["Basic", "Bearer"])] == ["basic", "bearer"]
    # A parameter at the begin of the second field belongs to the challenge before, because a proxy may split fields.
    assert parse_challenges(["Bearer", 'scope="a"']) == (Challenge("bearer", {"scope": "a"}),)


def test_the_number_of_challenges_is_limited():
    assert len(parse_challenges(["a, " * 100])) == 32


def test_a_long_field_is_cut():
    assert parse_challenges(["a" * 20_000]) == (Challenge("a" * 16384, {}),)


def test_the_bearer_challenge_is_found():
    fields = [
        'Basic realm="a"',
        'Bearer resource_metadata="https://h/m", scope="a b", error="e", error_description="d"',
    ]
    assert bearer_challenge(fields) == BearerChallenge("https://h/m", ("a", "b"), "e", "d")


def test_the_bearer_challenge_with_resource_metadata_is_preferred():
    assert bearer_challenge(['Bearer scope="a"', 'Bearer resource_metadata="u"']).resource_metadata == "u"
    assert bearer_challenge(['Bearer scope="a"', 'Bearer scope="b"']).scopes == ("a",)


@pytest.mark.parametrize("fields", [[], ["Basic"], ["Bearer"]])
def test_an_absent_parameter_is_empty(fields):
    assert bearer_challenge(fields) == BearerChallenge("", None, "", "")


def test_an_empty_scope_is_not_an_absent_one():
    assert bearer_challenge(['Bearer scope=""']).scopes == ()


@given(st.lists(st.text(alphabet='aB="\\ ,\t\r\n\x00é', max_size=40), max_size=4))
def test_any_field_is_parsed_without_an_error(fields):
    parse_challenges(fields)
