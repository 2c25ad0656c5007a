"""Decide who may see the page at /admin: the owner, on this machine, with a session, a token, or over the Unix socket.

The page is stricter than the rest of the daemon. It accepts no other Host than the loopback names of its listener and no other
Origin than its own, whatever `hosts` and `origins` in [listen] allow, and no process of another user. It needs a session also
where no token is required.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from ...transports.http.gate import WrongCredentials
from ...transports.options import ANONYMOUS, LOCAL, Headers
from ...validators.cookies import cookie_values
from ...validators.http_head import Head
from ...validators.origin import Site
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..config.credentials import PRINCIPAL
from ..config.settings import AdminConfig
from ..core.browser_sessions import SECRET_LENGTH, SESSION_SECONDS, BrowserSessions

# The page, the page that exchanges the code of a link for a session, and the path of the sessions.
PAGE: Final = "/admin"
OPEN: Final = f"{PAGE}/open"
SESSION: Final = f"{PAGE}/session"
# Static files that the page without a session needs. They hold no data.
_PUBLIC: Final = frozenset(
    {OPEN, f"{PAGE}/open.js", f"{PAGE}/api.js", f"{PAGE}/admin.css", f"{PAGE}/icon.svg"}
)
# The principal of requests with a session. No token has this name, because the name of a token has no space.
BROWSER: Final = "admin page"
# The header with the page token, in lower case.
TOKEN_HEADER: Final = "mcp-bridge-page"  # noqa: S105 - the name of a header
# RFC 9110 section 11.6.1 wants a challenge with each 401. No browser prompts for this one.
CHALLENGE: Final[Headers] = ((b"WWW-Authenticate", b"Bearer"),)
_NO_SESSION: Final = "there is no session for this page, or it has ended: run `mcp-bridge admin` and open the link that it prints"

# For the wrong Host and the wrong Origin. The settings of clients do not apply to the page.
_ADVICE: Final = {
    421: "Host is not a name of this machine (localhost, 127.0.0.1): `mcp-bridge admin` prints the address of this page;"
    " from another machine use `ssh -L`, because hosts in [listen] does not apply to this page",
    403: "the request is from another page than this one; origins in [listen] does not apply to this page",
}


@attrs.define(eq=False)
class Access:
    """The sessions of the page, and the rules for its requests.

    `config` returns the table [admin] of the present configuration, `owner` a digest of the present token of the owner.
    `cookie` is the name of the cookie; `secure` is whether the listener has TLS.
    """

    config: Callable[[], AdminConfig]
    owner: Callable[[], bytes]
    cookie: str
    secure: bool
    wrong: WrongCredentials
    sessions: BrowserSessions = attrs.field(factory=BrowserSessions, init=False)

    def on(self, site: Site) -> "ListenerPages":
        """Return the pages of one listener. `site` has the loopback names of the listener only."""
        return ListenerPages(self, site)

    @property
    def enabled(self) -> bool:
        """Whether the page is served. Where it is not, no session is kept."""
        if self.config().enabled:
            return True
        self.sessions.clear()
        return False

    def link(self) -> str:
        """Return the code of a new link."""
        return self.sessions.new_link(trio.current_time())

    def open(self, code: str) -> tuple[str, Headers]:
        """Use up the code of a link. Returns the page token and the header with the cookie. Raises Rejection 401 or 429."""
        made = self.sessions.open(code, self.owner(), trio.current_time())
        if made is None:
            refusal = self.wrong.refusal(time.monotonic())
            raise Rejection(
                refusal.status,
                refusal.code,
                "the link is not valid: it was used, or is older than a minute; `mcp-bridge admin` prints another",
                headers=refusal.headers,
                reason=refusal.reason,
            )
        return made.page_token, self._set_cookie(made.cookie, round(SESSION_SECONDS))

    def close(self, head: Head) -> Headers:
        """Close the session of a request. Returns the header that removes the cookie."""
        for value in self._cookies(head):
            self.sessions.end(value)
        return self._set_cookie("", 0)

    def has_session(self, head: Head) -> bool:
        """Return whether a request has the cookie of a session. That suffices for static files, which hold no data."""
        return any(
            self.sessions.has(value, self.owner(), trio.current_time()) for value in self._cookies(head)
        )

    def check(self, head: Head, principal: str) -> None:
        """Raise Rejection 404, 401 or 403 for a request that may not get data of the page.

        Called for each request, because the gate does not look again at a head that it has admitted.
        """
        if not self.enabled:
            raise Rejection(404, INVALID_REQUEST, "Not found")
        if principal == BROWSER:
            token = head.headers.get(TOKEN_HEADER, "")
            now, owner = trio.current_time(), self.owner()
            if not any(self.sessions.admits(cookie, token, owner, now) for cookie in self._cookies(head)):
                raise no_session()
        elif principal not in (LOCAL, PRINCIPAL):
            raise Rejection(403, INVALID_REQUEST, f"the token of {principal!r} has no right to this page")

    def check_action(self, head: Head, principal: str) -> None:
        """Raise Rejection for a request that may not change anything: as `check`, and 403.

        A page must be of the same origin as this host, and `actions` must be on.
        """
        self.check(head, principal)
        check_same_origin(head, principal, secure=self.secure)
        if not self.config().actions:
            raise Rejection(
                403,
                INVALID_REQUEST,
                "actions are off: set `actions = true` in the table [admin] of the configuration,"
                " then run `mcp-bridge reload`",
                reason="admin_actions_off",
            )

    def _cookies(self, head: Head) -> list[str]:
        return cookie_values(head.headers.get("cookie"), self.cookie, SECRET_LENGTH)

    def _set_cookie(self, value: str, seconds: int) -> Headers:
        attributes = f"Path={PAGE}; Max-Age={seconds}; HttpOnly; SameSite=Strict{'; Secure' * self.secure}"
        return ((b"Set-Cookie", f"{self.cookie}={value}; {attributes}".encode("ascii")),)


@attrs.frozen
class ListenerPages:
    """The paths of the page on one TCP listener (transports.http.gate.Pages)."""

    _access: Access
    _site: Site

    def covers(self, path: str) -> bool:
        """Return whether a path belongs to the page. None does while it is off."""
        return (path == PAGE or path.startswith(f"{PAGE}/")) and self._access.enabled

    def admit(self, head: Head, is_foreign: Callable[[], bool]) -> str | None:
        """Return the principal of a request: BROWSER with a session, ANONYMOUS for the sign-in, None with a bearer token.

        Raises Rejection 421, 403 and 401.
        """
        headers, path = head.headers, head.path.removesuffix("/")
        self._check_site(headers)
        if is_foreign():
            raise Rejection(
                403,
                INVALID_REQUEST,
                "this page is for processes of the user that runs the daemon only",
                reason="uid",
            )
        if path in _PUBLIC or (path == SESSION and head.method == "POST"):
            return ANONYMOUS
        if self._access.has_session(head):
            return BROWSER
        if "authorization" in headers:
            return None
        # The page itself has a response for browsers without a session.
        if path == PAGE:
            return ANONYMOUS
        raise no_session()

    def _check_site(self, headers: Mapping[str, str]) -> None:
        """Raise Rejection for another Host or Origin, with advice that applies to the page."""
        try:
            self._site.check_host(headers.get("host", ""))
            self._site.check_origin(headers.get("origin"), headers.get("sec-fetch-site"))
        except Rejection as fault:
            advice = _ADVICE.get(fault.status)
            if advice is None:
                raise
            raise Rejection(fault.status, fault.code, advice, reason=fault.reason) from None


def cookie_name(port: int, *, secure: bool) -> str:
    """Return the name of the cookie. A browser sends cookies to all ports of a host, so each daemon has a name of its own.

    The prefix has browsers refuse a cookie of this name that was set without TLS (RFC 6265bis section 4.1.3.1).
    """
    return f"{'__Secure-' * secure}mcp-bridge-admin-{port}"


def check_same_origin(head: Head, principal: str, *, secure: bool) -> None:
    """Raise Rejection 403 for a request of a session without an Origin, or with another one than its Host."""
    scheme = "https" if secure else "http"
    if principal in (BROWSER, ANONYMOUS) and (
        head.headers.get("origin") != f"{scheme}://{head.headers.get('host')}"
    ):
        raise Rejection(403, INVALID_REQUEST, "Origin is not that of this page", reason="origin")


def no_session() -> Rejection:
    """Return the Rejection 401 of a request without a session."""
    return Rejection(401, INVALID_REQUEST, _NO_SESSION, headers=CHALLENGE, reason="admin_no_session")
