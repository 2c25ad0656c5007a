"""The calls of the three tools that stand for all tools of an aggregate (`surface = "search"`)."""

from collections.abc import Awaitable, Callable

from ...validators import json_object
from ...validators.jsonrpc import Response
from ...validators.rejection import INVALID_PARAMS, Rejection
from . import merge, search_surface
from .catalog import Catalog
from .members import Members
from .search_surface import Tool, ToolFault
from .tool_names import unknown_tool

CallTool = Callable[[bytes, str], Awaitable[Response]]


class SmallSurface:
    """Answer calls of the three tools. `call_tool` sends a call to the server of a tool."""

    def __init__(self, members: Members, catalog: Catalog, call_tool: CallTool) -> None:
        self._members = members
        self._catalog = catalog
        self._call_tool = call_tool

    @property
    def is_used(self) -> bool:
        """Whether the aggregate offers the three tools in place of all."""
        return self._members.about.surface == search_surface.SURFACE

    def listed(self) -> Response:
        """Return the list of tools."""
        return Response(b"", merge.one_page("tools", search_surface.definitions(self._servers)), b"")

    @property
    def _servers(self) -> list[str]:
        return [*self._members.by_name]

    async def call(self, params: bytes, name: str, *, again: bool) -> Response:
        """Call one of the three tools. `again` is whether the call continues an input round."""
        try:
            if name == search_surface.SEARCH:
                wanted = search_surface.read_search(params, self._servers)
                return _complete(search_surface.search_result((await self._tools(params)).values(), wanted))
            if name == search_surface.DESCRIBE:
                names = search_surface.read_names(params)
                return _complete(search_surface.description_result(await self._tools(params), names))
            if name != search_surface.CALL:
                raise Rejection(200, INVALID_PARAMS, unknown_tool(name))
            called, own_params = search_surface.read_call(params)
            if not again and not await self._may_exist(params, called):
                known = (await self._tools(params)).keys() - {called}
                raise ToolFault(unknown_tool(called, sorted(known)))
        except ToolFault as fault:
            return _complete(search_surface.fault_result(str(fault)))
        return await self._call_tool(own_params, called)

    async def _tools(self, params: bytes) -> dict[str, Tool]:
        """Return the offered tools by name."""
        meta = json_object.write(merge.meta_only(params))
        listed = await self._catalog.list_items("tools/list", meta, session=True)
        found: dict[str, Tool] = {}
        for item, name in zip(listed.items, merge.item_keys("tools/list", listed.items), strict=True):
            at = self._members.tools.find(name)
            if at is not None:
                found[name] = Tool(name, at[0], item)
        return found

    async def _may_exist(self, params: bytes, name: str) -> bool:
        """Return whether a server lists a tool, or cannot be asked in time."""
        at = self._members.of_tool(name)
        if at is None:
            return False
        member, own = at
        listed = member.answers.last("tools/list")
        if listed is None or own not in merge.item_keys("tools/list", listed):
            await self._catalog.fetch_tools(merge.meta_only(params), [member.name])
            listed = member.answers.last("tools/list")
        return listed is None or own in merge.item_keys("tools/list", listed)


def _complete(result: bytes) -> Response:
    return Response(b"", result, b"")
