"""Bearer tokens are read, compared and checked for strength."""

from hashlib import sha256
from hmac import compare_digest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators import bearer
from mcpbridged.validators.bearer import (
    TokenSet,
    basic_credential,
    bearer_token,
    offered_token,
    refuse_query_token,
)
from mcpbridged.validators.rejection import INVALID_REQUEST, Rejection

TOKEN = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABC"
OTHER = "another-token.of+this~server/with-padding=="


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_no_case(scheme):
    assert bearer_token(f"{scheme} {TOKEN}") == TOKEN


@pytest.mark.parametrize(
    ("offer", "token"),
    [
        ("", None),
        ("mcp", None),
        ("mcp, notbearer.x", None),
        (f"mcp, bearer.{TOKEN}", TOKEN),
        (f"bearer.{TOKEN},mcp", TOKEN),
        (f"  bearer.{OTHER} , mcp", OTHER),
    ],
)
def test_the_token_of_a_subprotocol_offer_is_returned(offer, token):
    assert offered_token(offer) == token


@pytest.mark.parametrize(
    "offer",
    [
        "bearer.",
        "bearer.a b",
        "bearer.!",
        "bearer." + "a" * 513,
        "bearer." + "a" * 512 + "=",
        "bearer.a\xa0",
        "bearer.a, bearer.a",
        "bearer.a,mcp,bearer.b",
    ],
)
def test_an_offer_with_a_malformed_or_a_second_token_has_the_same_rejection(offer):
    with pytest.raises(Rejection) as caught:
        offered_token(offer)
    assert (caught.value.status, caught.value.text) == (401, "a valid bearer token is needed")


@pytest.mark.parametrize("token", ["a", "a" * 512, "a-._~+/9=", OTHER])
def test_valid_tokens_are_returned(token):
    assert bearer_token(f"Bearer {token}") == token


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer =",
        "Basic dXNlcjpwYXNz",
        TOKEN,
        f" Bearer {TOKEN}",
        f"Bearer\t{TOKEN}",
        f"Bearer {TOKEN},{TOKEN}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Bearer {TOKEN} ",
        f"Bearer {TOKEN}\n",
        f"Bearer {TOKEN}\x00",
        f"Bearer {TOKEN} x",
        f'Bearer "{TOKEN}"',
        f"Bearer token={TOKEN}",
        f"Bearer:{TOKEN}",
        f"Bearer{TOKEN}",
        "Bearer " + "a" * 513,
        "Bearer " + "a" * 512 + "=",
        "Bearer " + "!" * 512,
        "Bearer t\u00f6ken",
        "\u0412earer " + TOKEN,
    ],
)
def test_every_malformed_credential_has_the_same_rejection(value):
    with pytest.raises(Rejection) as caught:
        bearer_token(value)
    refused = caught.value
    assert (refused.status, refused.code, refused.text) == (
        401,
        INVALID_REQUEST,
        "a valid bearer token is needed",
    )
    assert (refused.headers, refused.close) == (((b"WWW-Authenticate", b"Bearer"),), False)


def test_a_token_has_its_principal():
    tokens = TokenSet({TOKEN: "owner", OTHER: "guest"})
    assert tokens.principal(TOKEN) == "owner"
    assert tokens.principal(OTHER) == "guest"
    assert tokens.principal(TOKEN[:-1]) is None
    assert tokens.principal(TOKEN + "=") is None
    assert tokens.principal("") is None
    assert TokenSet({}).principal(TOKEN) is None


def test_a_token_can_be_given_as_a_digest_and_be_replaced():
    tokens = TokenSet({OTHER: "guest"}, {sha256(TOKEN.encode()).digest(): "owner"})
    assert tokens.principal(TOKEN) == "owner"
    tokens.replace(TokenSet({OTHER: "guest"}))
    assert (tokens.principal(TOKEN), tokens.principal(OTHER)) == (None, "guest")


def test_each_known_digest_is_compared_in_constant_time(monkeypatch):
    compared = []

    def recorded(known, given):
        compared.append((known, given))
        return compare_digest(known, given)

    monkeypatch.setattr(bearer, "compare_digest", recorded)
    tokens = TokenSet({TOKEN: "owner", OTHER: "guest"})
    known = [sha256(token.encode()).digest() for token in (TOKEN, OTHER)]
    for tried in (TOKEN, OTHER, "x"):
        compared.clear()
        tokens.principal(tried)
        # A match does not end the comparison, so the time does not show which token it was.
        assert compared == [(digest, sha256(tried.encode()).digest()) for digest in known]


def test_no_token_is_stored():
    assert TOKEN not in repr(vars(TokenSet({TOKEN: "owner"})))


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "a token has 32 to 512 characters, this one has 0"),
        ("abcdefghijklmnopqrstuvwxyz01234", "a token has 32 to 512 characters, this one has 31"),
        (TOKEN * 12, "a token has 32 to 512 characters, this one has 528"),
        (TOKEN + "\r", "a token has letters, digits and -._~+/ only, and = at its end"),
        (TOKEN + "\n", "a token has letters, digits and -._~+/ only, and = at its end"),
        (TOKEN + "\u00e9", "a token has letters, digits and -._~+/ only, and = at its end"),
        ("=" + TOKEN, "a token has letters, digits and -._~+/ only, and = at its end"),
        ("x" * 64, "a token has at least 16 different pairs of neighbouring characters, this one has 1"),
        (
            "changeme" * 8,
            "a token has at least 16 different pairs of neighbouring characters, this one has 8",
        ),
    ],
)
def test_weak_tokens_are_refused_with_rule_limit_and_value(token, message):
    with pytest.raises(ValueError) as caught:
        TokenSet({TOKEN: "owner", token: "guest"})
    assert str(caught.value) == message


@settings(max_examples=200)
@given(st.binary(min_size=16, max_size=16).filter(lambda raw: len(set(raw)) > 12))
def test_sixteen_random_bytes_in_hexadecimal_are_strong_enough(raw):
    tokens = TokenSet({raw.hex(): "owner"})
    assert tokens.principal(bearer_token(f"Bearer {raw.hex()}")) == "owner"


@pytest.mark.parametrize(
    "query",
    [
        "token=x",
        "a=b&token=x",
        "access_token=",
        "ACCESS_TOKEN=x",
        "api_key=x",
        "apikey=x",
        "a;api_key=x",
        "token=CANARY",
    ],
)
def test_a_token_in_the_query_is_refused(query):
    with pytest.raises(Rejection) as caught:
        refuse_query_token(query)
    assert caught.value.status == 400
    assert caught.value.text == "a token goes into the Authorization header, never into the URL"


@pytest.mark.parametrize(
    "query", ["", "sessionId=1", "progresstoken=1", "token", "tokens=1", "a=token=x", "x=api_key"]
)
def test_other_queries_pass(query):
    refuse_query_token(query)


def test_local_principals_are_replaced_with_the_tokens():
    token = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
    tokens = TokenSet({token: "owner"})
    assert not tokens.is_local("owner")
    tokens.replace(TokenSet({token: "owner"}, local=("owner",)))
    assert tokens.is_local("owner")
    assert not tokens.is_local("editor")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Basic YTpi", ("a", "b")),
        ("basic  YTpiOmM=", ("a", "b:c")),
        ("Basic Og==", ("", "")),
        (None, None),
        ("Bearer YTpi", None),
        ("Basic", None),
        ("Basic YTpi YTpi", None),
        ("Basic " + "A" * 2000, None),
    ],
)
def test_a_basic_credential_is_user_name_and_password(value, found):
    assert basic_credential(value) == found


@pytest.mark.parametrize("value", ["Basic YWI=", "Basic YTp", "Basic /w==", f"Basic {'YTpi' + 'YWFh' * 180}"])
def test_a_malformed_basic_credential_is_refused(value):
    with pytest.raises(Rejection) as caught:
        basic_credential(value)
    assert (caught.value.status, caught.value.reason) == (401, "credential_malformed")


def test_a_longer_token_is_accepted_where_it_may_be_an_access_token():
    token = "a" * 600
    assert bearer_token(f"Bearer {token}", 8192) == token
    assert offered_token(f"mcp, bearer.{token}", 8192) == token
    with pytest.raises(Rejection):
        bearer_token(f"Bearer {token}")
    with pytest.raises(Rejection):
        offered_token(f"mcp, bearer.{token}")
