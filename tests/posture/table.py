"""Write docs/POSTURE.md: the claims of a gateway's security policy, and what proves each of them here.

The claims are in claims.toml, numbered as the document that they come from: the security policy of MCP Context Forge 0.3.1
(https://github.com/IBM/mcp-context-forge, SECURITY.md). Exits with 1, and writes nothing, if a proof does not exist.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

import msgspec

from tests.support.make_targets import make_targets

ROOT: Final = Path(__file__).parents[2]
CLAIMS: Final = ROOT / "tests/posture/claims.toml"
DOCUMENT: Final = ROOT / "docs/POSTURE.md"
ROWS: Final = 155
STATES: Final = ("done", "partly", "open", "not applicable")
_HEAD = """# Security posture

Each row is a claim of the security policy of [MCP Context Forge](https://github.com/IBM/mcp-context-forge) 0.3.1, read as a
promise of this program, with the tests or commands that prove it. `make posture` writes this file from
[claims.toml](../tests/posture/claims.toml) and fails if a test, a make target or a document that proves a row does not exist.

"""


class Claim(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A row. `proof` names tests (`tests/x.py::test_y`), make targets (`make x`) and documents. `reason` says what is missing,
    or why the row does not apply."""

    row: int
    promise: str
    state: str
    proof: tuple[str, ...] = ()
    reason: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    claim: tuple[Claim, ...]


def read(text: str) -> tuple[Claim, ...]:
    """Parse the claims. Raises msgspec.ValidationError, and tomllib.TOMLDecodeError."""
    return msgspec.convert(tomllib.loads(text), _File).claim


def faults(claims: tuple[Claim, ...], root: Path = ROOT) -> list[str]:
    """Return what is wrong with the claims, one sentence for each fault."""
    found = []
    if [claim.row for claim in claims] != list(range(1, ROWS + 1)):
        found.append(f"the rows are not the numbers 1 to {ROWS} in this order")
    for claim in claims:
        if claim.state not in STATES:
            found.append(f"row {claim.row}: {claim.state!r} is not one of {', '.join(STATES)}")
        if not claim.promise:
            found.append(f"row {claim.row}: there is no promise")
        if claim.state in {"done", "partly"} and not claim.proof:
            found.append(f"row {claim.row}: there is no proof")
        if claim.state != "done" and not claim.reason:
            found.append(f"row {claim.row}: there is no reason")
        found += [
            f"row {claim.row}: {proof} does not exist" for proof in claim.proof if not exists(proof, root)
        ]
    return found


def exists(proof: str, root: Path = ROOT) -> bool:
    """Return whether a test, a make target or a document exists."""
    if proof.startswith("make "):
        return proof[5:] in make_targets(root)
    path, _, name = proof.partition("::")
    if not name:
        return bool(path) and (root / path).exists()
    return (root / path).is_file() and bool(
        re.search(rf"^(?:async )?def {re.escape(name)}\(", (root / path).read_text(), re.MULTILINE)
    )


def document(claims: tuple[Claim, ...]) -> str:
    """Return the text of docs/POSTURE.md."""
    counts = ", ".join(f"{sum(claim.state == state for claim in claims)} {state}" for state in STATES)
    rows = "".join(
        f"| {claim.row} | {_cell(claim.promise)} | {claim.state} | {_proofs(claim)} | {_cell(claim.reason)} |\n"
        for claim in claims
    )
    return (
        f"{_HEAD}Of {len(claims)} rows: {counts}.\n\n"
        f"| # | promise | state | proof | what is missing, or why it does not apply |\n|---|---|---|---|---|\n{rows}"
    )


def _proofs(claim: Claim) -> str:
    return " ".join(f"`{proof}`" for proof in claim.proof)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write the document."""
    claims = read(CLAIMS.read_text())
    if found := faults(claims):
        sys.exit("\n".join(found))
    DOCUMENT.write_text(document(claims))
    print(f"{DOCUMENT.relative_to(ROOT)}: {len(claims)} rows")


if __name__ == "__main__":
    main()
