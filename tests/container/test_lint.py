"""The rules of our own for compose.yaml and the Containerfile. Those of tools are tried by `make container-lint`."""

import shutil

import pytest

from ..support.bridge_process import REPOSITORY
from . import lint


def copy_of(folder):
    shutil.copytree(REPOSITORY / lint.EXAMPLES, folder / lint.EXAMPLES)
    shutil.copy(REPOSITORY / lint.CONTAINERFILE, folder)
    return folder


def own_findings(root):
    return [*lint.additions(root), *lint.compose_rules(root)]


def test_the_files_are_clean(tmp_path):
    assert own_findings(copy_of(tmp_path)) == []


OWN = [
    plant
    for plant in lint.PLANTS
    if plant.name == "ADD from a URL" or plant.expected[1].partition(":")[0] in ("proxy", "bridge")
]


@pytest.mark.parametrize("plant", OWN, ids=[plant.name for plant in OWN])
def test_a_planted_fault_is_found(tmp_path, plant):
    file = copy_of(tmp_path) / plant.path
    file.write_text(file.read_text().replace(plant.old, plant.new, 1))
    (found,) = own_findings(tmp_path)
    assert all(text in found for text in plant.expected)


@pytest.mark.parametrize("plant", lint.PLANTS, ids=[plant.name for plant in lint.PLANTS])
def test_each_fault_can_be_planted(plant):
    assert (REPOSITORY / plant.path).read_text().count(plant.old)


def test_a_missing_tool_is_not_a_clean_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lint, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lint.main([]) == lint.EXIT_NOT_RUN == 77
    assert "NOT RUN: hadolint is not installed" in capsys.readouterr().err
