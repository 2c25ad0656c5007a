"""Requests to all members at once: the answers that come in time, and the earlier answers of members that are late."""

from collections.abc import Awaitable, Callable, Collection, Container, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import trio

from ...validators.rejection import Rejection
from . import merge, timing
from .member import Member, MemberForbidden, MemberLost, MemberRefused, current_client
from .members import Members
from .subscription import Subscription

Found = TypeVar("Found")


class Inquiry(Generic[Found]):
    """A request to one member for a request to all. It continues when its requester does not wait any longer."""

    def __init__(self, member: Member, method: str) -> None:
        self.member = member
        self.method = method
        self.scope = trio.CancelScope()
        self.over = False
        self.began = trio.current_time()
        self.found: Found | None = None
        self.error = b""
        # The reason why nothing was found, as a sentence.
        self.failure = ""
        # Whether the reason is that the principal has no right to the member.
        self.forbidden = False

    @property
    def has_none(self) -> bool:
        """Whether the member has answered that it does not have the method."""
        return bool(self.error) and merge.is_unknown_method(self.error)


class Answers(NamedTuple, Generic[Found]):
    """The answers of members by name, in their order, and their errors.

    `late` means that a further member may still answer, and `whole` that no part is missing.
    """

    found: dict[str, Found]
    errors: list[bytes]
    late: bool
    whole: bool


class Inquiries:
    """The inquiries of all clients. `subscriptions` are the open ones, which are notified when a missing part comes."""

    def __init__(
        self, nursery: trio.Nursery, members: Members, subscriptions: Collection[Subscription]
    ) -> None:
        self._nursery = nursery
        self._members = members
        self._subscriptions = subscriptions
        # By client, method and member: inquiries without a requester. Removed at their end, after `PATIENCE` at the latest.
        self._late: dict[tuple[str, str, str], Inquiry[Any]] = {}
        # Set and replaced at the end of each inquiry.
        self._progress = trio.Event()

    def drop_removed(self) -> None:
        """End the inquiries at members that were removed or replaced."""
        for key, inquiry in tuple(self._late.items()):
            if not self._members.is_present(inquiry.member):
                del self._late[key]
                inquiry.scope.cancel()

    async def gather(
        self, method: str, fetch: Callable[[Member], Awaitable[Found]], names: Container[str] | None = None
    ) -> Answers[Found]:
        """Return the answers of these members, or of all. A late member is represented by its last answer, if it has one.

        `fetch` sends the request to one member.
        """
        client, began = current_client.get(), trio.current_time()
        inquiries: dict[str, Inquiry[Found]] = {}
        for name, member in self._members.by_name.items():
            if names is None or name in names:
                inquiries[name] = self._late.get((client, method, name)) or self._begin(member, method, fetch)
        late = {name for name in inquiries if (client, method, name) in self._late}
        waited = False
        try:
            # A late inquiry is waited for once its member answers again.
            prompt = [
                inquiry for name, inquiry in inquiries.items() if name not in late or not inquiry.member.slow
            ]
            await self._wait_for(prompt, began)
            waited = True
        finally:
            for name, inquiry in inquiries.items():
                # The requester has left.
                if not waited and name not in late:
                    inquiry.scope.cancel()
        return self._collect(client, method, inquiries)

    def _begin(
        self, member: Member, method: str, fetch: Callable[[Member], Awaitable[Found]]
    ) -> Inquiry[Found]:
        inquiry = Inquiry[Found](member, method)
        member.answers.first_request()
        self._nursery.start_soon(self._run, inquiry, fetch)
        return inquiry

    async def _run(self, inquiry: Inquiry[Found], fetch: Callable[[Member], Awaitable[Found]]) -> None:
        member, method, client = inquiry.member, inquiry.method, current_client.get()
        inquiry.scope.deadline = trio.current_time() + timing.PATIENCE
        with inquiry.scope:
            try:
                inquiry.found = await fetch(member)
            except MemberLost as fault:
                inquiry.failure = str(fault)
                inquiry.forbidden = isinstance(fault, MemberForbidden)
            except MemberRefused as refused:
                inquiry.error = refused.error
                inquiry.failure = "" if inquiry.has_none else str(refused)
            except Rejection as rejection:
                inquiry.failure = rejection.text
        if inquiry.scope.cancelled_caught and trio.current_time() >= inquiry.scope.deadline:
            inquiry.failure = f"no answer within {timing.PATIENCE:g} s"
        if inquiry.failure:
            self._members.log_failure(member.name, method, inquiry.failure)
        inquiry.over = True
        if self._late.get((client, method, member.name)) is inquiry:
            del self._late[client, method, member.name]
        if self._members.is_present(member) and (inquiry.found is not None or inquiry.has_none):
            self._store(client, inquiry)
        self._progress.set()
        self._progress = trio.Event()

    def _store(self, client: str, inquiry: Inquiry[Any]) -> None:
        member, method = inquiry.member, inquiry.method
        self._members.on_answer(member, method)
        member.answers.store(method, inquiry.found)
        for subscription in self._subscriptions:
            if subscription.client == client:
                subscription.on_listed(method, member.name, inquiry.found)

    async def _wait_for(self, inquiries: Collection[Inquiry[Any]], began: float) -> None:
        while waiting := [inquiry for inquiry in inquiries if not inquiry.over]:
            deadline = max(self._deadline(inquiry, began + _prompt(inquiries)) for inquiry in waiting)
            with trio.move_on_at(deadline):
                await self._progress.wait()
            if trio.current_time() >= deadline:
                return

    def _deadline(self, inquiry: Inquiry[Any], prompt: float) -> float:
        """Return until when a request waits for this member. A list allows more time to a member that may be starting."""
        member, method = inquiry.member, inquiry.method
        if member.slow or member.answers.has(method):
            return prompt
        if method == "server/discover":
            return prompt if member.answers.last(method) else max(prompt, inquiry.began + timing.FIRST)
        return max(prompt, self._members.starting_until(member))

    def _collect(self, client: str, method: str, inquiries: Mapping[str, Inquiry[Found]]) -> Answers[Found]:
        found: dict[str, Found] = {}
        late = False
        for name, inquiry in inquiries.items():
            instead: Found | None = None
            if inquiry.found is not None:
                found[name] = inquiry.found
                continue
            if not inquiry.over:
                late = True
                self._late[client, method, name] = inquiry
                instead = inquiry.member.answers.last(method)
                if instead is not None:
                    found[name] = instead
                if method != "server/discover":
                    self._members.leave_out(inquiry.member, method, "it has not answered yet")
            elif inquiry.has_none:
                continue
            elif inquiry.forbidden:
                # The principal is not meant to have this member, so nothing is reported.
                inquiry.member.slow = True
            else:
                self._members.leave_out(inquiry.member, method, inquiry.failure)
            for subscription in self._subscriptions:
                if subscription.client == client:
                    subscription.on_missing(method, name, instead)
        errors = [inquiry.error for inquiry in inquiries.values() if inquiry.error]
        return Answers(found, errors, late, not late and len(found) == len(inquiries))


def _prompt(inquiries: Collection[Inquiry[Any]]) -> float:
    """Return how long a request waits for members that it need not wait for (seconds)."""
    if any(inquiry.found is not None or inquiry.has_none for inquiry in inquiries):
        return timing.PROMPT
    discovers = any(inquiry.method == "server/discover" for inquiry in inquiries)
    # After a failure it matters whether all members fail.
    some_failed = any(inquiry.over for inquiry in inquiries)
    return timing.PROMPT if discovers and not some_failed else timing.STARTING[-1]
