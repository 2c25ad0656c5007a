"""The one-time links and the sessions of web browsers on the page at /admin.

A browser cannot send a bearer token when it opens a page. The owner therefore gets a link with a code, over the Unix socket.
The code is valid once and for a minute, and the browser exchanges it for two secrets: a cookie, which the browser sends by
itself and which scripts cannot read, and a page token, which scripts send in a header and which the browser sends nowhere by
itself. Requests for data need both. A cookie alone, which a browser sends to every port of a host, is of no use.

Only SHA-256 digests are stored. `owner` identifies the token of the owner: a session ends when that token changes.
"""

import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NamedTuple

import attrs

# A link can be used for this long (seconds).
LINK_SECONDS: Final = 60.0
# A session ends at this age, and after this time without a request (seconds).
SESSION_SECONDS: Final = 8 * 60 * 60.0
IDLE_SECONDS: Final = 30 * 60.0
# Above these numbers the oldest is dropped.
MOST_LINKS: Final = 8
MOST_SESSIONS: Final = 32
# 256 bits.
_BYTES: Final = 32
# Of the secrets: base64 without padding (characters).
SECRET_LENGTH: Final = (8 * _BYTES + 5) // 6


class Secrets(NamedTuple):
    """The secrets of a new session."""

    cookie: str
    page_token: str


@attrs.define(eq=False)
class _Session:
    """One session. Times in seconds; `used` is the time of its last request."""

    page_token: bytes
    owner: bytes
    began: float
    used: float


class BrowserSessions:
    """The links that were not used yet, and the sessions. `now` is the time of a steady clock (seconds)."""

    def __init__(self) -> None:
        # By digest of the code, the time of its creation. Removed by use, by age and at the limit.
        self._links: dict[bytes, float] = {}
        # By digest of the cookie. Removed by `end`, by age, and at the limit.
        self._sessions: dict[bytes, _Session] = {}

    def new_link(self, now: float) -> str:
        """Return the code of a new link."""
        code = secrets.token_urlsafe(_BYTES)
        self._links[_digest(code)] = now
        if len(self._links) > MOST_LINKS:
            del self._links[next(iter(self._links))]
        return code

    def open(self, code: str, owner: bytes, now: float) -> Secrets | None:
        """Use up the code of a link and return the secrets of a new session, None for a code that is not valid."""
        created = self._links.pop(_digest(code), None)
        if created is None or now - created > LINK_SECONDS:
            return None
        made = Secrets(secrets.token_urlsafe(_BYTES), secrets.token_urlsafe(_BYTES))
        self._sessions[_digest(made.cookie)] = _Session(_digest(made.page_token), owner, now, now)
        if len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return made

    def has(self, cookie: str, owner: bytes, now: float) -> bool:
        """Return whether a session with this cookie is open. It then counts as used."""
        return self._find(cookie, owner, now) is not None

    def admits(self, cookie: str, page_token: str, owner: bytes, now: float) -> bool:
        """Return whether a session with this cookie is open and has this page token. It then counts as used."""
        session = self._find(cookie, owner, now)
        return session is not None and compare_digest(session.page_token, _digest(page_token))

    def end(self, cookie: str) -> None:
        """Close the session with this cookie, if there is one."""
        self._sessions.pop(_digest(cookie), None)

    def clear(self) -> None:
        """Close all sessions and drop all links."""
        self._links.clear()
        self._sessions.clear()

    def _find(self, cookie: str, owner: bytes, now: float) -> _Session | None:
        key = _digest(cookie)
        session = self._sessions.get(key)
        if session is None:
            return None
        if (
            now - session.began > SESSION_SECONDS
            or now - session.used > IDLE_SECONDS
            or not compare_digest(session.owner, owner)
        ):
            del self._sessions[key]
            return None
        session.used = now
        return session


def _digest(secret: str) -> bytes:
    return sha256(secret.encode(errors="surrogateescape")).digest()
