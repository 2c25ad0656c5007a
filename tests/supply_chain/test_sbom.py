"""An SBOM that does not have the locked packages, or is not valid, is reported."""

import copy
import subprocess

import pytest

from .report import ROOT
from .sbom import content_faults, locked

PYTHON = ROOT / ".deps/supply/bin/python"
PROJECT = {"name": "p", "version": "1"}
BOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "metadata": {"component": {"type": "application", "name": "p", "version": "1", "bom-ref": "root"}},
    "components": [
        {
            "type": "library",
            "name": "Trio",
            "version": "0.35.0",
            "purl": "pkg:pypi/trio@0.35.0",
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
            "bom-ref": "trio",
        }
    ],
    "dependencies": [{"ref": "root", "dependsOn": ["trio"]}, {"ref": "trio"}],
}
LOCKED = {"trio": "0.35.0"}


def changed(**members):
    bom = copy.deepcopy(BOM)
    bom["components"][0].update(members)
    return bom


def test_an_sbom_of_the_locked_packages_is_without_fault():
    assert content_faults(BOM, PROJECT, LOCKED) == []


@pytest.mark.parametrize(
    ("bom", "finding"),
    [
        (changed(version="0.34.0"), "sbom: trio is 0.34.0, and 0.35.0 in requirements/extras.txt"),
        (changed(name="other"), "sbom: trio is missing, and 0.35.0 in requirements/extras.txt"),
        (changed(name="other"), "sbom: other is 0.35.0, and missing in requirements/extras.txt"),
        (changed(purl=""), "sbom: trio has no purl"),
        (changed(licenses=[]), "sbom: trio has no licenses"),
        (changed(**{"bom-ref": "x"}), "sbom: x is not in the graph"),
        ({**BOM, "metadata": {}}, "sbom: it is of None None"),
    ],
)
def test_each_fault_is_reported(bom, finding):
    assert finding in content_faults(bom, PROJECT, LOCKED)


def test_the_locked_versions_are_those_of_the_lock_file():
    found = locked(ROOT)
    assert len(found) > 20
    assert found["trio"]


@pytest.mark.skipif(not PYTHON.is_file(), reason="make .deps/supply/.installed installs the schema")
@pytest.mark.parametrize(
    ("text", "faulty"), [("BOM", False), ("{**BOM, 'components': [{'name': 'x'}]}", True)]
)
def test_an_sbom_is_validated_by_the_schema(text, faulty):
    code = f"import json; from tests.supply_chain.sbom import schema_faults; BOM = {BOM!r}; print(schema_faults(json.dumps({text})))"
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ("sbom: not valid by the schema: " in done.stdout) == faulty
    assert (done.stdout == "[]\n") != faulty
