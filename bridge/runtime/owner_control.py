"""The interface of a server for its tables of processes."""

from typing import Protocol

from .multiplexed_process import MultiplexedProcess
from .placement import Place
from .process_owner import ProcessOwner


class OwnerControl(Protocol):
    """Start, replace and end what a process serves."""

    @property
    def used(self) -> int:
        """The number that the limit `sessions` counts."""
        ...

    def start_again(self, owner: ProcessOwner, /) -> None:
        """Start a process for an owner that had one or needs its first."""
        ...

    def end(self, owner: ProcessOwner, /, reason: str) -> None:
        """Close an owner, and remove it from every table."""
        ...

    def make_room(self, principal: str, /) -> None:
        """Close an idle process of a principal where a limit is reached. Raises Rejection 503."""
        ...

    def move(self, upstream: MultiplexedProcess, /, reason: str) -> None:
        """Give the requests that a process has not received to a process of another era."""
        ...

    def on_era_mismatch(self, upstream: MultiplexedProcess, /, reason: str) -> None:
        """Replace or end a process that does not speak the era that it was started for."""
        ...

    def close_place(self, place: Place, /, reason: str) -> None:
        """Remove a place and end its process."""
        ...

    def leave_legacy_places(self) -> None:
        """Give new calls to processes of the modern era, because the server was wrongly presumed to be a legacy one."""
        ...
