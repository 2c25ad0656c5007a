"""The access policy of each principal of one server."""

from typing import Protocol
from weakref import WeakKeyDictionary

from ..core.access_policy import AccessPolicy
from ..core.content_policy import ContentPolicy
from ..core.definition_guard import DefinitionGuard
from ..core.grant_policy import GrantPolicy, ReadOnlyTools
from ..core.grants import Role


class RoleTable(Protocol):
    """The roles of principals (core.grants.Roles)."""

    def get(self, principal: str, /) -> Role | None:
        """Return the role of a principal, or None for one that may use everything."""
        ...


class PolicyTable:
    """The policy of the server with this name, and the narrower ones of principals with a role. `roles` may change."""

    def __init__(
        self,
        common: AccessPolicy,
        roles: RoleTable,
        server: str = "",
        guard: DefinitionGuard | None = None,
        content: ContentPolicy | None = None,
    ) -> None:
        self.common = common.guarded_by(guard)
        # The policies of roles take it from here.
        self.common.content = content
        self._guard = guard
        self._roles = roles
        self._server = server
        self._read_only = ReadOnlyTools()
        # By role; added by `find`, removed with the role.
        self._narrowed: WeakKeyDictionary[Role, AccessPolicy] = WeakKeyDictionary()

    def find(self, principal: str) -> AccessPolicy:
        """Return the policy of a principal."""
        role = self._roles.get(principal)
        if role is None:
            return self.common
        policy = self._narrowed.get(role)
        if policy is None:
            policy = GrantPolicy(role.within(self._server), self.common, self._read_only).guarded_by(
                self._guard
            )
            self._narrowed[role] = policy
        return policy
