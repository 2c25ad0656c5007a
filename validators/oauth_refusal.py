"""The exceptions of the OAuth rules, and how text of a server appears in them. Pure."""

from typing import Final

# Text of a server is cut after this many characters.
_LONGEST_SHOWN: Final = 200


class OAuthRefusal(Exception):
    """Raised for data of a server that is not used. The text names the thing, the reason, and what was expected."""


class WrongState(OAuthRefusal):
    """Raised for a redirect that belongs to no pending authorization request."""


class ErrorAnswer(OAuthRefusal):
    """Raised for an error response of an authorization server (RFC 6749 sections 4.1.2.1 and 5.2).

    `code` is its error code, empty if it has none.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


def shown(value: object) -> str:
    """Return a value of a server for an error text: quoted, in ASCII, and cut."""
    text = value if isinstance(value, str) else str(value)
    cut = text[:_LONGEST_SHOWN]
    return ascii(cut) + ("…" if len(text) > len(cut) else "")
