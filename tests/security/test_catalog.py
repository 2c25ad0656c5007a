"""The gates have what the framework needs, and the document and the make targets are those of the modules."""

import re
from inspect import signature

import pytest
import yaml

from ..support.make_targets import ROOT, make_targets
from .catalog import SPEEDS, gates
from .document import DOCUMENT, document
from .targets import TARGETS

GATES = gates()
NAMES = [gate.name for gate in GATES]
SEED = """bandit dlint dockle dodgy gitleaks grype-scan hadolint interrogate lint lint-web nodejsscan osv-scan pip-audit
pre-commit prospector pyupgrade sbom security-all security-fix security-list security-report semgrep test trivy""".split()


@pytest.mark.parametrize("gate", GATES, ids=NAMES)
def test_a_gate_has_what_the_framework_needs(gate):
    assert gate.module.CLASS
    assert gate.module.TOOL
    assert gate.module.SPEED in SPEEDS
    assert gate.module.__doc__
    assert list(signature(gate.module.run).parameters) == ["root"]


@pytest.mark.parametrize("gate", GATES, ids=NAMES)
def test_a_gate_has_planted_faults_with_names_of_their_own(gate):
    plants = gate.module.PLANTS
    assert plants
    assert len({plant.name for plant in plants}) == len(plants)
    assert all(plant.expected for plant in plants)


def test_the_document_is_the_one_that_the_gates_give():
    assert DOCUMENT.read_text() == document(GATES, TARGETS), "run make security-list"


def test_the_makefile_has_the_targets_of_the_table_and_no_others():
    tools = re.search(r"^SECURITY_TOOLS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert tools == sorted(TARGETS)


def test_the_hooks_are_the_prerequisites_of_make_pre_commit():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (rule,) = re.findall(r"^pre-commit: (.*?)  ##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [hook["entry"] for hook in repository["hooks"]] == [f"make {target}" for target in rule.split()]
    assert {hook["id"] for hook in repository["hooks"]} == {"quick", "security"}
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in repository["hooks"])


def test_continuous_integration_runs_the_fast_gates_and_the_self_test():
    script = (ROOT / ".ci/run").read_text()
    assert re.search(r"^together (?:.* )?security security-self-test$", script, re.MULTILINE)


def test_each_target_runs_gates_that_exist_or_says_why_it_runs_none():
    for name, target in TARGETS.items():
        assert set(target.gates) <= set(NAMES), name
        assert target.gates or target.note, name


def test_every_target_of_the_policy_that_the_posture_follows_exists():
    assert set(SEED) - make_targets() == set()
