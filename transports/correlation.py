"""Correlation ids: an id that an error response and its event in the log have in common, so that a user can quote it.

An id is random and made with the error. Nothing follows from it, so a client without a credential may see it. Ids of clients
are never used, because a client could choose one that misleads the reader of the log.
"""

from secrets import token_hex
from typing import Final

from ..validators.rejection import Rejection
from .options import Headers

# The member of `error.data` that has the id.
MEMBER: Final = "correlationId"
_BYTES: Final = 8


def new_id() -> str:
    """Return an id that no other error has."""
    return token_hex(_BYTES)


def id_of(rejection: Rejection) -> str:
    """Return the correlation id of a rejection. The first call makes it, and forgets where the rejection was raised."""
    if not rejection.correlation_id:
        rejection.correlation_id = new_id()
        # These frames refer to the request, and the request to its rejection. Without this their memory is freed by the garbage
        # collector, which holds the event loop for milliseconds beside a flood that is refused.
        rejection.__traceback__ = rejection.__context__ = None
    return rejection.correlation_id


def data_of(rejection: Rejection) -> dict[str, object]:
    """Return the member `data` of the error of a rejection, with its correlation id."""
    return {**(rejection.data or {}), MEMBER: id_of(rejection)}


def id_header(rejection: Rejection) -> Headers:
    """Return the header of a response that has the correlation id of a rejection."""
    return ((b"X-Request-Id", id_of(rejection).encode("ascii")),)


def headers_of(rejection: Rejection) -> Headers:
    """Return the headers of the response of a rejection, with its correlation id."""
    return (*rejection.headers, *id_header(rejection))
