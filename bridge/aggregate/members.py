"""The members of the aggregate, and which of them are left out of its answers."""

from collections.abc import Callable, Sequence

from ...validators.jsonrpc import Notification
from ..core import aggregate_members
from ..core.aggregate_members import Membership
from . import timing
from .member import Member
from .output import log
from .tool_names import ToolNames, split


class Members:
    """The members by name, in the order of the daemon.

    `make` returns a new member with a name. `notify` sends a notification to the daemon.
    """

    def __init__(
        self, names: Sequence[str], make: Callable[[str], Member], notify: Callable[[Notification], None]
    ) -> None:
        self._make = make
        self._notify = notify
        self.about = Membership(dict.fromkeys(names, 0))
        self.tools = ToolNames(self.about)
        self.by_name = {name: make(name) for name in names}
        # By name: why a member is left out. Reported only to a daemon that has sent the members, as it does first of all.
        self._left_out: dict[str, str] = {}
        self._reports = False
        # By name and method: the reason of the last failure that was logged. Removed with the next answer.
        self._logged: dict[tuple[str, str], str] = {}
        # The events about the configuration that were logged, with their tools. Cleared when it changes.
        self._reported: set[tuple[str, str]] = set()
        # The longest time that a first answer in time has taken (seconds), 0 before there is one.
        self._slowest = 0.0

    def is_present(self, member: Member) -> bool:
        """Return whether a member was neither removed nor replaced."""
        return self.by_name.get(member.name) is member

    def of_prompt(self, name: str) -> tuple[Member, str] | None:
        """Return the member of a prompt and the name there, None if it names no member."""
        found = split(name, [*self.by_name])
        return None if found is None else (self.by_name[found[0]], found[1])

    def of_tool(self, name: str) -> tuple[Member, str] | None:
        """Return the member of an offered tool and the name there, None if there is no such tool."""
        found = self.tools.find(name)
        return None if found is None else (self.by_name[found[0]], found[1])

    @property
    def prompt(self) -> list[str]:
        """The names of the members that have answered in time."""
        return [name for name, member in self.by_name.items() if not member.slow]

    def update(self, about: Membership) -> dict[str, Member]:
        """Take these members. Returns those that were removed or replaced, by name."""
        self._reports = True
        before, self.about = self.by_name, about
        self.tools = ToolNames(about)
        self._reported.clear()
        self.by_name = {name: self._same(before.get(name), name) for name in about.members}
        gone = {name: member for name, member in before.items() if not self.is_present(member)}
        for name in gone:
            self._left_out.pop(name, None)
        self._report()
        self._logged = {key: reason for key, reason in self._logged.items() if key[0] not in gone}
        return gone

    def _same(self, member: Member | None, name: str) -> Member:
        number = self.about.members[name]
        if member is None or member.number not in (0, number):
            member = self._make(name)
        member.number = number
        return member

    def log_failure(self, name: str, method: str, reason: str) -> None:
        """Log a failed request, unless the last failure of this member and method had the same reason."""
        if self._logged.get((name, method)) != reason:
            self._logged[name, method] = reason
            log("request_failed", member=name, method=method, reason=reason)

    def log_once(self, event: str, **fields: str) -> None:
        """Log an event about the configuration, unless it was logged since the last change of it."""
        if (event, fields["name"]) not in self._reported:
            self._reported.add((event, fields["name"]))
            log(event, **fields)

    def on_answer(self, member: Member, method: str = "") -> None:
        """Note that a member has answered, to a request of this method or in a subscription."""
        seconds = member.answers.on_answer()
        if member.slow:
            member.slow = False
            member.answers.restart()
            log("member_answers", member=member.name)
        else:
            self._slowest = max(self._slowest, seconds)
        if self._left_out.pop(member.name, None) is not None:
            self._report()
        self._logged.pop((member.name, method), None)

    def leave_out(self, member: Member, method: str, reason: str) -> None:
        """Note that an answer lacks the part of a member."""
        if not member.slow:
            member.slow = True
            log("member_left_out", member=member.name, method=method, reason=reason)
        if self._left_out.get(member.name) != reason:
            self._left_out[member.name] = reason
            self._report()

    def _report(self) -> None:
        if self._reports:
            self._notify(aggregate_members.left_out(self._left_out))

    def starting_until(self, member: Member) -> float:
        """Return until when a member may be starting for the client (a time of Trio's clock)."""
        shortest, longest = timing.STARTING
        patience = min(max(shortest, 3 * self._slowest), longest) if self._slowest else longest
        return member.answers.first_request() + patience
