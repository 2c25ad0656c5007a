"""Which access tokens are refused before and after the signature, and why."""

import json

import pytest

from mcpbridged.validators.access_token import (
    LONGEST,
    BadAccessToken,
    ClaimRules,
    TokenHeader,
    covers,
    looks_signed,
    read_claims,
    read_header,
)

from ..support.issuer import part

NOW = 1_800_000_000
RULES = ClaimRules("https://issuer.example", "scope", 60)
ALGORITHMS = ("ES256", "RS256")
HEADER = {"alg": "ES256", "kid": "one", "typ": "at+jwt"}
CLAIMS = {"iss": "https://issuer.example", "sub": "user", "aud": "https://mcp.example", "exp": NOW + 60}


def token(header, claims=b"{}"):
    return f"{part(header)}.{part(claims)}.c2ln"


def why_header(text):
    with pytest.raises(BadAccessToken) as caught:
        read_header(text, ALGORITHMS)
    return str(caught.value)


def why_claims(claims, rules=RULES):
    with pytest.raises(BadAccessToken) as caught:
        read_claims(token(HEADER, claims), rules, NOW)
    return str(caught.value)


def claims_of(**changes):
    return read_claims(token(HEADER, {**CLAIMS, **changes}), RULES, NOW)


def test_a_header_names_algorithm_and_key():
    assert read_header(token(HEADER), ALGORITHMS) == TokenHeader("ES256", "one")
    assert read_header(token({"alg": "RS256"}), ALGORITHMS) == TokenHeader("RS256", None)
    for kind in ("JWT", "at+jwt", "application/at+jwt", "AT+JWT"):
        read_header(token({**HEADER, "typ": kind}), ALGORITHMS)
    # Members that choose no key are left out of account.
    read_header(token({**HEADER, "x5t": "abc", "vendor": 1}), ALGORITHMS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alg": "none"}, "algorithm"),
        ({"alg": "None"}, "algorithm"),
        ({"alg": "HS256"}, "algorithm"),
        ({"alg": "ES384"}, "algorithm"),
        ({"alg": "es256"}, "algorithm"),
        ({"alg": ["ES256"]}, "algorithm"),
        ({"alg": None}, "algorithm"),
        ({"crit": ["exp"]}, "critical_header"),
        ({"crit": []}, "critical_header"),
        ({"b64": False}, "critical_header"),
        ({"enc": "A128GCM"}, "critical_header"),
        ({"jwk": {"kty": "EC"}}, "key_in_header"),
        ({"jku": "https://evil.example/keys"}, "key_in_header"),
        ({"x5c": ["MII"]}, "key_in_header"),
        ({"x5u": "https://evil.example/cert"}, "key_in_header"),
        ({"typ": "logout+jwt"}, "type"),
        ({"typ": "id+jwt"}, "type"),
        ({"typ": 1}, "type"),
        ({"kid": 1}, "key_id"),
        ({"kid": ""}, "key_id"),
        ({"kid": "a\nb"}, "key_id"),
        ({"kid": "k" * 1025}, "key_id"),
    ],
)
def test_a_header_is_refused(changes, reason):
    assert why_header(token({**HEADER, **changes})) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not_signed"),
        ("a.b", "not_signed"),
        # An encrypted token (RFC 7516) has five parts.
        (f"{part({'alg': 'ES256'})}.a.b.c.d", "not_signed"),
        (token(b"[]"), "encoding"),
        (token(b"{"), "encoding"),
        (token(b"\xff"), "encoding"),
        (token(b"[" * 3000), "encoding"),
        (token(b'{"alg":"ES256","x":NaN}'), "encoding"),
        (token(b'{"alg":"ES256","alg":"ES256"}'), "member_twice"),
        (token(b'{"alg":"ES256","x":{"y":1,"y":2}}'), "member_twice"),
        ("e30=.e30.x", "encoding"),
        ("e3 0.e30.x", "encoding"),
        ("A.e30.x", "encoding"),
        (".e30.x", "encoding"),
        (token(HEADER) + "a" * LONGEST, "too_long"),
    ],
)
def test_an_unreadable_token_is_refused(text, reason):
    assert why_header(text) == reason


def test_a_token_may_have_8_kib():
    text = token(HEADER)
    assert read_header(text + "a" * (8192 - len(text)), ALGORITHMS) == TokenHeader("ES256", "one")
    assert why_header(text + "a" * (8193 - len(text))) == "too_long"


def test_claims_are_read():
    found = claims_of(aud=["a", "b"], scope="x y  x", client_id="app")
    assert (found.subject, found.audience, found.scopes) == ("user", ("a", "b"), {"x", "y"})
    assert (found.expires, found.client) == (NOW + 120, "app")
    assert claims_of().scopes == frozenset()
    assert claims_of(azp="app").client == "app"
    assert claims_of(client_id=5).client == ""
    of_roles = ClaimRules(RULES.issuer, "roles", 60)
    assert read_claims(token(HEADER, {**CLAIMS, "roles": ["x y", "z"]}), of_roles, NOW).scopes == {"x y", "z"}


def test_the_clocks_may_differ_a_little():
    claims_of(exp=NOW - 59)
    claims_of(nbf=NOW + 60, iat=NOW + 60)
    # The last second of the year 9999.
    claims_of(exp=253402300799)
    assert why_claims({**CLAIMS, "exp": NOW - 60}) == "expired"
    assert why_claims({**CLAIMS, "nbf": NOW + 61}) == "not_yet_valid"
    assert why_claims({**CLAIMS, "iat": NOW + 61}) == "not_yet_valid"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://issuer.example/"}, "issuer"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": ["https://issuer.example"]}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"exp": None}, "time"),
        ({"exp": str(NOW + 60)}, "time"),
        ({"exp": True}, "time"),
        ({"exp": -1}, "time"),
        ({"exp": 1e300}, "time"),
        ({"exp": 253402300800}, "time"),
        ({"nbf": "now"}, "time"),
        ({"cnf": {"jkt": "x"}}, "bound_to_a_key"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": "a\x1b[0m"}, "subject"),
        ({"sub": "s" * 1025}, "subject"),
        ({"aud": 5}, "audience"),
        ({"aud": ["a", 5]}, "audience"),
        ({"aud": {"a": "b"}}, "audience"),
        ({"aud": ["a"] * 65}, "audience"),
        ({"scope": 5}, "scope"),
        ({"scope": ["a", None]}, "scope"),
    ],
)
def test_claims_are_refused(changes, reason):
    assert why_claims({**CLAIMS, **changes}) == reason


@pytest.mark.parametrize(
    ("name", "reason"), [("iss", "issuer"), ("exp", "expired"), ("sub", "subject"), ("aud", "audience")]
)
def test_a_claim_is_required(name, reason):
    assert why_claims({key: value for key, value in CLAIMS.items() if key != name}) == reason


def test_a_claim_that_occurs_twice_is_refused():
    text = json.dumps(CLAIMS)
    assert why_claims(f'{text[:-1]},"aud":"https://other.example"}}'.encode()) == "member_twice"


def test_an_opaque_token_is_no_jwt():
    assert looks_signed("a.b.c")
    assert not looks_signed("mcpb_abc")
    assert not looks_signed("a.b.c.d.e")


@pytest.mark.parametrize(
    ("audience", "path", "is_covered"),
    [
        ("https://h", "/servers/a/mcp", True),
        ("https://h/", "/mcp", True),
        ("https://h/servers/a/mcp", "/servers/a/mcp", True),
        ("https://h/servers/a/mcp/", "/servers/a/mcp/", True),
        ("https://h/servers/a/sse", "/servers/a/messages", True),
        ("https://h/servers/a/mcp", "/servers/b/mcp", False),
        ("https://h/servers/a/mcp", "/servers/ab/mcp", False),
        ("https://h/servers/a", "/servers/a/mcp", False),
        ("https://h/mcp", "/servers/a/mcp", False),
        ("https://h/mcp", "/sse", True),
        ("https://h/servers/a/mcp", "/mcp", False),
        ("https://h2", "/mcp", False),
        ("http://h", "/mcp", False),
        ("https://h/x/../servers/a/mcp", "/servers/a/mcp", False),
        ("", "/mcp", False),
    ],
)
def test_an_audience_covers_the_endpoints_of_one_server(audience, path, is_covered):
    assert covers([audience], "https://h", path) is is_covered
    assert covers(["x", audience], "https://h", path) is is_covered
    assert not covers([], "https://h", path)
