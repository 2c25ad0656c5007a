"""Timers of the adapters between eras. An adapter sets a timer with `SetTimer` and gets the same value back in `on_timer`."""

from ..core.effects import Timer


class InputsGathered(Timer, frozen=True):
    """Send the input requests of the call with this `key` that have come since the first."""

    key: str


class UrlTimeout(Timer, frozen=True):
    """Stop waiting for the completion of the URLs of the call with this `key`."""

    key: str


class RetryDue(Timer, frozen=True):
    """Return the `requestState` to the server, for the call of this request (raw id)."""

    requester: bytes


class TaskPollDue(Timer, frozen=True):
    """Poll the task of the call of this request (raw id)."""

    requester: bytes


class ListenDue(Timer, frozen=True):
    """Open the subscription again that the server has ended."""
