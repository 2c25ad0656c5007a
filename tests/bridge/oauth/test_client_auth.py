"""How a client authenticates at the token endpoint."""

import base64
import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mcpbridged.bridge.config.oauth_settings import OAuth, OAuthSettings
from mcpbridged.bridge.oauth.client_auth import (
    BadKey,
    Client,
    configured_client,
    method_of_registered,
    method_to_register,
    signed_assertion,
)
from mcpbridged.validators.oauth_metadata import ServerMetadata
from mcpbridged.validators.oauth_refusal import OAuthRefusal

ISSUER = "https://as.example"
KEYS = {
    "RS256": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "ES512": ECKey.generate_key("P-521"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}


def pem(key):
    return key.as_pem(private=True).decode()


def metadata(methods=None, algorithms=None):
    return ServerMetadata(ISSUER, f"{ISSUER}/token", auth_methods=methods, algorithms=algorithms)


def settings(**keys):
    return OAuthSettings(
        "x", "https://h", OAuth(client_id="c", **keys), secret_from=lambda source: f"content of {source}"
    )


def test_basic_authentication_is_form_encoded_first():
    found = Client("a:b c", "client_secret_basic", lambda: "é%").authentication(ISSUER)
    assert found.form == {}
    assert base64.b64decode(found.authorization.removeprefix("Basic ")) == b"a%3Ab+c:%C3%A9%25"


def test_the_other_methods_are_in_the_form():
    assert Client("c", "client_secret_post", lambda: "s").authentication(ISSUER).form == {
        "client_id": "c",
        "client_secret": "s",
    }
    assert Client("c", "none").authentication(ISSUER) == ({"client_id": "c"}, "")


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("form", ["PEM", "JWK"])
def test_an_assertion_is_signed_with_the_usual_algorithm_of_the_key(algorithm, form):
    key = KEYS[algorithm]
    text = pem(key) if form == "PEM" else json.dumps({**key.as_dict(private=True), "kid": "k1"})
    client = Client("c", "private_key_jwt", private_key=lambda: text)
    found = client.authentication(ISSUER).form
    assert found["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    token = jwt.decode(found["client_assertion"], key, algorithms=[algorithm])
    assert token.header["alg"] == algorithm
    assert token.header.get("kid") == ("k1" if form == "JWK" else None)
    claims = token.claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("c", "c", ISSUER)
    assert claims["exp"] - time.time() <= 60
    assert client.authentication(ISSUER).form["client_assertion"] != found["client_assertion"]


def test_an_algorithm_that_the_server_accepts_is_chosen():
    text = pem(KEYS["RS256"])
    assertion = signed_assertion("c", ISSUER, text, "", ("ES256", "PS256"))
    assert jwt.decode(assertion, KEYS["RS256"], algorithms=["PS256"]).header["alg"] == "PS256"
    assertion = signed_assertion("c", ISSUER, text, "RS512", ("ES256",))
    assert jwt.decode(assertion, KEYS["RS256"], algorithms=["RS512"]).header["alg"] == "RS512"
    with pytest.raises(BadKey, match="accepts no signature of the private key; it accepts 'ES256'"):
        signed_assertion("c", ISSUER, text, "", ("ES256",))


@pytest.mark.parametrize(
    ("text", "algorithm", "reason"),
    [
        ("SECRET", "", "neither a PEM file"),
        ("", "", "neither a PEM file"),
        ('{"kty": "oct", "k": "SECRET"}', "", "neither a PEM file"),
        ("[" * 10_000, "", "neither a PEM file"),
        (KEYS["ES256"].as_pem(private=False).decode(), "", "is a public key"),
        (pem(KEYS["ES256"]), "RS256", "cannot sign with RS256"),
        (pem(KEYS["RS256"]), "ES256", "cannot sign with ES256"),
    ],
)
def test_an_unusable_key_is_refused_without_showing_it(text, algorithm, reason):
    with pytest.raises(BadKey, match=reason) as caught:
        signed_assertion("c", ISSUER, text, algorithm, None)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "methods", "expected"),
    [
        ({}, None, "none"),
        ({"client_secret": "s"}, None, "client_secret_basic"),
        ({"client_secret": "s"}, ("client_secret_post",), "client_secret_post"),
        ({"private_key": "k"}, None, "private_key_jwt"),
        (
            {"client_secret": "s", "token_endpoint_auth_method": "client_secret_post"},
            ("none",),
            "client_secret_post",
        ),
    ],
)
def test_the_method_of_a_configured_client(keys, methods, expected):
    assert configured_client(settings(**keys), metadata(methods)).method == expected


def test_a_secret_is_read_when_it_is_used():
    client = configured_client(settings(client_secret="place"), metadata())
    assert client.secret() == "content of place"
    client = configured_client(settings(private_key="place"), metadata())
    assert client.private_key() == "content of place"


@pytest.mark.parametrize("keys", [{}, {"client_secret": "s"}, {"private_key": "k"}])
def test_a_configured_client_without_a_supported_method_is_refused(keys):
    with pytest.raises(OAuthRefusal, match="supports none of the methods"):
        configured_client(settings(**keys), metadata(("tls_client_auth",)))


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (None, "none"),
        (("client_secret_basic", "none"), "none"),
        (("client_secret_post", "client_secret_basic"), "client_secret_basic"),
        (("client_secret_post",), "client_secret_post"),
    ],
)
def test_a_public_client_is_registered_if_possible(methods, expected):
    assert method_to_register(metadata(methods)) == expected


@pytest.mark.parametrize(
    ("registered", "secret", "methods", "expected"),
    [
        ("none", "", None, "none"),
        ("none", "s", None, "none"),
        ("", "", None, "none"),
        ("", "s", None, "client_secret_basic"),
        ("", "s", ("client_secret_post",), "client_secret_post"),
        ("", "s", ("tls_client_auth",), "client_secret_basic"),
        ("client_secret_post", "s", None, "client_secret_post"),
    ],
)
def test_the_method_of_a_registered_client(registered, secret, methods, expected):
    assert method_of_registered(registered, secret, metadata(methods)) == expected


@pytest.mark.parametrize(
    ("registered", "secret", "reason"),
    [("private_key_jwt", "", "which it cannot use"), ("client_secret_basic", "", "it got no secret")],
)
def test_a_registration_that_cannot_be_used_is_refused(registered, secret, reason):
    with pytest.raises(OAuthRefusal, match=reason):
        method_of_registered(registered, secret, metadata())


def test_no_secret_is_in_a_representation():
    assert "content" not in repr(configured_client(settings(client_secret="place"), metadata()))
