"""A server of the official Python SDK whose tools have types: arguments and output have schemas."""

from mcp.server import MCPServer
from pydantic import BaseModel, Field

server = MCPServer("typed")


class Sum(BaseModel):
    """The output of `add`."""

    total: int
    words: list[str]


@server.tool()
def add(numbers: list[int], label: str = Field(default="", max_length=5)) -> Sum:
    """Add numbers."""
    return Sum(total=sum(numbers), words=[label])


server.run("stdio")
