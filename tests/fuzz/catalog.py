"""All targets by name, and the inputs that are stored for each."""

import base64
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


def stored(name: str) -> list[bytes]:
    """Return the stored inputs of a target: base64 in CORPUS/NAME.txt, one in a line."""
    file = CORPUS / f"{name}.txt"
    return [base64.b64decode(line) for line in file.read_text().splitlines()] if file.is_file() else []


def inputs(target: Target) -> list[bytes]:
    """Return the seeds and the stored inputs of a target."""
    return [*target.seeds(), *stored(target.name)]
