"""The lists of a server whose changes a notification announces (MCP 2026-07-28 basic/patterns/subscriptions). Pure."""

from typing import Final

from . import json_object

# By the kind of change that a subscription requests: the capability that declares it with `listChanged`.
CAPABILITY_OF: Final = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
# By kind of change: the notification. By notification: the kind.
NOTIFICATION_OF: Final = {kind: f"notifications/{name}/list_changed" for kind, name in CAPABILITY_OF.items()}
KIND_OF: Final = {method: kind for kind, method in NOTIFICATION_OF.items()}


def declared_changes(capabilities: json_object.Members) -> tuple[str, ...]:
    """Return the notifications that a server with these capabilities sends."""
    return tuple(
        NOTIFICATION_OF[kind]
        for kind, name in CAPABILITY_OF.items()
        if bytes(json_object.peek(capabilities.get(name)).get("listChanged", b"")) == b"true"
    )
