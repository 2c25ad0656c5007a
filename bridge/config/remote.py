"""What the bridge needs to reach a remote server, and its URL as it may be shown."""

from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import attrs

from ...transports.options import Headers
from ...validators.proxy_choice import FROM_ENVIRONMENT
from ...validators.remote_url import HTTP_SCHEMES, WEBSOCKET_SCHEMES, BadRemoteUrl, parse_remote_url
from ..redaction import SHORTEST_SECRET
from .child_environment import looks_random, looks_secret
from .oauth_settings import OAuth

# A part of a URL that may be a credential has this length (characters), and letters and digits as a random word has.
_LONG_PART: Final = 20


@attrs.frozen
class Remote:
    """The address of a remote server, and how it is reached. Headers have the secrets once they were read."""

    url: str = attrs.field(repr=False)
    transport: Literal["auto", "http", "sse", "websocket"] = "auto"
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    proxy: str = attrs.field(default=FROM_ENVIRONMENT, repr=False)
    connect_seconds: float = 30
    oauth: OAuth | None = None
    # Whether credentials may be sent to another machine without encryption.
    plain_http: bool = False
    # Whether the bridge requests tokens of the user: only where no header has a credential, and not without encryption.
    authorizes: bool = False
    # The names of the headers with secrets, and the secrets.
    secret_names: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The URL without parts that may be secrets."""
        return shown_url(self.url)

    @property
    def fields(self) -> Headers:
        """The header fields of each request."""
        return tuple((name.encode(), value.encode()) for name, value in self.headers)

    @property
    def identity(self) -> tuple[str, ...]:
        """What identifies the server, without secrets of the headers."""
        return ("url", self.url, self.transport)


def shown_url(text: str) -> str:
    """Return a URL that may be shown: without user, query and fragment, and without parts that look random."""
    try:
        url = parse_remote_url(text, (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES))
    except BadRemoteUrl:
        return "a URL that cannot be used"
    path, mark, _ = url.target.partition("?")
    parts = ("…" if _is_secret(unquote(part)) else part for part in path.split("/"))
    return f"{url.origin}{'/'.join(parts)}{mark and '?…'}"


def hidden_parts(text: str) -> Iterator[str]:
    """Return the parts of a URL that `shown_url` leaves out, as they stand in it and decoded, except short ones."""
    parts = urlsplit(text)
    words = [part for part in parts.path.split("/") if _is_secret(unquote(part))]
    words += [
        value for name, value in parse_qsl(parts.query) if looks_secret(name, value) or _is_secret(value)
    ]
    forms = {form for word in words for form in (word, unquote(word), quote(word, safe=""))}
    return (form for form in sorted(forms) if len(form) >= SHORTEST_SECRET)


def _is_secret(part: str) -> bool:
    return len(part) >= _LONG_PART and (looks_random(part) or looks_secret("", part))
