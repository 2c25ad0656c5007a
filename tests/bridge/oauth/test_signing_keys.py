"""Which keys are taken, and which signatures they verify."""

import json

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from mcpbridged.bridge.oauth.signing_keys import MOST_KEYS, BadKeys, read_keys, verify
from mcpbridged.validators.access_token import TokenHeader

from ...support.issuer import Issuer, part, with_hmac

ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA")
ISSUER = Issuer()


def keys_of(*documents, algorithms=ALGORITHMS):
    return read_keys(json.dumps({"keys": documents}), algorithms)


def public(key, **more):
    return {**key.as_dict(private=False), **more}


def test_the_keys_of_a_set_fit_the_algorithms_of_their_kind():
    edwards = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    found = keys_of(*ISSUER.jwks()["keys"], public(edwards))
    assert [(key.kid, sorted(key.algorithms)) for key in found] == [
        ("ec", ["ES256"]),
        ("rsa", ["PS256", "RS256"]),
        ("ed", ["EdDSA"]),
    ]
    named = public(ISSUER.keys["rsa"], alg="PS256")
    assert keys_of(named)[0].algorithms == {"PS256"}


@pytest.mark.parametrize(
    "document",
    [
        OctKey.generate_key(256).as_dict(),
        ISSUER.keys["ec"].as_dict(private=True),
        public(ISSUER.keys["ec"], use="enc"),
        public(ISSUER.keys["ec"], key_ops=["encrypt"]),
        public(ISSUER.keys["ec"], key_ops="verify"),
        public(ISSUER.keys["ec"], alg="ES384"),
        public(ISSUER.keys["ec"], kid=5),
        public(ECKey.generate_key("P-384")),
        {**public(ISSUER.keys["ec"]), "x": "AA"},
        {"kty": "EC"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        "text",
    ],
    ids=str,
)
def test_another_key_is_left_out(document):
    with pytest.raises(BadKeys, match="no public key"):
        keys_of(document)
    assert [key.kid for key in keys_of(document, *ISSUER.jwks("ec")["keys"])] == ["ec"]


def test_a_short_rsa_key_is_left_out():
    with pytest.warns(match="."):
        short = RSAKey.generate_key(1024)
    with pytest.raises(BadKeys):
        keys_of(public(short))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"keys":5}', '{"keys":[]}', "[" * 5000])
def test_another_document_has_no_keys(text):
    with pytest.raises(BadKeys):
        read_keys(text, ALGORITHMS)


def test_the_number_of_keys_is_limited():
    document = ISSUER.jwks("ec")["keys"]
    assert len(keys_of(*document * MOST_KEYS)) == MOST_KEYS
    with pytest.raises(BadKeys, match="the limit"):
        keys_of(*document * (MOST_KEYS + 1))


def test_a_public_key_in_pem_has_no_key_id():
    for kid in ("ec", "rsa"):
        [key] = read_keys(ISSUER.keys[kid].as_pem(private=False).decode(), ALGORITHMS)
        assert key.kid is None
        token = ISSUER.token("a", kid=kid)
        header = TokenHeader("ES256" if kid == "ec" else "RS256", kid)
        assert verify(token, header, [key]) is True
    with pytest.raises(BadKeys):
        read_keys(ISSUER.keys["ec"].as_pem(private=True).decode(), ALGORITHMS)
    with pytest.raises(BadKeys):
        read_keys("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ALGORITHMS)


def test_a_signature_is_verified_with_the_key_of_its_id():
    keys = keys_of(*ISSUER.jwks()["keys"])
    token = ISSUER.token("a")
    assert verify(token, TokenHeader("ES256", "ec"), keys) is True
    assert verify(token, TokenHeader("ES256", None), keys) is True
    # The key id is that of a key of another kind, or of none.
    assert verify(token, TokenHeader("ES256", "rsa"), keys) is None
    assert verify(token, TokenHeader("ES256", "../ec"), keys) is None
    assert verify(token, TokenHeader("RS256", None), keys) is False


def test_a_changed_token_is_refused():
    keys = keys_of(*ISSUER.jwks()["keys"])
    header, payload, signature = ISSUER.token("a").split(".")
    claims = part(ISSUER.claims("a", sub="admin"))
    for text in (f"{header}.{claims}.{signature}", f"{header}.{payload}.", f"{header}.{payload}.AAAA"):
        assert verify(text, TokenHeader("ES256", "ec"), keys) is False
    other = Issuer().token("a")
    assert verify(other, TokenHeader("ES256", "ec"), keys) is False


def test_a_symmetric_signature_with_the_public_key_is_refused():
    pem = ISSUER.keys["rsa"].as_pem(private=False)
    token = with_hmac({"alg": "HS256", "kid": "rsa"}, ISSUER.claims("a"), pem)
    keys = keys_of(*ISSUER.jwks()["keys"])
    assert verify(token, TokenHeader("RS256", "rsa"), keys) is False
    # Also where the operator has written it into the list of algorithms, because no key is for it.
    assert (
        verify(
            token, TokenHeader("HS256", "rsa"), keys_of(*ISSUER.jwks()["keys"], algorithms=("RS256", "HS256"))
        )
        is None
    )
