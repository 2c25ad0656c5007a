"""An interpreter is found in PATH or of pyenv, and one that is not there is never a pass."""

import sys

import pytest

from . import pythons
from .pythons import found, main, version_of

HERE = "{}.{}".format(*sys.version_info)


@pytest.fixture
def folder(tmp_path):
    def make(path, version):
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\nexit 127\n")
        file.chmod(0o755)
        return str(file)

    return make


def test_the_version_of_an_interpreter_is_what_it_prints(folder):
    assert version_of(sys.executable) == HERE
    assert version_of(folder("shim/python3.12", "")) == ""
    assert version_of("/nonexistent") == ""


def test_a_program_in_path_comes_before_those_of_pyenv(folder, tmp_path):
    first = folder("bin/python3.14", "3.14")
    folder(".pyenv/versions/3.14.9/bin/python", "3.14")
    assert found("3.14", str(tmp_path / "bin"), tmp_path) == first


def test_the_newest_of_pyenv_is_used_in_place_of_a_shim_without_its_version(folder, tmp_path):
    folder("bin/python3.14", "")
    folder(".pyenv/versions/3.14.9/bin/python", "3.14")
    newest = folder(".pyenv/versions/3.14.10/bin/python", "3.14")
    folder(".pyenv/versions/3.1.4/bin/python", "3.1")
    assert found("3.14", str(tmp_path / "bin"), tmp_path) == newest


def test_there_may_be_none(tmp_path):
    assert found("3.14", str(tmp_path), tmp_path) == ""


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ({"3.11": "passed", "3.12": "NOT RUN: none"}, 0),
        ({"3.11": "passed", "3.12": "FAILED"}, 1),
        ({"3.11": "NOT RUN: none", "3.12": "NOT RUN: none"}, 1),
    ],
)
def test_a_failure_or_no_run_at_all_is_no_pass(outcomes, status, monkeypatch, capsys):
    monkeypatch.setattr(pythons, "outcome", outcomes.get)
    assert main(list(outcomes)) == status
    assert capsys.readouterr().out.splitlines() == [
        f"Python {version}: {text}" for version, text in outcomes.items()
    ]
