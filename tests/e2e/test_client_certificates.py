"""Client certificates as credentials, on every transport over TLS, and HTTP Basic."""

import base64
import hashlib
import ssl
import time

import pytest

from mcpbridged.bridge.config.credentials import new_token

from ..support.bridge_process import EXAMPLE
from ..support.client_certificates import Authority
from ..support.credential_client import Target, bearer, ended, over_http2
from ..support.daemon_process import daemon

SERVERS = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}
SPIFFE = "URI:spiffe://example.org/ci"
TOKEN = new_token()
TOKENS = {
    "tokens.ci": {"certificates": [SPIFFE, "DNS:ci.example.org", "email:ci@example.org"], "servers": ["one"]},
    "tokens.named": {
        "certificates": ["CN:by common name"],
        "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
    },
    "tokens.gone": {"certificates": ["DNS:gone.example.org"], "expires": "2020-01-01T00:00:00Z"},
}


class World:
    """Authorities, certificates and the tables of a listener with TLS."""

    def __init__(self, folder, **listen):
        self.folder = folder
        self.ours, self.clients = Authority("servers"), Authority("clients")
        certificate, key = self.ours.issue(folder, "IP:127.0.0.1", server=True)
        self.ca = folder / "clients.pem"
        self.trust(self.clients)
        self.listen = {
            "tls_cert": str(certificate),
            "tls_key": str(key),
            "tls_client_ca": str(self.ca),
            **listen,
        }

    def trust(self, *authorities):
        self.ca.write_text("".join(one.pem for one in authorities))
        self.ca.chmod(0o600)

    def target(self, running, *names, authority=None, protocols=(), **how):
        pair = None
        if names or how:
            pair = (authority or self.clients).issue(self.folder, *names, **how)
        return Target(running.address, self.ours.context(pair, protocols))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mtls")
    world = World(folder, basic=True)
    with daemon(folder, SERVERS, listen=world.listen, **TOKENS) as running:
        yield world, running


@pytest.mark.parametrize("name", [SPIFFE, "DNS:ci.example.org", "DNS:CI.example.org", "email:ci@example.org"])
def test_a_name_in_the_certificate_is_a_credential(served, name):
    world, running = served
    target = world.target(running, name)
    assert target.initialize("one").status == 200
    assert target.initialize("two").status == 403
    assert world.target(running, common_name="by common name").initialize("two").status == 200


@pytest.mark.parametrize("transport", ["http", "sse", "ws"])
def test_the_certificate_is_a_credential_on_each_transport(served, transport):
    world, running = served
    sock, reply = world.target(running, SPIFFE).open(transport, "one", {})
    with sock:
        assert reply.status in (200, 101)


def test_the_certificate_is_a_credential_over_http2(served):
    world, running = served
    target = world.target(running, SPIFFE, protocols=["h2"])
    assert over_http2(target, "/servers/one/mcp") == 200
    assert over_http2(target, "/servers/two/mcp") == 403
    assert over_http2(world.target(running, "DNS:other", protocols=["h2"]), "/servers/one/mcp") == 401
    assert over_http2(world.target(running, protocols=["h2"]), "/servers/one/mcp") == 401


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("DNS:other.example.org",),
        ("DNS:gone.example.org",),
        # The kind counts, and nothing is matched in part.
        ("DNS:spiffe",),
        ("URI:DNS:ci.example.org",),
        ("URI:spiffe://example.org/ci/more",),
        ("DNS:x.ci.example.org",),
    ],
    ids=str,
)
def test_another_certificate_is_no_credential(served, names):
    world, running = served
    assert world.target(running, *names, common_name="ci.example.org").initialize("one").status == 401


def test_a_certificate_for_two_principals_is_refused(served):
    world, running = served
    assert world.target(running, SPIFFE, common_name="by common name").initialize("one").status == 401


def test_a_token_takes_precedence_and_must_be_valid(served):
    world, running = served
    target = world.target(running, SPIFFE)
    assert target.initialize("two", bearer(TOKEN)).status == 200
    assert target.initialize("one", bearer(new_token())).status == 401
    assert world.target(running).initialize("two", bearer(TOKEN)).status == 200


@pytest.mark.parametrize(
    "how", [{"authority": Authority("strangers")}, {"seconds": -10}, {"server": True}], ids=str
)
def test_a_certificate_that_cannot_be_verified_ends_the_connection(served, how):
    world, running = served
    target = world.target(running, SPIFFE, **how)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        assert target.initialize("one").status == 0
        raise ConnectionError


def test_without_a_certificate_there_is_no_connection_where_it_is_required(tmp_path):
    world = World(tmp_path, tls_client_cert="required")
    with daemon(tmp_path, SERVERS, listen=world.listen, **TOKENS) as running:
        assert world.target(running, SPIFFE).initialize("one").status == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            assert world.target(running).initialize("two", bearer(TOKEN)).status == 0
            raise ConnectionError


def test_a_renewed_authority_counts_from_the_reload_on(tmp_path):
    world, other = World(tmp_path), Authority("new clients")
    with daemon(tmp_path, SERVERS, listen=world.listen, **TOKENS) as running:
        sock, reply = world.target(running, SPIFFE).open("sse", "one", {})
        with sock:
            assert reply.status == 200
            world.trust(other)
            running.do("reload")
            # The authority of its certificate is not trusted any more.
            assert ended(sock)
        assert world.target(running, SPIFFE, authority=other).initialize("one").status == 200
        world.ca.write_text("no certificate")
        refused = running.do("reload", check=False)
        assert (refused.returncode, str(world.ca) in refused.stderr) == (78, True)
        assert world.target(running, SPIFFE, authority=other).initialize("one").status == 200


def test_an_expired_entry_ends_the_stream_of_its_certificate(tmp_path):
    world = World(tmp_path)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6))
    tables = {"tokens.ci": {"certificates": [SPIFFE]}}
    with daemon(tmp_path, SERVERS, listen=world.listen, **tables) as running:
        text = running.config.read_text()
        running.config.write_text(text.replace("[tokens.ci]", f"[tokens.ci]\nexpires = {moment}"))
        running.reload()
        sock, reply = world.target(running, SPIFFE).open("ws", "one", {})
        with sock:
            assert reply.status == 101
            assert ended(sock)
        assert world.target(running, SPIFFE).initialize("one").status == 401


# ---- HTTP Basic


def basic(user, password):
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def test_a_token_is_the_password_of_its_name(served):
    world, running = served
    target = world.target(running)
    assert target.initialize("two", basic("named", TOKEN)).status == 200
    assert target.initialize("two", basic("owner", running.token)).status == 200
    for user, password in [
        ("named", new_token()),
        ("ci", TOKEN),
        ("owner", TOKEN),
        ("", TOKEN),
        ("named", ""),
        ("named", TOKEN + "x"),
    ]:
        assert target.initialize("two", basic(user, password)).status == 401
    for value in ("Basic", "Basic !", f"Basic {base64.b64encode(b'x').decode()}", "Basic /w==", "Digest x"):
        assert target.initialize("two", {"Authorization": value}).status == 401


def test_basic_is_refused_unless_it_is_configured(tmp_path):
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    with daemon(tmp_path, SERVERS, **{"tokens.named": {"sha256": digest}}) as running:
        assert Target(running.address).initialize("one", basic("named", TOKEN)).status == 401
        text = running.config.read_text()
        running.config.write_text(text.replace("[listen]", "[listen]\nbasic = true"))
        refused = running.do("config", "check", check=False)
        assert "basic needs tls_cert" in refused.stdout + refused.stderr


def test_basic_without_tls_is_refused(tmp_path):
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    listen = {"basic": True, "trusted_proxies": ["127.0.0.0/8"]}
    with daemon(tmp_path, SERVERS, listen=listen, **{"tokens.named": {"sha256": digest}}) as running:
        target = Target(running.address)
        for proto, expected in [
            (None, 403),
            ("http", 403),
            ("https, http", 403),
            ("https", 200),
            ("http, https", 200),
        ]:
            headers = {"X-Forwarded-Proto": proto, "X-Forwarded-For": "127.0.0.1"} if proto else {}
            assert target.initialize("one", {**basic("named", TOKEN), **headers}).status == expected
