"""The checks of content of a server: its own table, and that for all servers."""

from ..core.content_policy import ContentModes
from ..core.schema_checks import OFF
from .schema import Content


def content_modes(server: Content, common: Content) -> ContentModes:
    """Return the checks of a server. A key that its table does not have is that of the table for all servers."""
    return ContentModes(
        arguments=server.arguments or common.arguments or OFF,
        output=server.output or common.output or OFF,
    )
