"""Write a CycloneDX SBOM of the program: `python -m tests.supply_chain.sbom [--root ROOT] FOLDER`.

The wheel is built and installed with the packages of requirements/extras.txt into an environment that has nothing else, and that
environment is read. The SBOM must be valid by the official schema, and have the name, version, licence and purl of each package
that is locked and no other. Only the installation needs a package index.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from .build import build, epoch
from .lock import pins, uv_program
from .report import arguments_of, report

LOCK: Final = "requirements/extras.txt"


def environment(root: Path, folder: Path) -> tuple[Path, list[str]]:
    """Make an environment with the wheel and the locked packages, and nothing else. Returns its Python, and what it lacks."""
    _, wheel = build(root, folder / "dist")
    python = folder / "venv/bin/python"
    uv = [uv_program(), "--quiet", "--no-config", "--system-certs"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder / "venv")], check=True)
    install = [*uv, "pip", "install", "--python", str(python)]
    # Without the packages that they need, because the check below names those that are not locked.
    subprocess.run([*install, "--no-deps", "--require-hashes", "-r", str(root / LOCK)], check=True)
    # By name, because the path of the wheel would be recorded.
    name, version = wheel.name.split("-")[:2]
    subprocess.run(
        [*install, "--no-deps", "--no-index", "--find-links", str(wheel.parent), f"{name}=={version}"],
        check=True,
    )
    checked = subprocess.run(
        [uv[0], "--no-config", "pip", "check", "--python", str(python)],
        capture_output=True,
        text=True,
        check=False,
    )
    lacking = (
        [line for line in checked.stderr.splitlines() if "requires" in line] if checked.returncode else []
    )
    return python, [f"sbom: {line}" for line in lacking]


def generated(root: Path, python: Path) -> str:
    """Return the SBOM of an environment. The same environment has the same SBOM."""
    tool = Path(sys.executable).with_name("cyclonedx-py")
    options = [
        "--pyproject",
        str(root / "pyproject.toml"),
        "--mc-type",
        "application",
        "--sv",
        "1.6",
        "--of",
        "JSON",
    ]
    return subprocess.run(
        [str(tool), "environment", *options, "--output-reproducible", "--gather-license-texts", str(python)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch(root))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def schema_faults(text: str) -> list[str]:
    """Validate an SBOM by the schema of CycloneDX 1.6, which the library has."""
    # Only the environment of the tool has its library.
    schema = importlib.import_module("cyclonedx.schema")
    validation = importlib.import_module("cyclonedx.validation.json")
    fault = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text)
    return [] if fault is None else [f"sbom: not valid by the schema: {str(fault).partition(chr(10))[0]}"]


def content_faults(bom: dict[str, Any], project: dict, locked: dict[str, str]) -> list[str]:
    """Compare the components with the project and with the locked versions, by normalised name."""
    found = []
    main = bom.get("metadata", {}).get("component", {})
    if (main.get("name"), main.get("version")) != (project["name"], project["version"]):
        found.append(f"sbom: it is of {main.get('name')} {main.get('version')}")
    packed: dict[str, str] = {}
    for component in bom.get("components", []):
        name = canonicalize_name(component["name"])
        packed[name] = component.get("version", "")
        found += [
            f"sbom: {name} has no {member}"
            for member in ("version", "purl", "licenses")
            if not component.get(member)
        ]
    for name in sorted({*packed, *locked}):
        if packed.get(name) != locked.get(name):
            found.append(
                f"sbom: {name} is {packed.get(name, 'missing')}, and {locked.get(name, 'missing')} in {LOCK}"
            )
    known = {item["ref"] for item in bom.get("dependencies", [])}
    found += [
        f"sbom: {item['bom-ref']} is not in the graph"
        for item in bom.get("components", [])
        if item["bom-ref"] not in known
    ]
    return found


def locked(root: Path) -> dict[str, str]:
    """Return the locked versions that this Python needs."""
    found = pins((root / LOCK).read_text())
    return {
        pin.name: pin.version
        for pin in found
        if not pin.requirement.marker or pin.requirement.marker.evaluate()
    }


def main(arguments: list[str]) -> int:
    root, (name,) = arguments_of(arguments)
    folder = Path(name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory(prefix="sbom-") as scratch:
        python, found = environment(root, Path(scratch))
        text = generated(root, python)
        found += [f"sbom: it has the path {scratch}"] if scratch in text else []
    file = folder / f"{project['name']}-{project['version']}.cdx.json"
    file.write_text(text)
    bom = json.loads(text)
    found += schema_faults(text) + content_faults(bom, project, locked(root))
    return report(found, f"{file}: CycloneDX {bom['specVersion']}, {len(bom['components'])} components")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
