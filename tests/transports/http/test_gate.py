"""Requests at the gate, in the order of its checks."""

import base64
import socket

import pytest

from mcpbridged.transports.http import gate as gate_module
from mcpbridged.transports.http.gate import Gate, KeysNeeded, Peer, Reach, WrongCredentials, named_server
from mcpbridged.transports.options import ANONYMOUS, LOCAL
from mcpbridged.validators.access_token import BadAccessToken
from mcpbridged.validators.bearer import TokenSet
from mcpbridged.validators.client_certificate import PeerCertificate
from mcpbridged.validators.forwarded import TrustedProxies, parse_networks
from mcpbridged.validators.origin import Site
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import head
from ...support.serving import TOKEN

OTHER = "mcpb_" + "GFEDCBAzyxwvutsrqponmlkjihgfedcba9876543210"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SITE = Site.for_listener("http", "localhost", 80)
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}
PAGE = "https://page.example"


def gate(tokens=True, local=(), **more):
    return Gate(
        SITE, TokenSet({TOKEN: "owner"}, local=local) if tokens else None, frozenset({"/healthz"}), **more
    )


def status(call, *arguments):
    with pytest.raises(Rejection) as caught:
        call(*arguments)
    return caught.value.status


def test_a_token_names_its_principal():
    assert gate().admit(head(headers=BEARER)) == "owner"
    assert gate(tokens=False).admit(head()) == LOCAL


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic x"}, {"Authorization": f"Bearer {OTHER}"}])
def test_without_the_right_token_the_status_is_401(headers):
    assert status(gate().admit, head(headers=headers)) == 401


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        ("/mcp?access_token=x", {"Host": "evil.example", "Origin": PAGE}, 421),
        ("/mcp?access_token=x", {"Origin": PAGE}, 403),
        ("/mcp?access_token=x", {}, 400),
        ("/mcp", {}, 401),
    ],
)
def test_the_checks_have_an_order(target, headers, expected):
    request = head("POST", target)
    request.headers.update({name.lower(): value for name, value in headers.items()})
    assert status(gate().admit, request) == expected


def test_the_authority_of_an_absolute_target_is_checked_too():
    assert status(gate().admit, head("POST", "http://evil.example/mcp", BEARER)) == 421


def test_a_request_of_a_page_without_origin_is_refused():
    assert status(gate().admit, head(headers={**BEARER, "Sec-Fetch-Site": "cross-site"})) == 403


def test_public_paths_need_no_token():
    for target in ("/healthz", "/healthz/", "/healthz?x=1", "/.well-known/oauth-protected-resource"):
        assert gate().admit(head("GET", target)) == ANONYMOUS


def test_the_health_of_a_named_server_needs_a_token():
    assert status(gate().admit, head("GET", "/healthz?server=files")) == 401
    assert gate().admit(head("GET", "/healthz?server=files", BEARER)) == "owner"
    assert gate().admit(head("GET", "/healthz?server=")) == ANONYMOUS
    assert [named_server(query) for query in ("", "server=a&server=b", "x=1")] == ["", "a", ""]


def test_a_token_of_this_user_only_is_refused_to_other_users():
    restricted = gate(local={"owner"})
    assert restricted.admit(head(headers=BEARER), lambda: False) == "owner"
    assert status(restricted.admit, head(headers=BEARER), lambda: True) == 401
    asked = []
    assert gate().admit(head(headers=BEARER), lambda: asked.append(1)) == "owner"
    assert asked == []


def test_a_websocket_may_carry_its_token_in_a_subprotocol():
    offer = {"Sec-WebSocket-Protocol": f"mcp, bearer.{TOKEN}"}
    assert gate().admit(head("GET", "/ws", {**UPGRADE, **offer})) == "owner"
    assert gate().admit(head("GET", "/ws", {**UPGRADE, **offer, **BEARER})) == "owner"
    other = {"Sec-WebSocket-Protocol": f"mcp, bearer.{OTHER}"}
    assert status(gate().admit, head("GET", "/ws", {**UPGRADE, **other, **BEARER})) == 401
    assert status(gate().admit, head("GET", "/ws", offer)) == 401


def test_wrong_credentials_have_a_limit_in_a_second_and_right_ones_have_none():
    wrong = WrongCredentials(2)
    assert [wrong.refusal(5.9).status for _ in range(3)] == [401, 401, 429]
    assert wrong.refusal(6.0).status == 401
    assert wrong.refusal(6.5).reason == "credential_wrong"
    limited = gate(wrong=WrongCredentials(0))
    assert status(limited.admit, head(headers={"Authorization": f"Bearer {OTHER}"})) == 429
    assert limited.admit(head(headers=BEARER)) == "owner"


def test_the_aggregate_names_the_principal_that_it_works_for():
    delegating = gate(tokens=False, delegates=lambda _pid, _principal, _path: True)
    assert delegating.admit(head()) == LOCAL
    assert delegating.admit(head(headers={"Mcp-Bridge-Principal": "alice"})) == "alice"
    assert status(delegating.admit, head(headers={"Mcp-Bridge-Principal": "Alice!"})) == 400
    assert gate(tokens=False).admit(head(headers={"Mcp-Bridge-Principal": "alice"})) == LOCAL


@pytest.mark.parametrize("name", ["Mcp-Bridge-Principal", "Mcp-Bridge-Client"])
def test_another_process_may_not_name_a_principal_or_client(name, monkeypatch):
    monkeypatch.setattr(gate_module, "pid_of_peer", lambda _sock: 7)
    delegating = gate(tokens=False, delegates=lambda pid, _principal, _path: pid == 8)
    with socket.socket() as sock:
        assert status(delegating.check_delegate, head(headers={name: "x"}), sock) == 403
        delegating.check_delegate(head(), sock)
        gate().check_delegate(head(headers={name: "x"}), sock)
        monkeypatch.setattr(gate_module, "pid_of_peer", lambda _sock: 8)
        delegating.check_delegate(head(headers={name: "x"}), sock)


def test_a_path_of_a_member_is_for_the_process_of_its_aggregate_and_principal(monkeypatch):
    monkeypatch.setattr(gate_module, "pid_of_peer", lambda _sock: 7)
    path = "/aggregates/dev/members/git/ws"
    delegating = gate(tokens=False, delegates=lambda *given: given == (7, "alice", path))
    with socket.socket() as sock:
        delegating.check_delegate(head("GET", path, {"Mcp-Bridge-Principal": "alice"}), sock)
        for headers in ({}, {"Mcp-Bridge-Principal": "bob"}):
            assert status(delegating.check_delegate, head("GET", path, headers), sock) == 403


# ---- headers of the Unix socket


def on_unix(**more):
    return gate(
        tokens=False, delegates=lambda _pid, _principal, _path: True, named=lambda: {"reader"}, **more
    )


def refusal_of(call, *arguments):
    with pytest.raises(Rejection) as caught:
        call(*arguments)
    return caught.value.status, caught.value.text


def test_the_owner_may_name_a_token_to_have_its_rights_only():
    assert on_unix().admit(head(headers={"Mcp-Token-Name": "reader"})) == "reader"
    assert refusal_of(on_unix().admit, head(headers={"Mcp-Token-Name": "writer"})) == (
        403,
        "there is no token 'writer': no table [tokens.writer]",
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Mcp-Token-Name": ""},
        {"Mcp-Token-Name": "re.ader"},
        {"Mcp-Token-Name": "reader,reader"},
        {"Mcp-Token-Name": "reader", "Mcp-Bridge-Principal": "owner"},
    ],
)
def test_a_token_has_one_name(headers):
    assert status(on_unix().admit, head(headers=headers)) == 400


@pytest.mark.parametrize("name", ["local", "owner"])
def test_no_principal_without_a_token_can_be_named(name):
    assert status(on_unix().admit, head(headers={"Mcp-Token-Name": name})) == 403


@pytest.mark.parametrize("tokens", [True, False], ids=["token", "no token"])
@pytest.mark.parametrize("header", ["Mcp-Cwd", "Mcp-Token-Name"])
def test_over_tcp_the_headers_of_the_unix_socket_are_refused(header, tokens):
    found = refusal_of(gate(tokens=tokens).admit, head(headers={**BEARER, header: "reader"}))
    assert found == (403, f"{header} is for clients of the Unix socket only")
    if tokens:
        assert status(gate().admit, head(headers={header: "reader"})) == 401
    # Public paths need no credential, and no check of what it could be narrowed to.
    assert gate().admit(head(target="/healthz", headers={header: "reader"})) == ANONYMOUS
    assert on_unix().admit(head(headers={"Mcp-Cwd": "/"})) == LOCAL


def preflight(gate_, origin=PAGE, headers="x-custom, Mcp-Param-Region", method="OPTIONS"):
    return gate_.preflight(
        head(
            method,
            "/mcp",
            {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": headers,
            },
        )
    )


def shared(**more):
    site = Site.for_listener("http", "localhost", 80, extra_origins=[PAGE])
    return Gate(site, TokenSet({TOKEN: "owner"}), frozenset(), shared_with=frozenset({PAGE}), **more)


def test_a_preflight_of_an_allowed_origin_needs_no_token():
    headers = dict(
        preflight(shared(bringing=lambda: {"x-brought"}), headers="X-Brought, x-custom, mcp-param-a")
    )
    assert headers[b"Access-Control-Allow-Origin"] == PAGE.encode()
    allowed = headers[b"Access-Control-Allow-Headers"].decode().split(", ")
    assert allowed[-2:] == ["X-Brought", "mcp-param-a"]
    assert "x-custom" not in allowed


def test_other_requests_are_no_preflights():
    assert preflight(shared(), method="POST") is None
    assert shared().preflight(head("OPTIONS", "/mcp", {"Origin": PAGE})) is None
    assert preflight(shared(), origin="http://localhost") is None
    assert status(preflight, shared(), "https://evil.example") == 403


def test_only_allowed_foreign_origins_get_cors_headers():
    assert dict(shared().cors(head(headers={"Origin": PAGE})))[b"Vary"] == b"Origin"
    assert shared().cors(head(headers={"Origin": "http://localhost"})) == ()
    assert shared().cors(head()) == ()


# ---- access tokens


class JwtsOnly:
    """Access tokens: `good.x.y` is accepted; every other JWT is refused; `new.x.y` needs keys that are there later."""

    def __init__(self):
        self.waited = 0
        self.keys_help = True

    def principal(self, token, path):
        assert path == "/mcp"
        if token.count(".") != 2:
            return None
        if token == "new.x.y" and not (self.waited and self.keys_help):
            raise KeysNeeded(self._wait)
        if token.startswith(("good", "new")):
            return "_jwt-1"
        raise BadAccessToken("audience")

    async def _wait(self):
        self.waited += 1

    def challenge(self, path, error, description):
        return f"Bearer path={path} error={error} {description}".encode()


def with_jwts(**more):
    accepted = JwtsOnly()
    return accepted, gate(access_tokens=lambda: accepted, **more)


def refused_token(ours, token):
    with pytest.raises(Rejection) as caught:
        ours.admit(head(headers={"Authorization": f"Bearer {token}"} if token else {}))
    return caught.value


def test_access_tokens_are_accepted_beside_tokens():
    _, ours = with_jwts()
    assert ours.admit(head(headers={"Authorization": "Bearer good.x.y"})) == "_jwt-1"
    assert ours.admit(head(headers=BEARER)) == "owner"
    assert refused_token(gate(), "good.x.y").headers == ((b"WWW-Authenticate", b"Bearer"),)


def test_a_refusal_has_the_challenge_of_a_protected_resource():
    _, ours = with_jwts()
    for token, error, reason in [
        ("", "", "credential_missing"),
        ("bad.x.y", "invalid_token", "access_token_audience"),
        (OTHER, "invalid_token", "credential_wrong"),
        ("!", "invalid_token", "credential_malformed"),
    ]:
        refused = refused_token(ours, token)
        assert (refused.status, refused.reason) == (401, reason)
        [(name, value)] = refused.headers
        assert name == b"WWW-Authenticate"
        assert value.startswith(f"Bearer path=/mcp error={error} ".encode())


def test_guesses_of_access_tokens_count_as_wrong_credentials():
    _, ours = with_jwts(wrong=WrongCredentials(2))
    assert [refused_token(ours, "bad.x.y").status for _ in range(3)] == [401, 401, 429]


@pytest.mark.anyio
@pytest.mark.parametrize("keys_help", [True, False])
async def test_a_request_waits_once_for_keys(keys_help):
    accepted, ours = with_jwts()
    accepted.keys_help = keys_help
    request = head(headers={"Authorization": "Bearer new.x.y"})
    if keys_help:
        assert await ours.admit_after_keys(request, lambda: False, Peer()) == "_jwt-1"
    else:
        with pytest.raises(Rejection) as caught:
            await ours.admit_after_keys(request, lambda: False, Peer())
        assert (caught.value.status, caught.value.reason) == (401, "access_token_unknown_key")
    assert accepted.waited == 1


# ---- other machines, certificates and HTTP Basic

PROXIES = TrustedProxies(parse_networks(["10.0.0.1"]))
FAR, PROXY, NEAR = Peer("198.51.100.7"), Peer("10.0.0.1"), Peer("127.0.0.1")
CERTIFICATE = PeerCertificate(frozenset({"DNS:ci"}), 5)


def reaching(peer, headers=BEARER, **keys):
    ours = gate(reach=Reach(PROXIES, **keys))
    try:
        return ours.admit(head(headers=headers), lambda: False, peer)
    except Rejection as rejection:
        return rejection.status


def test_another_machine_needs_tls_or_a_trusted_proxy_that_has_it():
    secure = {**BEARER, "X-Forwarded-Proto": "https"}
    assert reaching(FAR, needs_tls=True) == 403
    assert reaching(FAR, secure, needs_tls=True) == 403
    assert reaching(Peer("198.51.100.7", tls=True), needs_tls=True) == "owner"
    assert reaching(PROXY, needs_tls=True) == 403
    assert reaching(PROXY, secure, needs_tls=True) == "owner"
    assert reaching(NEAR, needs_tls=True) == "owner"
    assert reaching(Peer("::ffff:127.0.0.1"), needs_tls=True) == "owner"
    assert reaching(FAR) == "owner"


def test_a_principal_of_this_machine_is_refused_from_another_one():
    here = {"here_only": frozenset({"owner"})}
    assert reaching(NEAR, **here) == "owner"
    assert reaching(FAR, **here) == 401
    assert reaching(PROXY, {**BEARER, "X-Forwarded-For": "127.0.0.1"}, **here) == "owner"
    assert reaching(PROXY, {**BEARER, "X-Forwarded-For": "198.51.100.7"}, **here) == 401
    assert reaching(NEAR, {**BEARER, "X-Forwarded-For": "198.51.100.7"}, **here) == "owner"
    without = gate(reach=Reach(**here))
    assert without.admit(head(headers=BEARER), lambda: False, NEAR) == "owner"
    assert status(without.admit, head(headers=BEARER), lambda: False, FAR) == 401


def test_a_certificate_is_a_credential_unless_a_token_is_sent():
    shown = Peer("198.51.100.7", tls=True, certificate=CERTIFICATE)
    find = {"certificates": lambda found: "ci" if found == CERTIFICATE else None}
    assert reaching(shown, {}, **find) == "ci"
    assert reaching(shown, BEARER, **find) == "owner"
    assert reaching(shown, {"Authorization": f"Bearer {OTHER}"}, **find) == 401
    assert reaching(shown, {**UPGRADE, "Sec-WebSocket-Protocol": f"bearer.{OTHER}"}, **find) == 401
    assert reaching(shown, {}) == 401
    assert reaching(FAR, {}, **find) == 401
    assert reaching(shown, {}, certificates=lambda _: None) == 401


def test_basic_needs_tls_and_the_name_of_the_token():
    def basic(user, password=TOKEN):
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}

    secure = Peer("198.51.100.7", tls=True)
    assert reaching(secure, basic("owner")) == 401
    assert reaching(secure, basic("owner"), takes_basic=True) == "owner"
    assert reaching(secure, basic("other"), takes_basic=True) == 401
    assert reaching(secure, basic("owner", OTHER), takes_basic=True) == 401
    assert reaching(NEAR, basic("owner"), takes_basic=True) == 403
    assert reaching(secure, BEARER, takes_basic=True) == "owner"
    # An access token is no password.
    accepted = JwtsOnly()
    ours = gate(access_tokens=lambda: accepted, reach=Reach(takes_basic=True))
    assert status(ours.admit, head(headers=basic("_jwt-1", "good.x.y")), lambda: False, secure) == 401
