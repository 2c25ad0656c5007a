"""What the credential store holds: registered clients by issuer, and credentials by server and client."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

# What an Authorization field can carry (RFC 6750 section 2.1). A store can be edited by hand, or filled by a helper program.
_FIELD: Final = r"^[\x21-\x7e]*\Z"


class RegisteredClient(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A client that an authorization server has registered dynamically (RFC 7591).

    `secret_expires_at` is in seconds since the epoch, 0 for never. `scopes` is None if the server has not limited them.
    """

    client_id: str
    redirect_uri: str
    auth_method: str = ""
    secret: str = ""
    secret_expires_at: float = 0
    scopes: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"RegisteredClient({self.client_id!r})"


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The credentials of one client at one server. Times are in seconds since the epoch.

    `access_token` is empty if there is none any more, `expires_at` is None if unknown. `requested` are the scopes of the last
    request, and `wanted` those that the next login requests as well, because the server has asked for them. `secret` is
    that of a client that was registered dynamically; other secrets are kept elsewhere.
    """

    issuer: str
    resource: str
    client_id: str
    token_endpoint: str
    access_token: Annotated[str, Meta(pattern=_FIELD)] = ""
    refresh_token: str = ""
    obtained_at: float = 0
    expires_at: float | None = None
    scopes: tuple[str, ...] = ()
    requested: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    auth_method: str = ""
    secret: str = ""
    revocation_endpoint: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.issuer!r}, {self.resource!r})"


def client_key(issuer: str) -> str:
    """Return the key of the client that is registered with an authorization server."""
    return f"client {issuer}"


def credentials_key(url: str, client: str) -> str:
    """Return the key of the credentials of a client at a server. `client` is empty for a client that is not configured."""
    return f"server {url} {client}".rstrip()
