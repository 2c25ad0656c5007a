"""The examples in docstrings give the results that they show."""

import doctest
import importlib
import pkgutil

import pytest

import mcpbridged.bridge
import mcpbridged.transports
import mcpbridged.validators

PACKAGES = (mcpbridged.validators, mcpbridged.transports, mcpbridged.bridge)
# A script that runs without this package, and programs that run when they are imported.
_NOT_IMPORTED = (".keeper", ".__main__")
FINDER = doctest.DocTestFinder(exclude_empty=True)


def modules():
    """Return all modules of the program whose text has an example."""
    names = [
        found.name
        for package in PACKAGES
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith(_NOT_IMPORTED)
    ]
    sources = {name: importlib.util.find_spec(name).origin for name in names}
    return [name for name, file in sources.items() if file and has_example(file)]


def has_example(file):
    with open(file, encoding="utf-8") as text:
        return ">>> " in text.read()


def examples_of(name):
    module = importlib.import_module(name)
    return [test for test in FINDER.find(module, name) if test.examples]


def failures(test):
    printed = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=printed.append)
    return "".join(printed)


NAMES = modules()


@pytest.mark.parametrize("name", NAMES)
def test_each_example_has_the_result_that_it_shows(name):
    tests = examples_of(name)
    assert tests
    assert [text for test in tests if (text := failures(test))] == []


def test_public_functions_of_the_pure_packages_have_examples():
    packages = {name.rsplit(".", 1)[0] for name in NAMES}
    assert {"mcpbridged.validators", "mcpbridged.bridge.core"} <= packages
    assert sum(len(test.examples) for name in NAMES for test in examples_of(name)) >= 12


def test_a_wrong_example_fails():
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "planted", None, 0)
    right = parser.get_doctest(">>> 1 + 1\n2\n", {}, "planted", None, 0)
    assert "Expected:\n    3\nGot:\n    2\n" in failures(wrong)
    assert failures(right) == ""
