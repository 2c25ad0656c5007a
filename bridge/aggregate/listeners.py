"""The `subscriptions/listen` of clients at all members, across the loss and the replacement of members."""

from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

import trio

from ...validators.jsonrpc import Notification
from ...validators.stateless_request import ACKNOWLEDGED, LISTEN
from ..core.errors import read_fault
from . import merge, timing
from .catalog import Catalog
from .member import Member, MemberLost, current_client
from .members import Members
from .subscription import Subscription


class ClientSubscriptions:
    """The open subscriptions of all clients. `send` queues a message to the daemon.

    `open` has for each subscription the function that starts to listen to a member.
    """

    def __init__(
        self,
        members: Members,
        catalog: Catalog,
        send: Callable[[bytes], None],
        open_: dict[Subscription, Callable[[Member], None]],
    ) -> None:
        self._members = members
        self._catalog = catalog
        self._send = send
        self._open = open_

    def on_members_changed(self, before: Mapping[str, Member], gone: Collection[str]) -> None:
        """Listen to the new members, and no longer to those that are gone. `before` are the members before the change."""
        by_name = self._members.by_name
        for subscription, follow in self._open.items():
            for name in gone:
                subscription.detach(name)
            if any(name not in by_name for name in gone):
                subscription.all_changed()
            for name, member in by_name.items():
                if before.get(name) is not member:
                    follow(member)

    def on_names_changed(self) -> None:
        """Notify the clients that the list of tools has changed."""
        for subscription in self._open:
            subscription.tools_changed()

    async def listen(self, raw_id: bytes, params: bytes) -> NoReturn:
        """Listen to all members, and to those to come, until the client ends it.

        Raises MemberLost or MemberRefused if all members fail at once.
        """
        members, catalog = self._members, self._catalog
        kinds = merge.requested_kinds(params)
        subscription = Subscription(raw_id, current_client.get(), kinds, self._send)
        owners = [await catalog.candidates(params, uri) for uri in merge.subscribed(params)]
        # The members that have the resources, and all members for a resource without a known member.
        awaited = {name for found in owners for name in (found or members.prompt) if name in members.by_name}
        subscription.wait_for({*awaited, *members.prompt})
        began = trio.current_time()

        def until(names: Collection[str], granted: bool) -> float:  # noqa: FBT001 - a callback
            if not awaited.isdisjoint(names):
                return began + timing.PATIENCE
            prompt = began + (timing.PROMPT if granted else timing.STARTING[-1])
            return max([prompt, *(members.starting_until(members.by_name[name]) for name in names)])

        async with trio.open_nursery() as nursery:

            def follow(member: Member) -> None:
                scope = trio.CancelScope()
                subscription.follow(member.name, scope)
                nursery.start_soon(self._follow, member, params, subscription, scope)

            self._open[subscription] = follow
            try:
                for member in members.by_name.values():
                    follow(member)
                await subscription.opened(until)
                if subscription.failed:
                    nursery.cancel_scope.cancel()
                else:
                    subscription.acknowledge()
                await trio.sleep_forever()
            finally:
                # Before the nursery is closed, so that no new member is followed in it.
                self._open.pop(subscription, None)
        catalog.fail(list(subscription.errors.values()))

    async def _follow(
        self, member: Member, params: bytes, subscription: Subscription, scope: trio.CancelScope
    ) -> None:
        """Listen to one member, and again when it has failed or has ended the stream, which the client does not see."""
        # A reload of the configuration starts this task as well, in the context of no client.
        current_client.set(subscription.client)
        pause, longest = timing.LISTEN_AGAIN
        with scope:
            while True:
                began = trio.current_time()
                if not await self._listen_to(member, params, subscription):
                    return
                if trio.current_time() - began > longest:
                    pause = timing.LISTEN_AGAIN[0]
                await trio.sleep(pause)
                pause = min(2 * pause, longest)

    async def _listen_to(self, member: Member, params: bytes, subscription: Subscription) -> bool:
        """Listen to one member until it ends the stream. Returns False for a member without subscriptions."""
        name, owners = member.name, self._catalog.owners
        granted = False

        def on_notification(message: Notification) -> None:
            nonlocal granted
            if message.method == ACKNOWLEDGED:
                granted = True
                self._members.on_answer(member)
            elif message.method == merge.RESOURCES_CHANGED:
                owners.invalidate(name)
            # The answers before the notification may be outdated.
            if subscription.on_notification(name, message):
                member.answers.restart()

        candidates = {uri: owners.candidates(uri) for uri in merge.subscribed(params)}
        mine = [uri for uri, found in candidates.items() if not found or name in found]
        error = b""
        try:
            response = await member.request(LISTEN, merge.listen_params(params, mine), on_notification)
        except MemberLost as fault:
            reason = str(fault)
        else:
            error = response.error
            reason = read_fault(error).message if error else "ended by the member"
        if granted:
            owners.invalidate(name)
        elif error and merge.is_unknown_method(error):
            subscription.grant(name, {})
            return False
        else:
            self._members.log_failure(name, LISTEN, reason)
            subscription.fail(name, error)
        return True
