"""One `subscriptions/listen` of a client at all members: what they have granted, and the notifications that follow from it."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

import trio

from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Notification
from ...validators.stateless_request import ACKNOWLEDGED
from . import merge

_TOOLS: Final = merge.KIND_OF_LIST["tools/list"]


class Subscription:
    """A subscription. `kinds` are the changes of lists that were requested; they are granted whatever members there are.

    `send` queues a message to the daemon.
    """

    def __init__(
        self, raw_id: bytes, client: str, kinds: json_object.Members, send: Callable[[bytes], None]
    ) -> None:
        self.client = client
        self._id = raw_id
        self._kinds = kinds
        self._send = send
        self._awaited: set[str] = set()
        # By member: the granted notifications. Removed when the member is removed or replaced.
        self._granted: dict[str, json_object.Members] = {}
        # Messages before the acknowledgement, which must come first; each message once.
        self._early: dict[bytes, None] = {}
        self._acknowledged = False
        # By member: the task that listens to it.
        self._tasks: dict[str, trio.CancelScope] = {}
        # By member: its error object, empty if the member cannot be reached.
        self.errors: dict[str, bytes] = {}
        # By method and member: what an answer to the client had in place of the member's list.
        self._missing: dict[tuple[str, str], object] = {}
        # Set and replaced when a member need not be waited for any longer.
        self._progress = trio.Event()

    def wait_for(self, names: Iterable[str]) -> None:
        """Wait for these members before the acknowledgement."""
        self._awaited = set(names)

    async def opened(self, until: Callable[[Collection[str], bool], float]) -> None:
        """Wait until the members have granted something or failed.

        `until` returns how long to wait for members, depending on whether any has granted something.
        """
        while self._awaited or not (self._granted or self.failed):
            deadline = until(self._awaited, bool(self._granted))
            with trio.move_on_at(deadline):
                await self._progress.wait()
            if trio.current_time() >= deadline:
                return

    def follow(self, name: str, scope: trio.CancelScope) -> None:
        """Register the task that listens to a member. `detach` has ended the task before."""
        self._tasks[name] = scope

    def detach(self, name: str) -> None:
        """Stop listening to a member that was removed or replaced."""
        scope = self._tasks.pop(name, None)
        if scope is not None:
            scope.cancel()
        self._granted.pop(name, None)
        self.errors.pop(name, None)
        self._missing = {key: value for key, value in self._missing.items() if key[1] != name}
        self._on_progress(name)

    def on_notification(self, name: str, message: Notification) -> bool:
        """Handle a notification of a member. Returns whether the lists of the member may have changed."""
        if message.method == ACKNOWLEDGED:
            return self.grant(name, json_object.peek(json_object.peek(message.params).get("notifications")))
        self._notify(message)
        return merge.is_change(message.method)

    def grant(self, name: str, granted: json_object.Members) -> bool:
        """Store what a member has granted. Returns whether it was absent before, so that all of its lists may have changed."""
        again = name in self._granted or self._acknowledged
        self._granted[name] = granted
        self.errors.pop(name, None)
        self._on_progress(name)
        if again:
            self.all_changed()
            for update in merge.updates(granted):
                self._notify(update)
        return again

    def fail(self, name: str, error: bytes) -> None:
        """Note that a member has refused with this error, or cannot be reached (empty)."""
        self.errors[name] = error
        self._on_progress(name)

    def all_changed(self) -> None:
        """Notify the client that each list may have changed."""
        for change in merge.list_changes([self._kinds]):
            self._notify(change)

    def tools_changed(self) -> None:
        """Notify the client that the list of tools may have changed."""
        for change in merge.list_changes([{key: one for key, one in self._kinds.items() if key == _TOOLS}]):
            self._notify(change)

    def on_missing(self, method: str, name: str, instead: object) -> None:
        """Note that the client got a list that has this in place of the member's list."""
        if merge.KIND_OF_LIST.get(method, "") in self._kinds:
            self._missing[method, name] = instead

    def on_listed(self, method: str, name: str, found: object) -> None:
        """Notify the client if a member lists something else than the client got in its place."""
        if self._missing.pop((method, name), found) != found:
            self._notify(merge.list_changed(merge.KIND_OF_LIST[method]))

    @property
    def failed(self) -> bool:
        """Whether all members have failed."""
        return not self._granted and self._tasks.keys() == self.errors.keys()

    def _on_progress(self, name: str) -> None:
        self._awaited.discard(name)
        self._progress.set()
        self._progress = trio.Event()

    def acknowledge(self) -> None:
        """Send what was granted, and the notifications since."""
        self._acknowledged = True
        together = merge.merged_acknowledgement([self._kinds, *self._granted.values()])
        self._send(jsonrpc.notification(ACKNOWLEDGED, merge.with_subscription_id(together, self._id)))
        for text in self._early:
            self._send(text)
        self._early.clear()

    def _notify(self, message: Notification) -> None:
        text = jsonrpc.notification(message.method, merge.with_subscription_id(message.params, self._id))
        if self._acknowledged:
            self._send(text)
        else:
            self._early[text] = None
