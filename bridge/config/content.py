"""The checks of content of a server: its own table, and that for all servers."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from ...validators.script_addresses import DEFAULT_SCHEMES
from ..core.content_policy import ContentModes
from ..core.schema_checks import OFF
from ..core.text_checks import TextModes
from .schema import Content
from .tables import Reading

_NOT_INSTALLED: Final = "the extra is not installed; install it with `pip install 'mcpbridged[schemas]'`"


def is_installed() -> bool:
    """Return whether the validator of JSON Schema is installed."""
    return find_spec("jsonschema_rs") is not None


def content_modes(server: Content, common: Content) -> ContentModes:
    """Return the checks of a server. A key that its table does not have is that of the table for all servers."""
    return ContentModes(
        arguments=server.arguments or common.arguments or OFF,
        output=server.output or common.output or OFF,
        texts=TextModes(
            mime=server.mime or common.mime or OFF,
            schemes=server.schemes or common.schemes or OFF,
            characters=server.characters or common.characters or OFF,
            refused=server.refused_schemes or common.refused_schemes or DEFAULT_SCHEMES,
        ),
    )


def check_content(reading: Reading, installed: Callable[[], bool] = is_installed) -> None:
    """Add an error for each check of schemas if the extra for it is not installed. Disabled servers are not checked."""
    file = reading.file
    tables: list[tuple[tuple[str, ...], Content]] = [(("content",), file.content)]
    for name, server in file.servers.items():
        if server.enabled:
            tables.append((("servers", name, "content"), server.content))
    for path, table in tables:
        for key, mode in (("arguments", table.arguments), ("output", table.output)):
            if mode not in ("", OFF) and not installed():
                reading.add(f"{'.'.join(path)}: {key}: {_NOT_INSTALLED}", *path, key)
