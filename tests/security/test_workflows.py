"""The workflows run what contributors run, on each version of Python that the package names."""

import re
import tomllib

import pytest
import yaml

from ..support.make_targets import ROOT, make_targets

WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")
}


def steps(name):
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_command_is_a_make_target_or_the_script_of_all_gates(name):
    for step in steps(name):
        command = step.get("run", ".ci/run")
        if command != ".ci/run":
            words = re.fullmatch(r"make ([a-z-]+)(?: [A-Z_]+=\w+)?", command)
            assert words, command
            assert words[1] in make_targets()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_job_gets_the_rights_that_it_needs(name):
    assert WORKFLOWS[name]["permissions"] == {}
    allowed = {"contents": "read", "security-events": "write"} if name == "codeql" else {"contents": "read"}
    for job in WORKFLOWS[name]["jobs"].values():
        assert job["permissions"] == allowed
        assert job["timeout-minutes"] <= 90


def test_there_is_a_workflow_for_each_purpose():
    assert set(WORKFLOWS) >= {"ci", "codeql", "dependency-review", "security"}
    # YAML 1.1 reads the key `on` as true.
    assert WORKFLOWS["security"][True]["schedule"]
    assert "make security-report STRICT=1" in [step.get("run") for step in steps("security")]


def test_each_version_of_python_that_the_package_names_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {entry.rpartition(" ")[2] for entry in project["classifiers"] if re.search(r":: 3\.\d+\Z", entry)}
    jobs = WORKFLOWS["ci"]["jobs"]
    alone = [
        step["with"]["python-version"]
        for step in jobs["gates"]["steps"]
        if "setup-python" in step.get("uses", "")
    ]
    tested = {*jobs["test"]["strategy"]["matrix"]["python"], *alone}
    assert named <= tested
