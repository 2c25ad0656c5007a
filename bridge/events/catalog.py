"""Find the class of an event by its name, and make an event of the fields of a log line. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from . import schema
from .schema import Event

# The longest text of a field (characters), and the longest in an event that names a reason or a list of names.
LONGEST: Final = 512

# The events that no operator needs in the log, and that are therefore logged with `audit.enabled` only.
AUDIT_ONLY: Final = frozenset({"policy_denied", "process_stopped", "request_failed", "stopped"})


def _events() -> dict[str, type[Event]]:
    found = (value for value in vars(schema).values() if isinstance(value, type) and issubclass(value, Event))
    return {
        tag: cls
        for cls in found
        if isinstance(tag := cls.__struct_config__.tag, str) and not is_abstract(cls)
    }


def is_abstract(cls: type[Event]) -> bool:
    """Return whether a class only holds the fields that several events have."""
    return cls is Event or cls.__name__.startswith("_")


# Key: name of an event. Value: its class.
EVENTS: Final[Mapping[str, type[Event]]] = _events()
# Key: name of an event. Value: the names of its fields in the log.
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(cls.__struct_fields__) - {"ts", "level"} for name, cls in EVENTS.items()
}

encode = msgspec.json.Encoder().encode


def line(event: Event) -> bytes:
    """Return an event as a line of the audit file."""
    return encode(event) + b"\n"


def make(name: str, ts: str, level: str, fields: Mapping[str, object]) -> Event:
    """Return an event of these fields, which are escaped and redacted. A field that the event does not have is left out.

    None counts as absent.
    """
    known = FIELDS[name]
    found = {key: value for key, value in fields.items() if key in known and value is not None}
    return EVENTS[name](ts=ts, level=level, **found)  # type: ignore[arg-type]  # tests compare each call with its class
