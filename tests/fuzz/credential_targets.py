"""States of multi-round calls, access tokens, certificates, and the metadata of OAuth."""

import base64
import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from mcpbridged.bridge.core.request_state import StateSigner, binding
from mcpbridged.validators.access_token import BadAccessToken, ClaimRules, covers, read_claims, read_header
from mcpbridged.validators.client_certificate import check_name
from mcpbridged.validators.oauth_challenge import bearer_challenge, parse_challenges
from mcpbridged.validators.oauth_metadata import protected_resource, server_metadata
from mcpbridged.validators.oauth_refusal import OAuthRefusal
from mcpbridged.validators.oauth_urls import configured_server
from mcpbridged.validators.x509 import blocks, read_certificate

from .target import Target, holds, same

# ---- requestState

_SIGNER = StateSigner(b"key", "process")
_OTHER = StateSigner(b"another key", "process")
_BOUND = binding("me", "tools/call", "t")


def request_state(data: bytes) -> None:
    """A state is valid for its call only. The input is a forged state, or arguments, other arguments and an inner state."""
    text = data.decode(errors="surrogateescape")
    holds("a forged state is accepted", _SIGNER.verify(_BOUND, lambda: b"{}", text) is None)
    same("process of a forged state", _SIGNER.process_of(_BOUND, text), None)
    arguments, _, rest = data.partition(b"\n")
    others, _, inner_bytes = rest.partition(b"\n")
    inner = inner_bytes.decode(errors="surrogateescape")
    sealed = _SIGNER.sign(_BOUND, arguments, inner)
    same("round trip", _SIGNER.verify(_BOUND, lambda: arguments, sealed), inner)
    same("process", _SIGNER.process_of(_BOUND, sealed), "process")
    same("another key", _OTHER.verify(_BOUND, lambda: arguments, sealed), None)
    same("another call", _SIGNER.verify(binding("you", "tools/call", "t"), lambda: arguments, sealed), None)
    at = len(data) % len(sealed)
    changed = sealed[:at] + chr((ord(sealed[at]) + 1) % 0xD800) + sealed[at + 1 :]
    same("a changed state", _SIGNER.verify(_BOUND, lambda: arguments, changed), None)
    if _SIGNER.verify(_BOUND, lambda: others, sealed) is not None and arguments != others:
        same("arguments that count as equal", json.loads(arguments), json.loads(others))


def request_state_seeds():
    sealed = _OTHER.sign(_BOUND, b"{}", "x")
    yield sealed.encode()
    yield sealed[:63].encode()
    yield b'{"a":1,"b":[1,2]}\n{ "b":[1,2], "a":1 }\ninner'
    yield b'{"a":1}\n{"a":1.0}\nx'
    yield b'{"a":9007199254740993}\n{"a":9007199254740992}\nx'
    yield b'{"a":1e400}\n{"a":null}\n'
    yield b'{"a":1,"a":2}\n{"a":2}\n'
    yield b'{"a":"\\ud800"}\n{"a":"\\ud801"}\n'


# ---- access tokens

_NOW = 1_800_000_000
_RULES = ClaimRules("https://issuer.example", "scope", 60)
_ALGORITHMS = ("ES256", "RS256")


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def access_token(data: bytes) -> None:
    """A token as it is sent, or with a line end the JSON of its header and of its claims."""
    header, newline, claims = data.partition(b"\n")
    token = f"{_part(header)}.{_part(claims)}.c2ln" if newline else data.decode("latin-1")
    try:
        found = read_header(token, _ALGORITHMS)
    except BadAccessToken as fault:
        holds("a reason is no identifier", str(fault).isidentifier())
        return
    holds("an algorithm that is not allowed", found.algorithm in _ALGORITHMS)
    given = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    same("key id", found.kid, given.get("kid"))
    try:
        read = read_claims(token, _RULES, _NOW)
    except BadAccessToken as fault:
        holds("a reason is no identifier", str(fault).isidentifier())
        return
    given = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    same("issuer", given["iss"], _RULES.issuer)
    same("subject", given["sub"], read.subject)
    holds("an expired token", read.expires > _NOW)
    audience = given["aud"]
    same("audience", read.audience, (audience,) if isinstance(audience, str) else tuple(audience))
    if covers(read.audience, "https://mcp.example", "/servers/a/mcp"):
        holds("a foreign audience", any(one.startswith("https://mcp.example") for one in read.audience))


def access_token_seeds():
    header = b'{"alg":"ES256","kid":"one","typ":"at+jwt"}'
    claims = {"iss": "https://issuer.example", "sub": "user", "aud": "https://mcp.example", "exp": _NOW + 60}
    yield header + b"\n" + json.dumps(claims).encode()
    more = {
        "scope": "a b",
        "nbf": 1,
        "iat": 1.5,
        "client_id": "c",
        "aud": ["https://mcp.example/servers/a", "b"],
    }
    yield header + b"\n" + json.dumps(claims | more).encode()
    yield header + b'\n{"iss":"https://issuer.example","exp":1e400,"exp":NaN}'
    yield header + b"\n" + json.dumps(claims | {"cnf": {}}).encode()
    yield header + b"\n" + b"[" * 3000
    yield b'{"alg":"none"}\n{}'
    yield b'{"alg":"ES256","jwk":{}}\n{}'
    yield b'{"alg":"ES256","crit":["b64"]}\n{}'
    yield b"a.b.c"
    yield f"{_part(header)}.{_part(json.dumps(claims).encode())}.c2ln".encode()


# ---- certificates


def certificate(data: bytes) -> None:
    """A certificate in DER, a file in PEM, or a name: ValueError only, and the dates and names that cryptography reads."""
    for block in blocks(data):
        try:
            decoded = block.data
        except ValueError:
            continue
        _certificate(decoded)
    _certificate(data)
    try:
        name = check_name(data.decode("latin-1"))
    except ValueError:
        return
    same("the spelling of a name", check_name(name), name)


def _certificate(der: bytes) -> None:
    try:
        found = read_certificate(der)
    except ValueError:
        return
    try:
        other = x509.load_der_x509_certificate(der)
        begin, end = other.not_valid_before_utc, other.not_valid_after_utc
        subject, issuer = other.subject.public_bytes(), other.issuer.public_bytes()
    except Exception:  # noqa: BLE001 - cryptography refuses more, with exceptions of several kinds
        return
    same("dates", (found.not_before, found.not_after), (begin, end))
    holds("subject", subject.endswith(found.subject))
    holds("issuer", issuer.endswith(found.issuer))


def certificate_seeds():
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n")])
    begins = datetime(2020, 2, 29, tzinfo=UTC)
    for builder_end in (begins + timedelta(days=1), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)):
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), 7)
            .not_valid_before(begins)
            .not_valid_after(builder_end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("h.example")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, None)
        )
        yield made.public_bytes(serialization.Encoding.DER)
        yield made.public_bytes(serialization.Encoding.PEM)
    yield b"-----BEGIN X-----\nnot base64\n-----END X-----\n"
    yield b"\x30\x84\xff\xff\xff\xff"
    yield b"\x30\x80\x00\x00"
    yield b"DNS:Host.Example"
    yield b"URI:\x1b"


# ---- OAuth

_SERVER = configured_server("https://h.example/mcp")
_ISSUER = "https://as.example"


def oauth_metadata(data: bytes) -> None:
    """The metadata of a resource and of an authorization server: OAuthRefusal only, and only addresses that are allowed."""
    try:
        resource = protected_resource(data, _SERVER)
    except OAuthRefusal as fault:
        holds("an error has control characters", str(fault).isprintable())
    else:
        holds("a server without TLS", all(one.startswith("https://") for one in resource.servers))
    for grant in ("authorization_code", "client_credentials"):
        try:
            found = server_metadata(data, _ISSUER, _SERVER, grant)
        except OAuthRefusal as fault:
            holds("an error has control characters", str(fault).isprintable())
            continue
        holds("issuer", found.issuer in (_ISSUER, f"{_ISSUER}/"))
        named = (
            found.token_endpoint,
            found.authorization_endpoint,
            found.registration_endpoint,
            found.revocation_endpoint,
        )
        holds("an endpoint without TLS", all(not one or one.lower().startswith("https://") for one in named))


def oauth_metadata_seeds():
    yield json.dumps(
        {
            "resource": "https://h.example/mcp",
            "authorization_servers": [_ISSUER, "http://x", 7],
            "scopes_supported": ["a", 7],
        }
    ).encode()
    yield json.dumps({"resource": "https://h.example/", "bearer_methods_supported": ["header"]}).encode()
    metadata = {
        "issuer": _ISSUER,
        "authorization_endpoint": f"{_ISSUER}/authorize",
        "token_endpoint": f"{_ISSUER}/token",
        "registration_endpoint": "https://as.example:8443/r?x#y",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    }
    yield json.dumps(metadata).encode()
    yield json.dumps(metadata | {"token_endpoint": "https://u:p@as.example\\@evil/\u001b"}).encode()
    yield json.dumps(metadata | {"issuer": ["x"], "token_endpoint": "javascript:x"}).encode()
    yield b'{"issuer":"https://as.example","token_endpoint":"https://[::1"}'
    yield b"[" * 2000


def oauth_challenge(data: bytes) -> None:
    """The fields WWW-Authenticate, one in a line: never an exception, and within the limits."""
    values = data.decode("latin-1").split("\n")
    found = parse_challenges(values)
    holds("too many challenges", len(found) <= 32)
    for one in found:
        same("a scheme in lower case", one.scheme, one.scheme.lower())
        holds("a name that is not in lower case", all(name == name.lower() for name in one.parameters))
    bearer = bearer_challenge(values)
    holds(
        "a challenge that is not there",
        bearer == bearer_challenge([]) or any(one.scheme == "bearer" for one in found),
    )


def oauth_challenge_seeds():
    yield b'Bearer realm="a", resource_metadata="https://h.example/x", scope="a b", error="invalid_token"'
    yield b'Basic realm="\\"a, b=c", Bearer error=insufficient_scope\nBearer'
    yield b'Negotiate abc==, DPoP algs="ES256",,, Bearer scope = "x"'
    yield b'Bearer a="' + b"\\" * 500
    yield b"Bearer " + b"a=b," * 400
    yield b"x " * 400


TARGETS = (
    Target("request_state", request_state, request_state_seeds),
    Target("access_token", access_token, access_token_seeds, 12 * 1024),
    Target("certificate", certificate, certificate_seeds),
    Target("oauth_metadata", oauth_metadata, oauth_metadata_seeds),
    Target("oauth_challenge", oauth_challenge, oauth_challenge_seeds, 20 * 1024),
)
