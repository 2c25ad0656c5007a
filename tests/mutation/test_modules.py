"""The modules that are mutated are those that `make test` wants full coverage of."""

import pytest

from .modules import ROOT, TESTS, import_name, mirror, pure_modules


def test_the_modules_are_those_of_the_makefile():
    found = pure_modules()
    assert {
        "validators/bearer.py",
        "bridge/core/link.py",
        "bridge/eras/timers.py",
        "bridge/events/schema.py",
        "bridge/config/import_yaml.py",
        "transports/process/lines.py",
    } <= {*found}
    assert "bridge/runtime/server.py" not in found
    assert "validators/__init__.py" not in found
    assert not [path for path in found if "message_schemas" in path]
    assert len(found) == len({*found}) > 120


def test_a_makefile_without_the_list_is_an_error(tmp_path):
    (tmp_path / "Makefile").write_text("test:\n\tpytest\n")
    with pytest.raises(ValueError, match="no list"):
        pure_modules(tmp_path)


def test_the_tests_exist():
    assert [path for path in TESTS if not (ROOT / path).exists()] == []


def test_names():
    assert import_name("validators/bearer.py") == "mcpbridged.validators.bearer"
    assert import_name("bridge/core/__init__.py") == "mcpbridged.bridge.core"
    assert mirror("bridge/core/link.py") == "tests/bridge/core/test_link"
