"""Sections of docs/COMPATIBILITY.md: one target writes the document, others one section each, between markers.

A section is everything from its opening to its closing marker. Its target replaces it; every other target keeps it.
"""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/COMPATIBILITY.md"
# Names of targets whose sections follow the main part, in this order.
NAMES = ("differential", "proxies", "clients", "files", "restarts", "remote")
_SECTION = re.compile(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->\n", re.DOTALL)


def sections_of(document: str) -> dict[str, str]:
    """Return each section by its name, with its markers."""
    return {match[1]: match[0] for match in _SECTION.finditer(document)}


def put_together(main: str, sections: dict[str, str]) -> str:
    parts = [main.rstrip() + "\n", *(sections[name] for name in NAMES if name in sections)]
    return "\n".join(parts)


def write_main(main: str, document: Path = DOCUMENT) -> None:
    """Write the main part and keep the sections."""
    kept = sections_of(document.read_text()) if document.exists() else {}
    document.parent.mkdir(exist_ok=True)
    document.write_text(put_together(main, kept))


def write_section(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Replace one section and keep everything else."""
    whole = document.read_text() if document.exists() else "# Compatibility\n"
    kept = sections_of(whole)
    kept[name] = f"<!-- begin {name} -->\n{text.strip()}\n<!-- end {name} -->\n"
    document.write_text(put_together(_SECTION.sub("", whole), kept))
