"""Write the reference part of docs/EVENTS.md from the classes of the events.

.venv/bin/python -m tests.support.event_document
"""

import typing
from pathlib import Path

from msgspec import inspect

from mcpbridged.bridge.events.catalog import AUDIT_ONLY, EVENTS, line
from mcpbridged.bridge.events.schema import Event

PATH = Path(__file__).parents[2] / "docs/EVENTS.md"
MARK = "<!-- From here on made of bridge/events/schema.py by tests/support/event_document.py -->\n"


_REFUSAL = ("correlation_id",)
_DAEMON = ()
# Fields of all events that the example of an event has, if not the server alone.
COMMON = {
    "authentication_failed": _REFUSAL,
    "refused": ("principal", "server", *_REFUSAL),
    "policy_denied": ("principal", "session", "server", *_REFUSAL),
    "default_token_refused": _DAEMON,
    "client_directory_refused": ("principal", "server"),
    "connection_closed": ("principal",),
    "stream_closed": ("principal", "session", "server"),
    "client_behind": ("principal", "session", "server"),
    "client_stalled": _DAEMON,
    "accept_failed": _DAEMON,
    "request_failed": ("principal", "session", "server", *_REFUSAL),
    "internal_error": _REFUSAL,
    "process_exited": ("server", *_REFUSAL),
    "connection_failed": ("server", *_REFUSAL),
    "session_opened": ("principal", "session", "server"),
    "session_closed": ("principal", "session", "server"),
    "call": ("principal", "session", "server"),
    **dict.fromkeys(
        ("admin_session_opened", "admin_session_closed", "ready", "stopping", "stopped", "reloaded"), _DAEMON
    ),
    **dict.fromkeys(
        (
            "reload_failed",
            "tokens_changed",
            "owner_token_changed",
            "token_changed",
            "token_unreadable",
            "token_expired",
            "audit_changed",
            "audit_events_lost",
        ),
        _DAEMON,
    ),
}
# Examples of fields that differ from those of other events.
SPECIAL = {
    "authentication_failed": {"reason": "credential_wrong", "status": 401, "count": 2},
    "refused": {"reason": "too_large", "status": 413, "earlier": ""},
    "policy_denied": {"status": 0, "peer": "", "earlier": ""},
    "connection_failed": {"pid": 0, "how": "cannot be reached: connection refused"},
    "process_exited": {"connection": 0},
    "process_stopped": {"connection": 0, "how": "was killed by signal 15 (SIGTERM)"},
    "started": {"connection": 0},
    "internal_error": {"pid": 0},
    "request_failed": {"earlier": ""},
    "tokens_changed": {"added": "ci", "changed": "", "revoked": "old"},
}


def example_of(cls: type[Event]) -> Event:
    """Return an event with the example of each field."""
    fields = inspect.type_info(cls).fields
    name = cls.__struct_config__.tag
    common = {"ts", "level", *COMMON.get(name, ("server",))}
    values = {
        field.name: example(field)
        for field in fields
        if field.name in common or field.name not in Event.__struct_fields__
    }
    return cls(**{**values, **SPECIAL.get(name, {})})


def example(field: inspect.Field) -> object:
    return field.type.extra_json_schema["examples"][0]


def _type_of(field: inspect.Field) -> str:
    found = field.type
    while isinstance(found, inspect.Metadata):
        found = found.type
    names = {
        inspect.StrType: "string",
        inspect.IntType: "integer",
        inspect.FloatType: "number",
        inspect.BoolType: "boolean",
        inspect.LiteralType: "string",
    }
    return names[type(found)]


def _rows(fields: typing.Iterable[inspect.Field]) -> str:
    return "".join(
        f"| `{field.name}` | {_type_of(field)} | {'yes' if field.required else 'no'} | {field.type.extra_json_schema['description']} |\n"
        for field in fields
    )


_HEADER = "| field | type | always | meaning |\n|---|---|---|---|\n"


def reference() -> str:
    """Return the part of the document that lists the events."""
    common = inspect.type_info(Event).fields
    names = {field.name for field in common}
    parts = [
        f"## Fields of all events\n\n{_HEADER}| `event` | string | yes | The name of the event. |\n{_rows(common)}"
    ]
    parts.append("## Events\n")
    for name, cls in EVENTS.items():
        own = [field for field in inspect.type_info(cls).fields if field.name not in names]
        table = f"\n{_HEADER}{_rows(own)}" if own else ""
        only = "\n\nLogged with `audit.enabled` only." if name in AUDIT_ONLY else ""
        shown = line(example_of(cls)).decode().rstrip()
        parts.append(f"### {name}\n\n{cls.__doc__}{only}\n{table}\n```json\n{shown}\n```\n")
    return "\n".join(parts)


def document() -> str:
    """Return the whole document, with the reference of today."""
    return PATH.read_text().partition(MARK)[0] + MARK + "\n" + reference()


if __name__ == "__main__":
    PATH.write_text(document())
