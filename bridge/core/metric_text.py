"""Write metrics in the text format of Prometheus, version 0.0.4, and in OpenMetrics 1.0. Pure.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import attrs

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
# The media types of the two formats.
PLAIN_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
# The last line in OpenMetrics.
END: Final = "# EOF\n"
_TOTAL: Final = "_total"
_OPEN_RANGE: Final = "application/openmetrics-text"
_OPEN_VERSION: Final = "version=1.0.0"


@attrs.frozen
class Family:
    """Metrics of one name. `labels` are the names of the labels of each series, and `meaning` is one sentence."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def accepts_open(accept: str) -> bool:
    """Return whether a client that sends this Accept header wants OpenMetrics. `*/*` stands for the plain format."""
    return any(map(_is_open, accept.lower().split(",")))


def _is_open(media_range: str) -> bool:
    media, *parameters = (part.strip() for part in media_range.split(";"))
    versions = [parameter for parameter in parameters if parameter.startswith("version=")]
    return media == _OPEN_RANGE and versions in ([], [_OPEN_VERSION]) and _weight(parameters) > 0


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def head(family: Family, *, is_open: bool) -> str:
    """Return the lines with the type and the meaning of a family. In OpenMetrics the name of a counter has no `_total`."""
    name = family.name.removesuffix(_TOTAL) if is_open and family.kind == COUNTER else family.name
    return f"# HELP {name} {_escaped(family.meaning)}\n# TYPE {name} {family.kind}\n"


def labels(family: Family, values: Sequence[str]) -> str:
    """Return the labels of a series as they stand between braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, values, strict=True))


def sample(family: Family, value: float, values: Sequence[str] = ()) -> str:
    r"""Return the line of a counter or a gauge.

    >>> sample(Family("mcp_bridge_processes", GAUGE, ("server",), "Running processes."), 2, ["git"])
    'mcp_bridge_processes{server="git"} 2\n'
    """
    shown = labels(family, values)
    return f"{family.name}{{{shown}}} {value}\n" if shown else f"{family.name} {value}\n"


def bound_texts(bounds: Iterable[float]) -> tuple[str, ...]:
    """Return the upper bounds of buckets as `histogram` needs them, with that of the last bucket."""
    return (*(str(float(bound)) for bound in bounds), "+Inf")


def histogram(
    family: Family, bounds: Sequence[str], buckets: Sequence[int], total: float, values: Sequence[str] = ()
) -> str:
    """Return the lines of a histogram. Each bucket has the values up to its bound, and `total` is the sum of all values."""
    shown = labels(family, values)
    name, comma = family.name, "," if shown else ""
    counts = [*accumulate(buckets)]
    start = f'{name}_bucket{{{shown}{comma}le="'
    lines = [f'{start}{bound}"}} {number}\n' for bound, number in zip(bounds, counts, strict=True)]
    braced = f"{{{shown}}}" if shown else ""
    return f"{''.join(lines)}{name}_sum{braced} {total}\n{name}_count{braced} {counts[-1]}\n"


def _escaped(text: str) -> str:
    r"""Return a label value or a meaning with \, line feed and the double quote escaped."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text
