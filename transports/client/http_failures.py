"""Describe responses of a remote server that are no answer to a request. Pure."""

import math
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from ..options import Headers
from .ports import LoginRequired, Unreachable

# How much of the body of such a response is read (bytes), and shown (characters).
READ: Final = 4096
_SHOWN: Final = 300
# The shortest value of a header that is removed from a body, because a server may repeat what it has received (characters).
_SHORTEST_SECRET: Final = 8
# Credentials that a server repeats (RFC 9110 section 11.4), also those that were obtained for one request.
_CREDENTIAL: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE | re.ASCII)
_SPACES: Final = re.compile(r"\s+")
_TAGS: Final = re.compile(
    r"<(?:script|style)\b.*?(?:</(?:script|style)>|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE
)
# Client errors that are no refusal of the request by the server: of credentials, of proxies, of time and of rate.
_MAY_PASS: Final = frozenset({401, 403, 407, 408, 425, 429})
MAY_HAVE_RUN: Final = "the request may have been carried out"


class Failure(NamedTuple):
    """Why a request has no answer: a predicate for the subject "the remote server", and the data of the error."""

    predicate: str
    data: dict[str, object]
    # Whether the server itself has refused the request, and not a gateway or for a reason that may pass.
    refused: bool = False
    # Whether the server would certainly respond to the same request in the same way.
    final: bool = False

    @property
    def text(self) -> str:
        """The text of the error."""
        return f"the remote server {self.predicate}"


def unreachable(fault: Unreachable, *, sent: bool) -> Failure:
    """Return the failure of a request whose response is missing or incomplete."""
    end = MAY_HAVE_RUN if sent else "the request was not carried out"
    return Failure(f"cannot be reached: {fault.reason}; {end}", {"reason": "unreachable", "sent": sent})


def login_required(fault: LoginRequired, *, sent: bool = False) -> Failure:
    """Return the failure of a request for which there are no credentials."""
    end = f"; {MAY_HAVE_RUN}" if sent else ""
    return Failure(f"requires a login: {fault}{end}", {"reason": "login required"}, final=True)


def status_failure(
    origin: str, status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float
) -> Failure:
    """Return the failure of a response with an error status. `now` is the time of day (seconds)."""
    text = f"at {origin} answered with HTTP {status}{_phrase(status)}"
    data: dict[str, object] = {"reason": "http status", "status": status}
    delay = retry_seconds(headers.get("retry-after"), now) if status in (429, 503) else None
    if delay is not None:
        text += f", and asks to wait {delay} s before the next request"
        data["retryAfter"] = delay
    if status in (401, 403):
        text += "; check the credentials of this server"
    if status >= 500:
        text += f"; {MAY_HAVE_RUN}"
    shown = excerpt(body, secrets)
    refused = 400 <= status < 500 and status not in _MAY_PASS
    predicate = f"{text}: {shown}" if shown else text
    return Failure(predicate, data, refused=refused, final=refused or status in (401, 403))


def type_failure(origin: str, kind: str, body: bytes, secrets: Iterable[str]) -> Failure:
    """Return the failure of a successful response of another media type than those of MCP."""
    shown_kind = excerpt(kind.encode(), secrets)
    text = f"at {origin} answered with {shown_kind or 'no content type'}, which is neither JSON nor an event stream"
    shown = excerpt(body, secrets)
    return Failure(
        f"{text}; check the URL of this server{': ' if shown else ''}{shown}",
        {"reason": "content type"},
        final=True,
    )


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def retry_seconds(value: str | None, now: float) -> int | None:
    """Return the delay of a Retry-After (seconds; RFC 9110 section 10.2.3), None for a missing or invalid one."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return int(text[:9])
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0, math.ceil(moment - now))


def excerpt(body: bytes, secrets: Iterable[str]) -> str:
    """Return the beginning of a body as printable text on one line, without tags of HTML and without the secrets."""
    text = body[:READ].decode("utf-8", "replace")
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    text = _CREDENTIAL.sub(r"\1 …", text)
    text = _SPACES.sub(" ", _TAGS.sub(" ", text)).strip()
    text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def secrets_of(headers: Headers) -> list[str]:
    """Return the values of header fields, and the words of each, such as a token after its scheme."""
    values = [value.decode("latin-1") for _, value in headers]
    return [part for value in values for part in (value, *value.split())]
