"""A start that takes long, fails or leaves something in the working directory is reported."""

import pytest

from . import start_time
from .start_time import faults


@pytest.fixture
def program(tmp_path):
    def make(script):
        file = tmp_path / "program"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return str(file)

    return make


def test_a_quick_start_is_no_finding(program):
    assert faults(program("echo help")) == []


def test_a_failure_is_reported_with_its_output(program):
    assert faults(program('[ "$1" = --help ] && echo help || { echo broken >&2; exit 70; }')) == [
        "start: --version exits with 70: broken"
    ]


def test_silence_is_reported(program):
    assert faults(program("true"))[0] == "start: --help exits with 0: no output"


def test_a_need_of_a_variable_is_reported(program):
    assert faults(program('echo help; test "$HOME"')) == [
        "start: --help exits with 1: help",
        "start: --version exits with 1: help",
    ]


def test_a_file_that_is_left_is_reported(program):
    assert (
        faults(program("echo help; echo >left"))[0]
        == "start: --help exits with 1: it left left in the working directory"
    )


def test_a_slow_start_is_reported(program, monkeypatch):
    monkeypatch.setattr(start_time, "SECONDS", 0.0)
    assert [text.split(" takes ")[0] for text in faults(program("echo help"))] == [
        "start: --help",
        "start: --version",
    ]
