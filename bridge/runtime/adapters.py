"""Make the adapters between the eras for the processes of one server."""

import secrets
from collections.abc import Callable

from ..config.settings import ServerConfig
from ..core.attribution import Origins
from ..eras.client_handshake import DEFAULT_LEVEL
from ..eras.legacy_adapter import LegacyAdapter
from ..eras.modern_adapter import ModernAdapter
from ..eras.rules_legacy_to_modern import EVERY_PROFILE
from .placement import Declared


class AdapterFactory:
    """Makes a new adapter for each process. `version` is that of the bridge, in its clientInfo."""

    def __init__(self, config: ServerConfig, version: str) -> None:
        self._limits = config.limits
        self._name = config.name
        # The members of the aggregate are processes of the bridge.
        self._own = config.knows_principal
        self._level = "" if config.policy.denied("logging/setLevel") else DEFAULT_LEVEL
        self._version = version

    def modern(self) -> ModernAdapter:
        """Return the adapter between a legacy client and a modern process."""
        return ModernAdapter(self._limits, _new_id, self._name, own=self._own, level=self._level)

    def legacy(self, declared: Declared, info: bytes, *, several: bool) -> LegacyAdapter:
        """Return the adapter between modern clients and a legacy process of their own; of `several` clients or of one."""
        return LegacyAdapter(
            self._limits,
            declared.profile,
            _new_id,
            capabilities=declared.capabilities(),
            version=self._version,
            info=info,
            origins=Origins(self._limits.held_seconds, several=several),
        )

    def shared_legacy(self, origins: Origins, ids: Callable[[], bytes]) -> LegacyAdapter:
        """Return the adapter between modern clients and a legacy process that sessions share."""
        return LegacyAdapter(
            self._limits, EVERY_PROFILE, _new_id, version=self._version, origins=origins, ids=ids, shared=True
        )


def _new_id() -> str:
    return secrets.token_hex(16)
