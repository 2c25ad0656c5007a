"""Access tokens (JWT) of an issuer with a JWK Set over HTTP: good and bad ones, on every transport."""

import json
import time

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.client_certificates import Authority
from ..support.credential_client import TRANSPORTS, Target, bearer, ended, over_http2
from ..support.daemon_process import daemon
from ..support.issuer import Issuer, part, serving, with_hmac

SERVERS = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}
BASE = "https://mcp.example"
SCOPES = {"mcp": {}, "mcp:one": {"servers": ["one"]}}
METADATA = f"{BASE}/.well-known/oauth-protected-resource"


def tables(issuer, **more):
    return {"access_tokens": {"issuer": issuer.issuer, "resource": BASE, "scopes": SCOPES, **more}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A daemon that has requested the keys of an issuer."""
    theirs = Issuer()
    with (
        serving(theirs) as server,
        daemon(tmp_path_factory.mktemp("jwt"), SERVERS, **tables(theirs)) as running,
    ):
        target = Target(running.address)
        assert target.initialize("one", bearer(theirs.token(BASE))).status == 200
        yield running, theirs, target, server


def status(target, transport, token, server="one"):
    if transport == "http":
        return target.initialize(server, bearer(token))
    sock, reply = target.open(transport, server, bearer(token))
    sock.close()
    return reply


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kid", ["ec", "rsa"])
def test_a_token_is_accepted(world, transport, kid):
    _, theirs, target, _ = world
    for audience in (BASE, f"{BASE}/", f"{BASE}/servers/one/mcp", ["https://x.example", BASE]):
        assert status(target, transport, theirs.token(audience, kid=kid)).status in (200, 101)


def bad_tokens(theirs):
    """Return tokens that are refused, by the reason."""
    now = int(time.time())
    good = theirs.claims(BASE)
    pem = theirs.keys["rsa"].as_pem(private=False)
    header, payload, signature = theirs.token(BASE).split(".")
    stranger = Issuer(theirs.issuer)
    return {
        "algorithm": [
            f"{part({'alg': 'none'})}.{part(good)}.AA",
            f"{part({'alg': 'nOnE', 'kid': 'ec'})}.{part(good)}.{signature}",
            with_hmac({"alg": "HS256", "kid": "rsa"}, good, pem),
            with_hmac({"alg": "HS256", "kid": "ec"}, good, b"secret" * 8),
        ],
        "signature": [
            stranger.token(BASE),
            f"{header}.{part({**good, 'sub': 'admin'})}.{signature}",
            f"{header}.{payload}.AAAA",
            theirs.token(BASE, kid="rsa", header={"kid": "rsa", "alg": "PS256"})[:-4] + "AAAA",
        ],
        "issuer": [theirs.token(BASE, iss=f"{theirs.issuer}/"), theirs.token(BASE, iss=None)],
        "expired": [theirs.token(BASE, exp=now - 100), theirs.token(BASE, exp=None)],
        "not_yet_valid": [theirs.token(BASE, nbf=now + 1000), theirs.token(BASE, iat=now + 1000)],
        "audience": [
            theirs.token("https://other.example"),
            theirs.token(["https://other.example", f"{BASE}/servers/two/mcp"]),
            theirs.token(None),
            theirs.token("mcp.example"),
        ],
        "critical_header": [
            theirs.token(BASE, header={"crit": ["b64"], "b64": False}),
            theirs.token(BASE, header={"b64": False}),
        ],
        "key_in_header": [
            stranger.token(BASE, header={"jwk": stranger.keys["ec"].as_dict(private=False)}),
            stranger.token(BASE, header={"jku": "http://127.0.0.1:1/jwks"}),
            stranger.token(BASE, header={"x5u": "http://127.0.0.1:1/cert"}),
        ],
        "type": [theirs.token(BASE, header={"typ": "logout+jwt"})],
        "member_twice": [
            theirs.sign({"alg": "ES256", "kid": "ec"}, json.dumps(good)[:-1].encode() + b',"aud":"x"}')
        ],
        "subject": [theirs.token(BASE, sub=None)],
        "bound_to_a_key": [theirs.token(BASE, cnf={"jkt": "x"})],
    }


REASONS = sorted(bad_tokens(Issuer()))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("reason", REASONS)
def test_a_token_is_refused(world, transport, reason):
    running, theirs, target, server = world
    requested = len(server.requests)
    for token in bad_tokens(theirs)[reason]:
        reply = status(target, transport, token)
        assert reply.status == 401
        challenge = reply.headers["www-authenticate"]
        assert 'error="invalid_token"' in challenge
        assert f'resource_metadata="{METADATA}/servers/one/' in challenge
    assert len(server.requests) == requested
    assert not any(token.split(".")[1] in line for line in running.lines)


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c.d.e",
        "eyJ9.a.b",
        "." * 7000,
        "a." * 3000,
        f"{'a' * 3000}.{'a' * 3000}.a",
        f"{part({'alg': 'ES256'})}..",
        "x" * 600,
    ],
    ids=len,
)
def test_a_strange_token_is_refused(world, token):
    _, _, target, _ = world
    assert status(target, "http", token).status == 401


def test_a_token_beyond_the_limit_of_a_header_is_refused(world):
    _, theirs, target, _ = world
    assert status(target, "http", theirs.token(BASE, filler="x" * 7000)).status in (401, 431)


def test_key_ids_of_strangers_cause_no_further_requests(world):
    _, theirs, target, server = world
    for number in range(20):
        assert status(target, "http", theirs.token(BASE, header={"kid": f"../{number}"})).status == 401
    assert len(server.requests) <= 4


def test_a_scope_permits_its_servers_only(world):
    _, theirs, target, _ = world
    narrow = theirs.token(BASE, scope="openid mcp:one")
    assert target.initialize("one", bearer(narrow)).status == 200
    refused = target.initialize("two", bearer(narrow))
    assert refused.status == 403
    challenge = refused.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="mcp"' in challenge
    assert f'resource_metadata="{METADATA}/servers/two/mcp"' in challenge
    assert target.initialize("one", bearer(theirs.token(BASE, scope="openid"))).status == 403
    assert target.initialize("one", bearer(theirs.token(BASE, scope=["mcp:one"]))).status == 200


def test_a_narrower_token_of_the_same_user_reaches_no_session_of_the_wider_one(world):
    _, theirs, target, _ = world
    session = target.initialize("one", bearer(theirs.token(BASE))).headers["mcp-session-id"]
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for token, expected in [
        (theirs.token(BASE, exp=int(time.time()) + 100), 200),
        (theirs.token(BASE, scope="mcp:one"), 404),
        (theirs.token(BASE, sub="other"), 404),
    ]:
        reply = target.post("/servers/one/mcp", ping, {**bearer(token), "Mcp-Session-Id": session})
        assert reply.status == expected


def test_what_a_scope_permits_is_explained_as_it_is(world):
    running, theirs, target, _ = world
    for scope, server, code in (("mcp:one", "one", 0), ("mcp:one", "two", 1), ("mcp:one mcp", "two", 0)):
        done = running.do("rules", "--explain", f"scope:{scope}", server, "tools/list", "--json", check=False)
        found = json.loads(done.stdout)
        assert (done.returncode, found["allowed"]) == (code, not code)
        reply = target.initialize(server, bearer(theirs.token(BASE, scope=scope)))
        assert reply.status == (found["error"]["status"] if code else 200)
    done = running.do("rules", "--explain", "scope:mcp:on", "one", "ping", check=False)
    assert done.returncode == 64
    assert "did you mean 'scope:mcp:one'?" in done.stderr


def test_the_metadata_is_public_and_the_same_for_unknown_servers(world):
    _, theirs, target, _ = world
    for path in ("", "/servers/one/mcp", "/servers/none/mcp"):
        reply = target.exchange("GET", f"/.well-known/oauth-protected-resource{path}")
        assert reply.status == 200
        assert reply.json["resource"] == BASE + path
        assert reply.json["authorization_servers"] == [theirs.issuer]
    one, none = (target.initialize(name) for name in ("one", "none"))
    assert one.status == none.status == 401
    assert one.headers["www-authenticate"] == none.headers["www-authenticate"].replace("none", "one")
    assert "error" not in one.headers["www-authenticate"]
    for method, path in (("GET", "/.well-known/oauth-authorization-server"), ("POST", "/register")):
        reply = target.exchange(method, path)
        assert (reply.status, reply.json["error"]) == (404, "invalid_request")
        assert "accepts tokens of an authorization server" in reply.json["error_description"]


def test_the_tokens_of_the_configuration_are_accepted_beside_access_tokens(world):
    running, _, target, _ = world
    assert target.initialize("one", bearer(running.token)).status == 200


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stream_ends_when_the_access_token_expires(tmp_path, transport):
    theirs = Issuer()
    with serving(theirs), daemon(tmp_path, SERVERS, **tables(theirs, clock_skew_seconds=0)) as running:
        target = Target(running.address)
        assert target.initialize("one", bearer(theirs.token(BASE))).status == 200
        exp = int(time.time()) + 4
        sock, reply = target.open(transport, "one", bearer(theirs.token(BASE, exp=exp)))
        with sock:
            assert reply.status in (200, 101)
            assert ended(sock)
            assert time.time() >= exp


def test_keys_in_a_file_are_rotated_within_a_second(tmp_path):
    theirs, file = Issuer(), tmp_path / "jwks.json"
    file.write_text(json.dumps(theirs.jwks("ec")))
    with daemon(tmp_path, SERVERS, **tables(theirs, keys=str(file))) as running:
        target = Target(running.address)
        assert target.initialize("one", bearer(theirs.token(BASE))).status == 200
        sock, reply = target.open("sse", "one", bearer(theirs.token(BASE)))
        with sock:
            assert reply.status == 200
            file.write_text("{")
            file.write_text(json.dumps(theirs.jwks("rsa")))
            # The key of its token is no longer among those of the issuer.
            assert ended(sock)
        assert target.initialize("one", bearer(theirs.token(BASE))).status == 401
        assert target.initialize("one", bearer(theirs.token(BASE, kid="rsa"))).status == 200


def test_without_the_keys_the_service_is_unavailable_and_recovers(tmp_path):
    theirs = Issuer()
    with serving(theirs) as server:
        server.works = False
        with daemon(tmp_path, SERVERS, **tables(theirs)) as running:
            target = Target(running.address)
            reply = target.initialize("one", bearer(theirs.token(BASE)))
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            assert target.initialize("one", bearer(running.token)).status == 200
            server.works = True
            end = time.monotonic() + 20
            while target.initialize("one", bearer(theirs.token(BASE))).status != 200:
                assert time.monotonic() < end
                time.sleep(0.2)


def test_a_token_is_accepted_and_refused_over_http2(tmp_path):
    theirs, ours = Issuer(), Authority()
    certificate, key = ours.issue(tmp_path, "IP:127.0.0.1", server=True)
    listen = {"tls_cert": str(certificate), "tls_key": str(key)}
    with serving(theirs), daemon(tmp_path, SERVERS, listen=listen, **tables(theirs)) as running:
        target = Target(running.address, ours.context(None, ["h2"]))

        def status_of(token):
            return over_http2(target, "/servers/one/mcp", ("authorization", f"Bearer {token}"))

        # The keys may not have been read at the first request of the first connection.
        assert status_of(theirs.token(BASE)) == 200
        assert status_of(theirs.token(BASE, scope="openid")) == 403
        for reason, tokens in bad_tokens(theirs).items():
            assert [status_of(token) for token in tokens] == [401] * len(tokens), reason
