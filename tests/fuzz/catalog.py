"""All targets by name, and the inputs that are stored for each."""

from pathlib import Path
from typing import Final

from . import (
    config_targets,
    credential_targets,
    http_targets,
    json_targets,
    proxy_targets,
    stream_targets,
    websocket_targets,
)
from .target import Target

CORPUS: Final = Path(__file__).parent / "corpus"
_MODULES: Final = (
    http_targets,
    websocket_targets,
    json_targets,
    stream_targets,
    config_targets,
    credential_targets,
    proxy_targets,
)
TARGETS: Final[dict[str, Target]] = {target.name: target for module in _MODULES for target in module.TARGETS}


def inputs(target: Target) -> list[bytes]:
    """Return the seeds and the stored inputs of a target."""
    stored = sorted((CORPUS / target.name).glob("*")) if (CORPUS / target.name).is_dir() else []
    return [*target.seeds(), *(file.read_bytes() for file in stored)]
