"""Options of the client of one remote server, as plain data."""

from typing import Literal

import attrs

from ...validators.limits import Limits
from ...validators.proxy_choice import FROM_ENVIRONMENT
from ..options import Headers
from .ports import Authorizer

Transport = Literal["auto", "http", "sse", "websocket"]


@attrs.frozen
class RemoteOptions:
    """The URL of a remote server, and how it is reached.

    `headers` are sent with each request to the origin of the URL. `ca_file` has certificates (PEM) that are trusted
    in addition to those of the system; `cert_file` is the certificate of the client, and `key_file` its key, unless the
    certificate file has the key. An empty file name is none. `proxy` is empty for none, "env" for the variables
    HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, or the URL of an HTTP or SOCKS 5 proxy. `connect_seconds` limits one connection
    attempt with name resolution, proxy and TLS.
    """

    url: str
    transport: Transport = "auto"
    headers: Headers = attrs.field(default=(), repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    proxy: str = attrs.field(default=FROM_ENVIRONMENT, repr=False)
    connect_seconds: float = 30
    limits: Limits = attrs.field(factory=Limits)
    authorizer: Authorizer | None = attrs.field(default=None, repr=False)
