"""Check the URL of the collector that gets spans ([traces] of the configuration)."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from .child_environment import shown
from .tables import BadConfig

_MODULE: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_NOT_INSTALLED: Final = "the extra is not installed; install it with `pip install 'mcpbridged[otlp]'`"


def is_installed() -> bool:
    """Return whether the exporter of OpenTelemetry is installed."""
    try:
        return find_spec(_MODULE) is not None
    except ModuleNotFoundError:
        return False


def check_endpoint(url: str, installed: Callable[[], bool] = is_installed) -> None:
    """Raise BadConfig for a value that is no URL of a collector, and where the extra is not installed."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        has_place = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _fault(f"must be a URL such as http://127.0.0.1:4318, not {shown(url)}") from None
    if not has_place or parts.query or parts.fragment:
        raise _fault(f"must be a URL such as http://127.0.0.1:4318, not {shown(url)}")
    if parts.username is not None:
        # The value is shown by `config show`.
        raise _fault("must have no user name or password")
    if not installed():
        raise _fault(_NOT_INSTALLED)


def _fault(reason: str) -> BadConfig:
    return BadConfig(f"traces: otlp_endpoint: {reason}", "traces", "otlp_endpoint")
