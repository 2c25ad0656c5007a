"""Types that the generated modules of this folder have in common, and the decoding of a JSON text as one of their types."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec
from msgspec.structs import fields

from ..lone_surrogates import decoded

# A number without a fraction, also in a spelling such as 1.0, as in JSON Schema.
Integer = Annotated[float, msgspec.Meta(multiple_of=1)]


# The most objects of a text for each of which Python code runs (two microseconds), and the most members of maps (100 ns).
MOST_OBJECTS: Final = 16 * 1024
MOST_KEYS: Final = 128 * 1024


class _Left:
    """How many more of them the text that is being decoded may have."""

    objects = MOST_OBJECTS
    keys = MOST_KEYS


_left: Final = _Left()


class Key:
    """The key of any member of a map. All keys are the same object, so that a map of millions of members takes no memory."""


_KEY: Final = Key()


class AnyObject(msgspec.Struct, gc=False):
    """An object of any members."""


class AnyOf(msgspec.Struct, gc=False):
    """An object of one of several types, without a member that identifies the type.

    Subclasses name the types, and have the members of all of them as raw texts, which are then decoded for each type. No other
    member is looked into, and a text may have `MOST_OBJECTS` of them, because a peer could send millions of values.
    """

    any_of: ClassVar[tuple[type[msgspec.Struct], ...]] = ()

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec reports with the place of the object, unless it is of one of the types."""
        _left.objects -= 1
        if _left.objects < 0:
            raise ValueError(f"More than {MOST_OBJECTS} objects of several types")
        found: dict[_Member, bool] = {}
        for members in _members_of(type(self)):
            if all(_fits(self, member, found) for member in members):
                return
        raise ValueError(f"Matches none of {', '.join(f'`{kind.__name__}`' for kind in self.any_of)}")


class _Member(NamedTuple):
    """A member of a type: its name in Python, the function that decodes its value, and whether it must be there."""

    name: str
    decode: Callable[[bytes | msgspec.Raw], object]
    required: bool


@cache
def _members_of(kind: type[AnyOf]) -> tuple[tuple[_Member, ...], ...]:
    """Return the members of each of the types of a subclass of `AnyOf`. Equal types have one decoder."""
    return tuple(
        tuple(_Member(field.name, decoder_of(field.type), field.required) for field in fields(one))
        for one in kind.any_of
    )


def _fits(value: AnyOf, member: _Member, found: dict[_Member, bool]) -> bool:
    """Return whether a member of an object is of its type. `found` has the members that were decoded."""
    if member not in found:
        text: msgspec.Raw | msgspec.UnsetType = getattr(value, member.name)
        found[member] = not member.required if text is msgspec.UNSET else _decodes(member.decode, text)
    return found[member]


def _decodes(decode: Callable[[bytes | msgspec.Raw], object], text: msgspec.Raw) -> bool:
    try:
        decoded(decode, text)
    except msgspec.ValidationError:
        return False
    return True


class ParamsShape(NamedTuple):
    """The params of a request or notification, and whether a message must have them."""

    shape: Any
    required: bool


class ResultShape(NamedTuple):
    """The result of a request. `others` has the other results by `resultType`, or under an empty text one without that."""

    shape: Any
    others: Mapping[str, Any] = {}


class Revision(NamedTuple):
    """The messages of one revision, by method. Results are listed by the method of the request, and by their sender."""

    client_requests: Mapping[str, ParamsShape]
    client_notifications: Mapping[str, ParamsShape]
    server_requests: Mapping[str, ParamsShape]
    server_notifications: Mapping[str, ParamsShape]
    server_results: Mapping[str, ResultShape]
    client_results: Mapping[str, ResultShape]
    error: Any
    # Any result, for a `resultType` of an extension.
    any_result: Any


def check(shape: Any, text: bytes | msgspec.Raw) -> None:  # noqa: ANN401 - a type as msgspec reads it
    """Decode a JSON text as this type. Raises msgspec.ValidationError for another value, and other ValueErrors for no JSON."""
    _left.objects, _left.keys = MOST_OBJECTS, MOST_KEYS
    decoded(decoder_of(shape), text)


@cache
def decoder_of(shape: Any) -> Callable[[bytes | msgspec.Raw], Any]:  # noqa: ANN401 - a type as msgspec reads it
    """Return a function that decodes a JSON text as this type. It raises msgspec.ValidationError for another value."""
    return msgspec.json.Decoder(shape, dec_hook=_read_key).decode


def _read_key(_kind: type, _key: object) -> Key:
    _left.keys -= 1
    if _left.keys < 0:
        raise ValueError(f"More than {MOST_KEYS} members of maps")
    return _KEY
