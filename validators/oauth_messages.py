"""Make the requests of an OAuth client, and check the responses (RFC 6749, 7591, 7636, 8707, 9207).

No error text contains a code, a token or a secret.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs

from .oauth_metadata import ServerMetadata, read_object
from .oauth_refusal import ErrorAnswer, OAuthRefusal, WrongState, shown
from .oauth_scopes import OFFLINE_ACCESS, Scopes, parse_scopes

# Characters of a token (RFC 6749 appendix A.12) without space, so that it is one word of a header field.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+\Z")
# Characters of a client ID, a client secret and an error code (RFC 6749 appendixes A.1, A.2 and A.7).
_VISIBLE: Final = re.compile(r"[\x20-\x7e]+\Z")
# The longest token, client ID and client secret (characters).
LONGEST_TOKEN: Final = 16 * 1024
_LONGEST_ID: Final = 4096
# The longest query of a redirect (characters), and the most parameters.
LONGEST_REDIRECT: Final = 16 * 1024
_MOST_PARAMETERS: Final = 64
# Longer validity is cut (seconds).
_LONGEST_VALIDITY: Final = 10 * 366 * 86400.0
CLIENT_NAME: Final = "mcp-bridge"


@attrs.frozen
class Registration:
    """A client as the authorization server has registered it. `secret_expires_at` is in seconds since the epoch, 0 for never.

    `scopes` is None if the response has none.
    """

    client_id: str
    secret: str = attrs.field(default="", repr=False)
    auth_method: str = ""
    secret_expires_at: float = 0
    scopes: Scopes | None = None


@attrs.frozen
class Tokens:
    """A token response. `valid_seconds` is None if unknown, `refresh_token` empty if there is none, `scopes` None if absent."""

    access_token: str = attrs.field(repr=False)
    valid_seconds: float | None = None
    refresh_token: str = attrs.field(default="", repr=False)
    scopes: Scopes | None = None


def pkce_challenge(verifier: str) -> str:
    """Return the S256 code challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def authorization_url(
    metadata: ServerMetadata,
    *,
    client_id: str,
    redirect_uri: str,
    state: str,
    challenge: str,
    resource: str,
    scopes: Scopes,
) -> str:
    """Return the URL of an authorization request. Raises OAuthRefusal for an endpoint that sets one of its parameters."""
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": resource,
    }
    if scopes:
        parameters["scope"] = " ".join(scopes)
    if OFFLINE_ACCESS in scopes:
        # OpenID Connect Core 1.0 section 11: without consent the scope is ignored.
        parameters["prompt"] = "consent"
    endpoint = metadata.authorization_endpoint
    query = urlsplit(endpoint).query
    if not {name for name, _ in parse_qsl(query, keep_blank_values=True)}.isdisjoint(
        {*parameters, "request", "request_uri"}
    ):
        raise OAuthRefusal(
            "the authorization endpoint has a parameter of the authorization request in its query"
        )
    return f"{endpoint}{'&' if query else '' if endpoint.endswith('?') else '?'}{urlencode(parameters)}"


def redirected_code(query: str, state: str, metadata: ServerMetadata) -> str:
    """Return the authorization code of a redirect with this query.

    Raises WrongState for another state, OAuthRefusal for another issuer (RFC 9207 section 2.4) and for anything malformed,
    and ErrorAnswer for an error response. An error response of another issuer is not shown.
    """
    if len(query) > LONGEST_REDIRECT:
        raise WrongState(f"the redirect has {len(query)} characters; the limit is {LONGEST_REDIRECT}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise WrongState(f"the redirect has more than {_MOST_PARAMETERS} parameters") from None
    found = dict(pairs)
    if found.get("state") != state:
        raise WrongState("the redirect has another state than the authorization request, or none")
    if len(found) != len(pairs):
        raise OAuthRefusal("the redirect has a parameter twice (RFC 6749 section 3.1)")
    issuer = found.get("iss")
    if issuer is None and metadata.sends_issuer:
        raise OAuthRefusal(
            f"the redirect has no iss, although the authorization server {shown(metadata.issuer)} announces it (RFC 9207)"
        )
    if issuer is not None and issuer != metadata.issuer:
        raise OAuthRefusal(
            f"the redirect is from the issuer {shown(issuer)}, and not from {shown(metadata.issuer)} (RFC 9207)"
        )
    if "error" in found:
        raise _error(found, "the authorization server has refused the authorization request")
    code = found.get("code", "")
    if not _VISIBLE.match(code):
        raise OAuthRefusal("the redirect has no authorization code")
    return code


def registration_request(
    metadata: ServerMetadata, redirect_uri: str, scopes: Scopes, auth_method: str
) -> dict[str, object]:
    """Return the body of a dynamic client registration (RFC 7591 section 2)."""
    grants = ["authorization_code"]
    if metadata.grants is None or "refresh_token" in metadata.grants:
        grants.append("refresh_token")
    body: dict[str, object] = {
        "client_name": CLIENT_NAME,
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "grant_types": grants,
        "response_types": ["code"],
        "token_endpoint_auth_method": auth_method,
    }
    if scopes:
        body["scope"] = " ".join(scopes)
    return body


def registration_response(status: int, data: bytes, redirect_uri: str) -> Registration:
    """Return a registered client. Raises OAuthRefusal, and ErrorAnswer for an error response."""
    if status not in (200, 201):
        raise error_response(status, data, "the authorization server has refused to register the client")
    found = read_object(data, "the registration of the client")
    uris = found.get("redirect_uris")
    if isinstance(uris, list) and redirect_uri not in uris:
        raise OAuthRefusal("the client was registered with another redirect URI")
    scope = found.get("scope")
    expires = _number(found.get("client_secret_expires_at"))
    return Registration(
        _word(found.get("client_id"), "the client ID", _LONGEST_ID),
        ""
        if found.get("client_secret") is None
        else _word(found["client_secret"], "the client secret", _LONGEST_ID),
        _optional_text(found.get("token_endpoint_auth_method")),
        0 if expires is None else max(0.0, expires),
        parse_scopes(scope) if isinstance(scope, str) else None,
    )


def token_response(status: int, data: bytes) -> Tokens:
    """Return the tokens of a token response. Raises OAuthRefusal, and ErrorAnswer for an error response."""
    if status not in (200, 201):
        raise error_response(status, data, "the authorization server has issued no token")
    found = read_object(data, "the token response")
    if "error" in found and "access_token" not in found:
        # Some servers send errors with status 200.
        raise error_response(status, data, "the authorization server has issued no token")
    kind = _optional_text(found.get("token_type"))
    if kind.lower() != "bearer":
        raise OAuthRefusal(f"the token has the type {shown(kind)}; only bearer tokens can be used")
    scope, refresh = found.get("scope"), found.get("refresh_token")
    valid = _number(found.get("expires_in"))
    return Tokens(
        _token(found.get("access_token"), "the access token"),
        # A token that is valid for no time at all is one of unknown validity.
        None if valid is None or valid <= 0 else min(valid, _LONGEST_VALIDITY),
        "" if refresh in (None, "") else _token(refresh, "the refresh token"),
        parse_scopes(scope) if isinstance(scope, str) else None,
    )


def error_response(status: int, data: bytes, what: str) -> ErrorAnswer:
    """Return the error of a response with an error status."""
    try:
        found = read_object(data, "the error")
    except OAuthRefusal:
        return ErrorAnswer(f"{what}: HTTP status {status}")
    texts = {name: value for name, value in found.items() if isinstance(value, str)}
    return _error(texts, f"{what}: HTTP status {status}")


def _error(found: Mapping[str, str], what: str) -> ErrorAnswer:
    code = found.get("error", "")
    text = f"{what}: {shown(code)}" if code else what
    if description := found.get("error_description"):
        text += f": {shown(description)}"
    return ErrorAnswer(text, code)


def _token(value: object, what: str) -> str:
    """Return a token that can be sent in a header field. Raises OAuthRefusal."""
    text = _word(value, what, LONGEST_TOKEN)
    if not _TOKEN.match(text):
        raise OAuthRefusal(f"{what} has a character that is not allowed")
    return text


def _word(value: object, what: str, longest: int) -> str:
    if not isinstance(value, str) or not value:
        raise OAuthRefusal(f"the response has no text for {what}")
    if len(value) > longest:
        raise OAuthRefusal(f"{what} has {len(value)} characters; the limit is {longest}")
    if not _VISIBLE.match(value):
        raise OAuthRefusal(f"{what} has a character that is not allowed")
    return value


def _optional_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """Return a number, also one that is written as a string, as some servers do."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
