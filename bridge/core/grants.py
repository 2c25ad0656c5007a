"""The permissions of credentials: which servers, methods and tools a principal may use. Pure.

A grant is what one credential, or one scope of an access token, permits. A role is the sum of the grants of a principal: a
request is permitted if one of its grants permits it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import attrs

# Stands for every server, tool or method.
ALL: Final = "*"
# The first character of the principal of a credential that is in no table of the configuration, such as an access token. No
# token has a name that begins with it.
DERIVED: Final = "_"
# The most principals whose roles are kept, and which are in no table of the configuration.
_MOST_DERIVED: Final = 4096


@attrs.frozen
class Grant:
    """The servers, the patterns of tools and of methods, and the features that one credential may use.

    With `read_only` only methods that read are permitted, and only tools that the server has annotated as read-only. `through`
    are servers that may be used as members of a named aggregate only.
    """

    servers: frozenset[str] = frozenset({ALL})
    allow: tuple[str, ...] = (ALL,)
    deny: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    methods: tuple[str, ...] = (ALL,)
    read_only: bool = False
    through: frozenset[str] = frozenset()

    def covers(self, server: str) -> bool:
        """Return whether the server with this name may be used."""
        return ALL in self.servers or server in self.servers


@attrs.frozen(eq=False)
class Role:
    """The grants of one principal. Roles are compared by identity, so that a policy can be kept for each."""

    grants: tuple[Grant, ...]

    def covers(self, server: str) -> bool:
        """Return whether the server with this name may be used."""
        return any(grant.covers(server) for grant in self.grants)

    def within(self, server: str) -> tuple[Grant, ...]:
        """Return the grants for one server, also as a member of an aggregate. An empty name stands for any server."""
        return tuple(
            grant for grant in self.grants if not server or grant.covers(server) or server in grant.through
        )

    @property
    def restricts(self) -> bool:
        """Return whether anything is denied."""
        return UNRESTRICTED not in self.grants

    def changes_servers(self, former: "Role") -> bool:
        """Return whether the permissions within a server differ from those of a former role of the same principal."""
        return [*map(_within, self.grants)] != [*map(_within, former.grants)]


UNRESTRICTED: Final = Grant()
# The role of a principal that was not named before.
_EVERYTHING: Final = Role((UNRESTRICTED,))
# The role of a principal whose role is not kept any more.
_NOTHING: Final = Role(())


class Roles:
    """The roles of all principals. A principal without a role may use everything, except a derived one.

    Those of the configuration are replaced as a whole; those of derived principals are added by the gate.
    """

    def __init__(self) -> None:
        # By name of a token; replaced by `assign`. The names of former tokens stay, with a role that permits nothing.
        self._named: dict[str, Role] = {}
        # By derived principal, the least recently admitted first. Bounded by `_MOST_DERIVED`.
        self._derived: OrderedDict[str, Role] = OrderedDict()

    def get(self, principal: str) -> Role | None:
        """Return the role of a principal, or None for one that may use everything."""
        if principal.startswith(DERIVED):
            return self._derived.get(principal, _NOTHING)
        role = self._named.get(principal)
        return role if role is not None and role.restricts else None

    def permits(self, principal: str, server: str) -> bool:
        """Return whether a principal may use a server."""
        role = self.get(principal)
        return role is None or role.covers(server)

    def assign(self, grants: Iterable[tuple[str, Grant]]) -> frozenset[str]:
        """Replace the roles of named principals, and return the names of those whose permissions in servers have changed.

        A principal that is not named any more may use nothing.
        """
        before, self._named = self._named, {}
        for name, grant in grants:
            former = before.get(name)
            self._named[name] = former if former is not None and former.grants == (grant,) else Role((grant,))
        self._named.update(dict.fromkeys(before.keys() - self._named.keys(), _NOTHING))
        return frozenset(
            name
            for name, role in self._named.items()
            if role.changes_servers(before.get(name, _EVERYTHING))
            # The gate aborts the connections of a token that is gone. Sessions of one without limits end with these.
            and (role is not _NOTHING or before[name].restricts)
        )

    def admit(self, principal: str, grants: tuple[Grant, ...]) -> None:
        """Note the grants of a derived principal that has been admitted. The one admitted longest ago may be dropped."""
        role = self._derived.get(principal)
        if role is None or role.grants != grants:
            self._derived[principal] = Role(grants)
        self._derived.move_to_end(principal)
        if len(self._derived) > _MOST_DERIVED:
            self._derived.popitem(last=False)


def _within(grant: Grant) -> Grant:
    return attrs.evolve(grant, servers=frozenset({ALL}), through=frozenset())
