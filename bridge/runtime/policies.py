"""The access policy of each principal of one server."""

from collections.abc import Mapping

from ..config.settings import TokenConfig
from ..core.access_policy import AccessPolicy
from ..core.definition_guard import DefinitionGuard


class PolicyTable:
    """The policy of a server, and the narrower ones of principals with a role. `roles` may change (`drop`)."""

    def __init__(
        self, common: AccessPolicy, roles: Mapping[str, TokenConfig], guard: DefinitionGuard | None = None
    ) -> None:
        self.common = common.guarded_by(guard)
        self._guard = guard
        self._roles = roles
        # By principal with a role; added by `find`, removed by `drop`.
        self._narrowed: dict[str, AccessPolicy] = {}

    def find(self, principal: str) -> AccessPolicy:
        role = self._roles.get(principal)
        if role is None:
            return self.common
        if principal not in self._narrowed:
            self._narrowed[principal] = AccessPolicy(
                role.allow, role.deny, role.without, within=self.common
            ).guarded_by(self._guard)
        return self._narrowed[principal]

    def drop(self, principal: str) -> None:
        """Read the role of a principal again at its next request."""
        self._narrowed.pop(principal, None)
