"""Report locked packages that lag behind: `python -m tests.supply_chain.age [--root ROOT]`.

A package is out of date if `make deps-update` would lock another version that was published at least 30 days ago. A locked version that
its author has withdrawn (yanked) is reported at once. The dates are those of the package index (its JSON form, PEP 691 and PEP 700).
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version
from pip._internal.models.index import PyPI

from .lock import LOCKS, compiled, pins, sources, uv_program
from .report import arguments_of, not_run, report

DAYS: Final = 30
SECONDS: Final = 20


@dataclass(frozen=True)
class Release:
    """A version on an index. `published` is the time of its first file."""

    published: datetime
    yanked: bool


def releases(page: dict[str, Any]) -> dict[Version, Release]:
    """Return the versions on the page of a package. Raises KeyError if the index has no dates."""
    found: dict[Version, Release] = {}
    for file in page["files"]:
        try:
            if file["filename"].endswith(".whl"):
                version = parse_wheel_filename(file["filename"])[1]
            else:
                version = parse_sdist_filename(file["filename"])[1]
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        published = datetime.fromisoformat(file["upload-time"])
        known = found.get(version, Release(published, yanked=True))
        found[version] = Release(min(known.published, published), known.yanked and bool(file.get("yanked")))
    return found


def fetch(name: str) -> dict[str, Any]:
    """Return the page of a package on the index of pip. Raises OSError, and ValueError if it is not JSON."""
    index = os.environ.get("PIP_INDEX_URL") or PyPI.simple_url
    request = urllib.request.Request(
        f"{index.rstrip('/')}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        return json.load(response)


def faults(
    locked: dict[str, str],
    newest: dict[str, str],
    page: Callable[[str], dict[str, Any]],
    now: datetime,
    where: str,
) -> list[str]:
    """Compare locked versions with those that would be locked now. Raises KeyError, OSError and ValueError as `page` does."""
    found = []
    for name, version in sorted(locked.items()):
        known = releases(page(name))
        release = known.get(Version(version))
        if release is None:
            found.append(f"{where}: {name} {version} is not on the index any more")
        elif release.yanked:
            found.append(f"{where}: {name} {version} was withdrawn by its author")
        other = newest.get(name, version)
        if Version(other) > Version(version) and other_is_old(known, other, now):
            published = known[Version(other)].published
            found.append(
                f"{where}: {name} is {version}, and {other} was published on {published.date()} (make deps-update)"
            )
    return found


def other_is_old(known: dict[Version, Release], version: str, now: datetime) -> bool:
    release = known.get(Version(version))
    return release is not None and now - release.published >= timedelta(days=DAYS)


def examine(root: Path) -> list[str]:
    """Examine each lock file, each package once. Raises as `faults`, and subprocess.CalledProcessError."""
    pages: dict[str, dict[str, Any]] = {}

    def page(name: str) -> dict[str, Any]:
        if name not in pages:
            pages[name] = fetch(name)
        return pages[name]

    found = []
    for name, lock in LOCKS.items():
        where = f"requirements/{name}.txt"
        locked = {pin.name: pin.version for pin in pins((root / where).read_text())}
        newest = {pin.name: pin.version for pin in pins(compiled(uv_program(), root, sources(lock)))}
        found += faults(locked, newest, page, datetime.now(UTC), where)
    return found


def main(arguments: list[str]) -> int:
    root, words = arguments_of(arguments)
    if words:
        sys.exit(__doc__)
    try:
        found = examine(root)
    except (OSError, urllib.error.URLError, subprocess.CalledProcessError) as error:
        not_run(f"the package index cannot be reached: {error}")
    except (KeyError, ValueError) as error:
        not_run(f"the package index has no dates: {error!r}")
    return report(found, f"no locked version lags by more than {DAYS} days, and none was withdrawn")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
