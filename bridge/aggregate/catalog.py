"""The joint offer of the members: discovery, lists, and the member of each resource."""

from collections.abc import Container, Iterable, Sequence
from typing import Final, NoReturn

import msgspec
import trio

from ...validators import json_object
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ..core.errors import fault_text
from . import merge, timing
from .inquiries import Answers, Inquiries
from .member import Member, MemberLost, MemberRefused
from .members import Members
from .output import log

# Pages of one list, at most.
_MOST_PAGES: Final = 100


class Catalog:
    """Answer requests that concern all members, or a member that is found by its resources."""

    def __init__(self, members: Members, inquiries: Inquiries) -> None:
        self._members = members
        self._inquiries = inquiries
        self.owners = merge.ResourceOwners([*members.by_name])

    def fail(self, errors: Sequence[bytes]) -> NoReturn:
        """Raise the error of a request that all members have failed: MemberRefused, or MemberLost."""
        names = [*self._members.by_name]
        if len(errors) == len(names) and all(map(merge.is_unknown_method, errors)):
            raise MemberRefused(errors[0])
        raise MemberLost(f"none of {', '.join(names)} answers")

    async def discover(self, params: bytes, *, session: bool) -> bytes:
        """Return the result of `server/discover`. With `session`, the client cannot send the request again later."""
        answers = await self.offers(params)
        if not answers.found and not answers.late:
            self.fail(answers.errors)
        everything = session or not answers.whole
        about = self._members.about
        return merge.merged_discovery(answers.found, whole=answers.whole, about=about, everything=everything)

    async def offers(self, params: bytes) -> Answers[json_object.Members]:
        """Return the `server/discover` results of the members."""
        own_params = json_object.write(merge.meta_only(params))

        async def fetch(member: Member) -> json_object.Members:
            return json_object.peek(await member.result("server/discover", own_params))

        return await self._inquiries.gather("server/discover", fetch)

    async def list_items(self, method: str, params: bytes, *, session: bool) -> merge.Listed:
        """Return the merged list of a list method."""
        answers = await self._items_of(method, merge.shared_params(params))
        found, errors = answers.found, answers.errors
        nothing = len(errors) == len(self._members.by_name) and all(map(merge.is_unknown_method, errors))
        if not found and not answers.late and not (nothing and session):
            self.fail(errors)
        merged = merge.merged_list(method, found, self._members.tools)
        for name in merged.too_long:
            reason = f"its name has more than {Limits().name} characters"
            log("item_left_out", method=method, name=name, reason=reason)
        for name, double in self.owners.new_doubles(method, merged.doubles):
            reason = "a server before it has it"
            log("item_left_out", method=method, member=name, name=double, reason=reason)
        if method == "tools/list":
            self._log_names(merged, whole=answers.whole)
        return merged

    def _log_names(self, merged: merge.Listed, *, whole: bool) -> None:
        """Log once what the configuration says of tools and is not so."""
        for name in merged.taken:
            self._members.log_once(
                "item_left_out", method="tools/list", name=name, reason="another tool was renamed to it"
            )
        # A tool may be one of a server whose list is missing.
        for name in self._members.tools.unmatched(merged.names) if whole else ():
            self._members.log_once("tool_unknown", name=name, reason="rename or describe names no tool")

    async def fetch_tools(self, params: json_object.Members, names: Container[str]) -> None:
        """Request the tools of these members again, and store them as their last answers."""
        await self._items_of("tools/list", params, names)

    async def _items_of(
        self, method: str, params: json_object.Members, names: Container[str] | None = None
    ) -> Answers[list[msgspec.Raw]]:
        """Return the lists of these members, or of all, and store which resources they have."""

        async def fetch(member: Member) -> list[msgspec.Raw]:
            try:
                items = await _read_pages(method, params, member)
            except MemberRefused as refused:
                if merge.is_unknown_method(refused.error):
                    self._store(method, member, [])
                raise
            self._store(method, member, items)
            return items

        return await self._inquiries.gather(method, fetch, names)

    def _store(self, method: str, member: Member, items: Iterable[msgspec.Raw]) -> None:
        if method.startswith("resources/") and self._members.is_present(member):
            self.owners.set_listed(method, member.name, merge.item_keys(method, items))

    # ---- resources

    async def of_resource(self, method: str, params: bytes, uri: str, *, again: bool = False) -> Response:
        """Send a request to the member that lists this resource, else to the members with a template for it, else to all in turn."""
        candidates = await self.candidates(params, uri, again=again)
        if len(candidates) == 1:
            response = await self._members.by_name[candidates[0]].request(method, params)
            if response.error:
                self.owners.drop(uri)
            else:
                self.owners.set_read(uri, candidates[0])
            return response
        return await self._first(method, params, uri, candidates)

    async def candidates(self, params: bytes, uri: str, *, again: bool = False) -> Sequence[str]:
        """Return the names of the members that may have a resource, the best first; none if no member is known to have it."""
        if self.owners.listing(uri) is None and not again:
            await self._list_resources(params)
        return self.owners.candidates(uri, again=again)

    async def _list_resources(self, params: bytes) -> None:
        """Request the resources and templates of the members of which they are unknown."""
        by_name = self._members.by_name
        unlisted = [name for name in self.owners.unlisted if not by_name[name].slow]
        if not unlisted:
            return
        own_params = merge.meta_only(params)
        async with trio.open_nursery() as nursery:
            for method in ("resources/list", "resources/templates/list"):
                nursery.start_soon(self._items_of, method, own_params, unlisted)

    async def _first(self, method: str, params: bytes, uri: str, candidates: Sequence[str]) -> Response:
        """Return the first result. Its member is stored, because a retry with input belongs to the same member."""
        errors: list[bytes] = []
        members = [self._members.by_name[name] for name in candidates]
        if not members:
            members = sorted(self._members.by_name.values(), key=lambda member: member.slow)
        for member in members:
            try:
                with trio.fail_after(timing.PATIENCE):
                    result = await member.result(method, params)
            except MemberLost as fault:
                log("request_failed", member=member.name, method=method, reason=fault)
            except trio.TooSlowError:
                reason = f"no answer within {timing.PATIENCE:g} s"
                log("request_failed", member=member.name, method=method, reason=reason)
            except MemberRefused as refused:
                errors.append(refused.error)
            else:
                self.owners.set_read(uri, member.name)
                return Response(b"", result, b"")
        if errors:
            raise MemberRefused(merge.most_specific(errors))
        raise MemberLost(f"none of {', '.join(member.name for member in members)} answers")


async def _read_pages(method: str, params: json_object.Members, member: Member) -> list[msgspec.Raw]:
    """Return all items of a member's list. Raises MemberLost and MemberRefused."""
    items: list[msgspec.Raw] = []
    for _ in range(_MOST_PAGES):
        page = json_object.peek(await member.result(method, json_object.write(params)))
        try:
            items += merge.page(method, page, len(items), Limits())
        except Rejection as rejection:
            raise MemberRefused(fault_text(rejection.code, rejection.text)) from None
        if "nextCursor" not in page:
            return items
        params = {**params, "cursor": page["nextCursor"]}
    log("list_cut", member=member.name, method=method, reason=f"more than {_MOST_PAGES} pages, the limit")
    return items
