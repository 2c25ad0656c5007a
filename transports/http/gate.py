"""The gate that every request of every transport passes: Host, Origin, credential, CORS.

Each check is a pure function of `validators`. Only `Gate.admit` returns principals. The order is: Host, Origin, tokens in the
query, public paths, credential.
"""

import re
import socket
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Final, Protocol
from urllib.parse import parse_qs

import attrs

from ...validators import access_token
from ...validators.access_token import BadAccessToken
from ...validators.bearer import (
    LONGEST_TOKEN,
    TokenSet,
    basic_credential,
    bearer_token,
    offered_token,
    refuse_query_token,
    unauthorized,
)
from ...validators.client_certificate import PeerCertificate
from ...validators.client_directory import DIRECTORY_HEADER
from ...validators.counted import counted
from ...validators.forwarded import NO_PROXIES, TrustedProxies, parse_address
from ...validators.http_head import TCHAR, Head
from ...validators.limits import Limits
from ...validators.origin import Site
from ...validators.rejection import INVALID_REQUEST, Rejection, retry_after
from ..client_process import CLIENT_HEADER, PRINCIPAL_HEADER, pid_of_peer
from ..options import ANONYMOUS, LOCAL, Headers, aggregate_of, both_spellings, is_discovery

_PREFLIGHT: Headers = (
    (b"Access-Control-Allow-Methods", b"POST, GET, DELETE, OPTIONS"),
    (b"Access-Control-Max-Age", b"600"),
)
_HEADERS: Final = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID"
# Tools name the headers that mirror their arguments, so all are allowed (MCP 2026-07-28 basic/transports).
_MIRRORING: Final = re.compile(rf"mcp-param-{TCHAR}++", re.IGNORECASE)

# Request header in which the owner asks to be treated as the principal of a token, on the Unix socket.
_NAMED_TOKEN: Final = "mcp-token-name"  # noqa: S105 - the name of a header
# Headers with which the aggregate names the client that a connection works for.
_DELEGATING: Final = frozenset({PRINCIPAL_HEADER, CLIENT_HEADER})
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
# The refusal kind of wrong credentials, for both statuses 401 and 429.
_WRONG: Final = "credential_wrong"


def _allowed(requested: str, others: Container[str]) -> bytes:
    names = map(str.strip, requested.split(","))
    more = [name for name in names if _MIRRORING.fullmatch(name) or name.lower() in others]
    return ", ".join([_HEADERS, *more]).encode("ascii")


def _delegated(principal: str) -> str:
    if not _PRINCIPAL.fullmatch(principal):
        raise Rejection(400, INVALID_REQUEST, "Mcp-Bridge-Principal is not the name of a principal")
    return principal


def _refuse_unix_headers(headers: Mapping[str, str]) -> None:
    """Raise Rejection 403 for a header that a TCP client must not rely on: it would get more than it has asked for."""
    if DIRECTORY_HEADER in headers:
        raise Rejection(403, INVALID_REQUEST, "Mcp-Cwd is for clients of the Unix socket only")
    if _NAMED_TOKEN in headers:
        raise Rejection(403, INVALID_REQUEST, "Mcp-Token-Name is for clients of the Unix socket only")


class KeysNeeded(Exception):
    """Raised for an access token whose key may be published meanwhile. `wait` waits for the keys, for a limited time."""

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.wait = wait


class AccessTokens(Protocol):
    """Access tokens (JWT) of an authorization server, which are credentials beside the tokens of the configuration."""

    def principal(self, token: str, path: str) -> str | None:
        """Return the principal of a token for a path, or None for one that is no JWT.

        Raises BadAccessToken, KeysNeeded and Rejection 503.
        """
        ...

    def challenge(self, path: str, error: str, description: str) -> bytes:
        """Return the value of WWW-Authenticate for a path. `error` is empty where no credential was sent."""
        ...


@attrs.frozen
class Peer:
    """What is known of the peer of a connection: its IP address (empty for a Unix socket), TLS, and its certificate."""

    address: str = ""
    tls: bool = False
    certificate: PeerCertificate | None = None

    @property
    def is_here(self) -> bool:
        """Return whether the peer is on this machine, as far as its address shows."""
        return not self.address or _is_loopback(self.address)


UNKNOWN_PEER: Final = Peer()


def _is_loopback(address: str) -> bool:
    found = parse_address(address)
    return found is not None and found.is_loopback


@attrs.frozen
class Reach:
    """Who may use a listener that other machines can reach, and which credentials beside tokens there are.

    `proxies` are the trusted reverse proxies. With `needs_tls` a peer that has no TLS must be a trusted proxy that has, or be on
    this machine. `here_only` are principals that are valid on this machine only. `certificates` returns the principal for a
    verified client certificate, or None. `takes_basic` is whether a token may be sent as the password of HTTP Basic.
    """

    proxies: TrustedProxies = NO_PROXIES
    needs_tls: bool = False
    here_only: frozenset[str] = frozenset()
    certificates: Callable[[PeerCertificate], str | None] | None = None
    takes_basic: bool = False

    def client_address(self, head: Head, peer: Peer) -> str:
        """Return the address of the client of a request; empty if it is not known."""
        return self.proxies.client(peer.address, head.headers.get(self.proxies.header))

    def is_secure(self, head: Head, peer: Peer) -> bool:
        """Return whether the client has sent its request with TLS, as far as that is known."""
        headers = head.headers
        return peer.tls or self.proxies.is_secure(
            peer.address, headers.get("x-forwarded-proto"), headers.get("forwarded")
        )

    def is_here(self, head: Head, peer: Peer) -> bool:
        """Return whether the client is on this machine, as far as its address shows."""
        if not self.proxies.networks:
            return peer.is_here
        address = self.client_address(head, peer)
        return not peer.address or _is_loopback(address)

    def check(self, head: Head, peer: Peer) -> None:
        """Raise Rejection 403 for a request that has come from another machine without TLS."""
        if self.needs_tls and not peer.is_here and not self.is_secure(head, peer):
            raise Rejection(
                403,
                INVALID_REQUEST,
                "other machines are served with TLS only: https, or a proxy in trusted_proxies that was reached with https",
                close=True,
                reason="plain_http_from_other_machine",
            )


def no_access_tokens() -> AccessTokens | None:
    """Return None: no access token is accepted."""
    return None


def unknown_origin() -> bool:
    """Return False: the uid of the peer is not known to differ."""
    return False


def named_server(query: str) -> str:
    """Return the first value of `server` in a query, or an empty text."""
    return parse_qs(query).get("server", [""])[0]


class WrongCredentials:
    """Limit the rate of 401 responses: above `most` wrong credentials in a second, the response is 429."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._count = 0

    def refusal(self, now: float) -> Rejection:
        """Return the Rejection of a wrong credential at this time (seconds)."""
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        if self._count <= self._most:
            return unauthorized(_WRONG)
        return Rejection(
            429,
            INVALID_REQUEST,
            f"the limit of {counted(self._most, 'wrong credential')} in a second is reached",
            headers=retry_after(1),
            reason=_WRONG,
        )


class Pages(Protocol):
    """Web pages of the daemon on one listener. Their requests may have a cookie in place of a token."""

    def covers(self, path: str) -> bool:
        """Return whether a path is that of a page, or of something that only pages request."""
        ...

    def admit(self, head: Head, is_foreign: Callable[[], bool]) -> str | None:
        """Return the principal of a request for a covered path, or None if its token decides. Raises Rejection.

        The Host and the Origin of the request were checked.
        """
        ...


@attrs.frozen
class Gate:
    """Decide which requests one listener admits.

    `tokens` is None where no credential is required (`--no-auth`, or a Unix socket whose peer credentials were checked in
    accept). `health` are paths without a credential, unless the query names a server; OAuth discovery needs none either.
    `shared_with` are the foreign origins that the operator allows; only these get CORS headers. `bringing` returns further
    headers that pages may send, in lower case. On the Unix socket `delegates` returns whether the process with a pid may send
    requests in the name of a principal to a path, as aggregates do. Elsewhere it is None, and such headers are ignored. `named` are
    the tokens of the configuration, which the owner may name on the Unix socket to be treated as their principals. `pages`
    are the web pages of a TCP listener. `access_tokens` returns the accepted access tokens, or None.

    Invariants: a request with the header Mcp-Cwd comes from the Unix socket. A cookie is read for the paths of `pages` only.
    """

    site: Site
    tokens: TokenSet | None
    health: frozenset[str] = attrs.field(converter=both_spellings)
    shared_with: frozenset[str] = frozenset()
    bringing: Callable[[], Container[str]] = frozenset
    delegates: Callable[[int, str, str], bool] | None = None
    named: Callable[[], Container[str]] = frozenset
    wrong: WrongCredentials = attrs.field(
        factory=lambda: WrongCredentials(Limits().wrong_credentials_per_second)
    )
    pages: Pages | None = None
    access_tokens: Callable[[], AccessTokens | None] = no_access_tokens
    reach: Reach = Reach()

    def admit(
        self, head: Head, is_foreign: Callable[[], bool] = unknown_origin, peer: Peer = UNKNOWN_PEER
    ) -> str:
        """Return the principal of a request, or ANONYMOUS on a public path.

        `is_foreign` returns whether the peer is known to be a process of another uid; it is called for tokens that are
        restricted to this uid only. Raises KeysNeeded, and Rejection 421 (Host), 403 (Origin, Sec-Fetch-Site), 400 (a token in the
        query), 401, and 429 for too many wrong credentials. Correct credentials are never limited.
        """
        headers = head.headers
        self._check_site(head)
        if self.reach.needs_tls:
            self.reach.check(head, peer)
        if head.query:
            refuse_query_token(head.query)
        # The response for a named server would reveal whether it exists, so it needs the credential.
        if head.path in self.health and not (head.query and named_server(head.query)):
            return ANONYMOUS
        if is_discovery(head.path):
            return ANONYMOUS
        if self.delegates is not None:
            return self._principal_on_unix(headers)
        if self.pages is not None and self.pages.covers(head.path):
            principal = self.pages.admit(head, is_foreign)
            if principal is not None:
                return principal
            if self.tokens is None:
                raise unauthorized("credential_missing")
        principal = LOCAL if self.tokens is None else self._principal_of_credential(head, is_foreign, peer)
        _refuse_unix_headers(headers)
        return principal

    async def admit_after_keys(self, head: Head, is_foreign: Callable[[], bool], peer: Peer) -> str:
        """Return the principal as `admit`, where that may need keys that must be fetched. Raises Rejection."""
        try:
            return self.admit(head, is_foreign, peer)
        except KeysNeeded as needed:
            await needed.wait()
        try:
            return self.admit(head, is_foreign, peer)
        except KeysNeeded:
            raise self._challenged(head, self.wrong.refusal(time.monotonic()), "unknown_key") from None

    def _principal_on_unix(self, headers: Mapping[str, str]) -> str:
        """Return the principal of a peer whose uid was checked: the owner, or a narrower one that it names."""
        delegated, token = headers.get(PRINCIPAL_HEADER), headers.get(_NAMED_TOKEN)
        if token is None:
            return LOCAL if delegated is None else _delegated(delegated)
        if delegated is not None or not _PRINCIPAL.fullmatch(token):
            raise Rejection(400, INVALID_REQUEST, "Mcp-Token-Name is not the name of one token")
        if token not in self.named():
            raise Rejection(403, INVALID_REQUEST, f"there is no token {token!r}: no table [tokens.{token}]")
        return token

    def _principal_of_credential(self, head: Head, is_foreign: Callable[[], bool], peer: Peer) -> str:
        principal = self._principal_of_certificate(head, peer)
        if principal is not None:
            return principal
        access_tokens = self.access_tokens()
        if access_tokens is None:
            return self._principal_of_token(head, is_foreign, peer, None)
        try:
            return self._principal_of_token(head, is_foreign, peer, access_tokens)
        except BadAccessToken as fault:
            raise self._challenged(head, self.wrong.refusal(time.monotonic()), str(fault)) from None
        except Rejection as rejection:
            raise self._challenged(head, rejection, "") from None

    def _challenged(self, head: Head, rejection: Rejection, fault: str) -> Rejection:
        """Return a refusal with the challenge of a protected resource (RFC 9728 section 5.1), if its status is 401.

        `fault` is the reason why an access token was refused, or empty.
        """
        access_tokens = self.access_tokens()
        if rejection.status != 401 or access_tokens is None:
            return rejection
        sent = rejection.reason != "credential_missing"
        challenge = access_tokens.challenge(
            head.path, "invalid_token" if sent else "", f"the token is refused{f': {fault}' if fault else ''}"
        )
        return unauthorized(f"access_token_{fault}" if fault else rejection.reason, challenge)

    def _principal_of_certificate(self, head: Head, peer: Peer) -> str | None:
        """Return the principal of a client certificate, None for a request with another credential."""
        find, headers = self.reach.certificates, head.headers
        if find is None or peer.certificate is None or "authorization" in headers:
            return None
        if offered_token(headers.get("sec-websocket-protocol", ""), access_token.LONGEST) is not None:
            return None
        return find(peer.certificate)

    def _principal_of_token(
        self, head: Head, is_foreign: Callable[[], bool], peer: Peer, access_tokens: AccessTokens | None
    ) -> str:
        headers, tokens = head.headers, self.tokens
        longest = LONGEST_TOKEN if access_tokens is None else access_token.LONGEST
        basic = basic_credential(headers.get("authorization")) if self.reach.takes_basic else None
        if basic is not None:
            if not self.reach.is_secure(head, peer):
                raise Rejection(403, INVALID_REQUEST, "HTTP Basic needs TLS", reason="basic_without_tls")
            token = basic[1]
        elif head.upgrade == "websocket" and head.method == "GET":
            token = self._token_of_websocket(headers, longest)
        else:
            token = bearer_token(headers.get("authorization"), longest)
        principal = None if tokens is None else tokens.principal(token)
        if principal is None and access_tokens is not None and basic is None:
            principal = access_tokens.principal(token, head.path)
        if (
            principal is None
            or (basic is not None and basic[0] != principal)
            or (tokens is not None and tokens.is_local(principal) and is_foreign())
            or (principal in self.reach.here_only and not self.reach.is_here(head, peer))
        ):
            raise self.wrong.refusal(time.monotonic())
        return principal

    def _check_site(self, head: Head) -> None:
        headers = head.headers
        # RFC 9112 section 3.2.2 prefers the authority of an absolute target, and has clients send it in Host too, so both
        # are checked. A request of HTTP/1.0 may have no Host; no browser sends HTTP/1.0.
        host = headers.get("host")
        if host is not None:
            self.site.check_host(host)
        if head.authority is not None:
            self.site.check_host(head.authority)
        self.site.check_origin(headers.get("origin"), headers.get("sec-fetch-site"))

    def _token_of_websocket(self, headers: Mapping[str, str], longest: int) -> str:
        """Return the token of an opening handshake, from Authorization or from a subprotocol.

        Both may be present if they are equal, because RFC 6750 section 2 allows one method in a request.
        """
        offered = offered_token(headers.get("sec-websocket-protocol", ""), longest)
        authorization = headers.get("authorization")
        if offered is None or authorization is not None:
            token = bearer_token(authorization, longest)
            if offered is not None and offered != token:
                raise self.wrong.refusal(time.monotonic())
            return token
        return offered

    def check_delegate(self, head: Head, sock: socket.socket) -> None:
        """Raise Rejection 403 where another process than that of an aggregate acts for another principal or client."""
        if self.delegates is None:
            return
        is_of_aggregate = bool(aggregate_of(head.path))
        if not is_of_aggregate and _DELEGATING.isdisjoint(head.headers):
            return
        if not self.delegates(pid_of_peer(sock), head.headers.get(PRINCIPAL_HEADER, ""), head.path):
            what = "this path is" if is_of_aggregate else "Mcp-Bridge-Principal and Mcp-Bridge-Client are"
            raise Rejection(403, INVALID_REQUEST, f"{what} for the aggregate only")

    def preflight(self, head: Head) -> Headers | None:
        """Return the headers of the response to a CORS preflight of an allowed origin, else None.

        Browsers send preflights without the credential, so none is required.
        """
        headers = head.headers
        if head.method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        self._check_site(head)
        shared = self.cors(head)
        if not shared:
            return None
        requested = headers.get("access-control-request-headers", "")
        return (*shared, *_PREFLIGHT, (b"Access-Control-Allow-Headers", _allowed(requested, self.bringing())))

    def cors(self, head: Head) -> Headers:
        """Return the CORS headers of a response to an allowed foreign origin, else none."""
        origin = head.headers.get("origin")
        if origin is None or origin not in self.shared_with:
            return ()
        return (
            (b"Access-Control-Allow-Origin", origin.encode("ascii")),
            (b"Access-Control-Expose-Headers", b"Mcp-Session-Id, WWW-Authenticate, X-Request-Id"),
            (b"Vary", b"Origin"),
        )
