"""An MCP server and its authorization server in one, on the loopback. Tests change its documents and responses at will.

It is strict about PKCE, redirect URIs, client authentication, resources and the rotation of refresh tokens, so that a client
that leaves something out fails. `AuthorizationServer.changes` replaces members of its documents; ABSENT removes one.
"""

import base64
import hashlib
import json
import secrets
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import attrs
import trio

from .known_secrets import remember
from .scripted_http import scripted_server

ABSENT = object()
RESOURCE_PATH = "/.well-known/oauth-protected-resource"
SERVER_PATH = "/.well-known/oauth-authorization-server"


@attrs.define(eq=False)
class Received:
    """One request: its target, its header fields in lower case, and its body."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes

    @property
    def form(self):
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


class OAuthError(Exception):
    """An error response."""

    def __init__(self, code, status=400):
        super().__init__(code)
        self.code, self.status = code, status


@attrs.define(eq=False, slots=False)
class AuthorizationServer:
    # The URL of the MCP server, and the issuer.
    url: str
    origin: str
    # Members of a document that are changed: "resource", "server", "token", "registration", by name.
    changes: dict = attrs.field(
        factory=lambda: {"resource": {}, "server": {}, "token": {}, "registration": {}}
    )
    # Responses that replace the usual one, by path: (status, body) or a function of the request that returns it.
    replaced: dict = attrs.field(factory=dict)
    # Added to each response, by path.
    fields: dict = attrs.field(factory=dict)
    challenge: str | None = None
    # Scopes that the MCP server requires for a request with the method of this name.
    required: dict = attrs.field(factory=dict)
    # Scopes that are issued, None for all.
    issued: tuple | None = None
    # Clients by ID: (secret, authentication method, redirect URIs).
    clients: dict = attrs.field(factory=dict)
    received: list = attrs.field(factory=list)
    # Valid access tokens with their scopes, codes and refresh tokens with what they are for.
    tokens: dict = attrs.field(factory=dict)
    codes: dict = attrs.field(factory=dict)
    refreshes: dict = attrs.field(factory=dict)
    # Refresh tokens that were used: using one again is a sign of theft.
    used: set = attrs.field(factory=set)
    revoked: list = attrs.field(factory=list)
    # Parameters that a redirect has beside `code` and `state`.
    redirected: dict = attrs.field(factory=dict)
    # Waited for before each token response, if it is set.
    gate: trio.Event | None = None

    def requests(self, path):
        return [one for one in self.received if one.path == path]

    def documents(self):
        """Return the documents by path."""
        origin = self.origin
        return {
            f"{RESOURCE_PATH}/mcp": self._changed(
                "resource",
                {"resource": self.url, "authorization_servers": [origin], "scopes_supported": ["mcp:basic"]},
            ),
            SERVER_PATH: self._changed(
                "server",
                {
                    "issuer": origin,
                    "authorization_endpoint": f"{origin}/authorize",
                    "token_endpoint": f"{origin}/token",
                    "registration_endpoint": f"{origin}/register",
                    "revocation_endpoint": f"{origin}/revoke",
                    "response_types_supported": ["code"],
                    "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                    "token_endpoint_auth_methods_supported": [
                        "none",
                        "client_secret_basic",
                        "client_secret_post",
                        "private_key_jwt",
                    ],
                    "code_challenge_methods_supported": ["S256"],
                    "authorization_response_iss_parameter_supported": True,
                },
            ),
        }

    def _changed(self, name, base):
        both = {**base, **self.changes[name]}
        return {key: value for key, value in both.items() if value is not ABSENT}

    async def respond(self, request):
        """Return status, body and further header fields."""
        self.received.append(request)
        fields = tuple(self.fields.get(request.path, ()))
        replaced = self.replaced.get(request.path)
        if replaced is not None:
            status, body = replaced(request) if callable(replaced) else replaced
            return status, body, fields
        if request.path == urlsplit(self.url).path:
            return self._protected(request)
        documents = self.documents()
        if request.path in documents:
            return 200, json.dumps(documents[request.path]).encode(), fields
        handlers = {"/register": self._register, "/token": self._token, "/revoke": self._revoke}
        if request.path not in handlers:
            return 404, b"", fields
        if request.path == "/token" and self.gate is not None:
            await self.gate.wait()
        try:
            status, answer = handlers[request.path](request)
        except OAuthError as fault:
            status, answer = fault.status, {"error": fault.code}
        return status, json.dumps(answer).encode(), fields

    def _protected(self, request):
        """Respond as the MCP server: with a challenge, or with the scopes of the token."""
        metadata = f'resource_metadata="{self.origin}{RESOURCE_PATH}/mcp"'
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            challenge = f"Bearer {metadata}" if self.challenge is None else self.challenge
            return 401, b"", ((f"WWW-Authenticate: {challenge}".encode(),) if challenge else ())
        needed = self.required.get(request.query.get("do", ""), ())
        if not set(needed) <= set(self.tokens[token]):
            challenge = f'Bearer error="insufficient_scope", scope="{" ".join(needed)}", {metadata}'
            return 403, b"", (f"WWW-Authenticate: {challenge}".encode(),)
        return 200, " ".join(self.tokens[token]).encode(), ()

    def _register(self, request):
        asked = json.loads(request.body)
        assert asked["application_type"] == "native"
        client = f"client-{len(self.clients)}"
        method = asked["token_endpoint_auth_method"]
        answer = {**asked, "client_id": client}
        if method != "none":
            answer["client_secret"] = remember(f"secret of {client}")
        answer = self._changed("registration", answer)
        self.clients[client] = (
            answer.get("client_secret", ""),
            answer.get("token_endpoint_auth_method", method),
            asked["redirect_uris"],
        )
        return 201, answer

    def _client(self, request):
        """Return the client ID of an authenticated request."""
        form, header = request.form, request.headers.get("authorization", "")
        if header.startswith("Basic "):
            pair = base64.b64decode(header[6:]).decode()
            client, secret = (unquote_plus(part) for part in pair.split(":"))
            used = "client_secret_basic"
            assert "client_secret" not in form
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
            used = "client_secret_post" if secret else "none"
            used = "private_key_jwt" if "client_assertion" in form else used
        known = self.clients.get(client)
        if known is None or known[0] != secret or known[1] != used:
            raise OAuthError("invalid_client", 401)
        return client

    def authorize(self, url):
        """Return the redirect of a user who consents at this authorization URL."""
        assert url.startswith(f"{self.origin}/authorize?")
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["resource"] == self.changes["resource"].get("resource", self.url)
        known = self.clients.get(asked["client_id"])
        assert known is None or not known[2] or asked["redirect_uri"] in known[2]
        code = remember(f"code-{secrets.token_urlsafe(8)}")
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.origin, **self.redirected}
        answer = {key: value for key, value in answer.items() if value is not ABSENT}
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def _token(self, request):
        form, client = request.form, self._client(request)
        assert form["resource"] == self.changes["resource"].get("resource", self.url)
        kind = form["grant_type"]
        if kind == "authorization_code":
            asked = self.codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if asked is None or asked["client_id"] != client or asked["code_challenge"] != challenge:
                raise OAuthError("invalid_grant")
            assert asked["redirect_uri"] == form["redirect_uri"]
            scopes = tuple(asked.get("scope", "").split())
        elif kind == "refresh_token":
            if form["refresh_token"] in self.used:
                # A used one was stolen: all of the client's tokens are revoked (OAuth 2.1 section 4.3.1).
                self.refreshes.clear()
                self.tokens.clear()
            of_client, scopes = self.refreshes.pop(form["refresh_token"], ("", ()))
            if of_client != client:
                raise OAuthError("invalid_grant")
            self.used.add(form["refresh_token"])
        else:
            scopes = tuple(form.get("scope", "").split())
        return 200, self._issue(client, scopes, refresh=kind != "client_credentials")

    def _issue(self, client, scopes, *, refresh):
        if self.issued is not None:
            scopes = tuple(scope for scope in scopes if scope in self.issued)
        access = remember(f"access-{secrets.token_urlsafe(16)}")
        self.tokens[access] = scopes
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": " ".join(scopes),
        }
        if refresh:
            answer["refresh_token"] = remember(f"refresh-{secrets.token_urlsafe(16)}")
            self.refreshes[answer["refresh_token"]] = (client, scopes)
        return self._changed("token", answer)

    def _revoke(self, request):
        self._client(request)
        token = request.form["token"]
        self.revoked.append(token)
        self.tokens.pop(token, None)
        self.refreshes.pop(token, None)
        return 200, {}


@asynccontextmanager
async def authorization_server():
    """Run an AuthorizationServer."""
    holder = {}

    async def script(peer):
        while (found := await peer.request()) is not None:
            head, body = found
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            parts = urlsplit(target)
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            request = Received(method, parts.path, dict(parse_qsl(parts.query)), headers, body)
            status, answer, fields = await holder["server"].respond(request)
            await peer.answer(answer, b"%d X" % status, b"Content-Type: application/json", *fields)

    async with scripted_server(script) as scripted:
        holder["server"] = AuthorizationServer(scripted.url, scripted.url.removesuffix("/mcp"))
        yield holder["server"]


class User:
    """A user who follows each link (`bridge.oauth.flow.Prompt`). `links` are those that were shown.

    With `types` the user copies the redirect URL into the terminal instead of following it.
    """

    def __init__(self, server, nursery, *, types=False):
        self.servers = [server]
        self.links = []
        self.pages = []
        self._nursery = nursery
        self._types = types
        self._send, self._receive = trio.open_memory_channel(16)

    def show(self, url):
        self.links.append(url)
        [server] = [one for one in self.servers if url.startswith(f"{one.origin}/")]
        redirect = server.authorize(url)
        if self._types:
            self._send.send_nowait(redirect)
        else:
            self._nursery.start_soon(self._follow, redirect)

    async def _follow(self, url):
        self.pages.append(await visit(url))

    async def typed(self, accept):
        url = await self._receive.receive()
        return accept(urlsplit(url).query)


async def visit(url, method="GET", host=None):
    """Return the response to a request of a browser, as text."""
    parts = urlsplit(url)
    stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    async with stream:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        await stream.send_all(f"{method} {target} HTTP/1.1\r\nHost: {host or parts.netloc}\r\n\r\n".encode())
        answer = b""
        with trio.fail_after(10):
            while data := await stream.receive_some(4096):
                answer += data
    return answer.decode()
