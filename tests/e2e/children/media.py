"""A server of the official Python SDK with images, audio, binary resources, icons and texts of many scripts."""

import os

from mcp.server import MCPServer
from mcp.server.mcpserver import Audio, Image
from mcp.types import Icon, ResourceLink

PIXEL = "data:image/png;base64,iVBORw0KGgo="
server = MCPServer(
    "media", website_url="https://example.com/", icons=[Icon(src=PIXEL, mime_type="image/png")]
)


@server.tool(icons=[Icon(src="https://example.com/icon.svg", mime_type="image/svg+xml", sizes=["any"])])
def draw() -> list[Image | Audio | str]:
    """Return an image, audio, and texts: \u2764\ufe0f \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e."""
    texts = "\u05d0\u200e \u65e5\u672c\u8a9e\uff0c\u201c\u201d \u041f\u0440\u0438\u0432\u0435\u0442 1\ufe0f\u20e3 C:\\bin\\u200b\tx\r\n"
    return [Image(data=os.urandom(1000), format="png"), Audio(data=os.urandom(1001), format="wav"), texts]


@server.tool()
def link() -> ResourceLink:
    """Return a link."""
    return ResourceLink(
        type="resource_link", uri="custom://My%20Vault/Note.md", name="note", mime_type="text/markdown"
    )


@server.resource("file:///bytes.bin", mime_type="application/octet-stream")
def content() -> bytes:
    """Return bytes."""
    return os.urandom(1002)


@server.resource("note://{name}", mime_type="text/plain; charset=utf-8")
def note(name: str) -> str:
    """Return a note."""
    return f"note {name}"


@server.prompt()
def ask() -> str:
    """Return a prompt."""
    return "a\nb"


server.run("stdio")
