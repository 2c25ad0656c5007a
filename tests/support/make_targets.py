"""The targets of the Makefile that a document or a claim may name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_targets(root: Path = ROOT) -> set[str]:
    """Return the names of the rules of the Makefile, and those of the rule for the security tools."""
    text = (root / "Makefile").read_text()
    tools = re.search(r"^SECURITY_TOOLS := (.*)$", text, re.MULTILINE)
    return {*re.findall(r"^([a-z0-9-]+):(?!=)", text, re.MULTILINE), *(tools[1].split() if tools else ())}
