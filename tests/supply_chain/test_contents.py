"""What is missing in an sdist or in a wheel, or is too much, is reported."""

import tomllib

from .contents import sdist_faults, wheel_faults
from .report import ROOT

PROJECT = {
    "project": {"name": "p", "version": "1", "license-files": ["LICENSE"]},
    "tool": {"setuptools": {"data-files": {"share/man/man1": ["man/p.1"]}}},
}
FILES = ["LICENSE", "bridge/a.py", "bridge/page.css", "entry/__init__.py", "man/p.1", "tests/test_a.py"]
WHEEL = [
    "p/__init__.py",
    "p/bridge/a.py",
    "p/bridge/page.css",
    "p-1.data/data/share/man/man1/p.1",
    "p-1.dist-info/METADATA",
    "p-1.dist-info/licenses/LICENSE",
]


def test_an_sdist_with_the_tracked_files_is_without_fault():
    assert sdist_faults(["PKG-INFO", "setup.cfg", "p.egg-info/SOURCES.txt", *FILES], FILES) == []


def test_what_an_sdist_lacks_and_what_it_has_too_much_is_reported():
    assert sdist_faults([*FILES[1:], "secret.pem"], FILES) == [
        "sdist: LICENSE is tracked and missing",
        "sdist: secret.pem is not tracked",
    ]


def test_a_wheel_with_modules_data_files_and_licence_is_without_fault():
    assert wheel_faults(WHEEL, FILES, PROJECT) == []


def test_what_a_wheel_lacks_and_what_it_has_too_much_is_reported():
    for path in (name for name in WHEEL if name != "p-1.dist-info/METADATA"):
        assert wheel_faults([name for name in WHEEL if name != path], FILES, PROJECT) == [
            f"wheel: {path} is missing"
        ]
    assert wheel_faults([*WHEEL, "p/bridge/b.py"], FILES, PROJECT) == ["wheel: p/bridge/b.py is not tracked"]
    assert wheel_faults([*WHEEL, "tests/test_a.py"], FILES, PROJECT) == [
        "wheel: tests/test_a.py is not tracked"
    ]


def test_a_manual_that_is_in_no_list_of_data_files_is_reported():
    assert wheel_faults(WHEEL, [*FILES, "man/q.1"], PROJECT) == ["wheel: man/q.1 is missing"]


def test_the_data_files_of_pyproject_exist():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"].values()
    assert [path for paths in listed for path in paths if not (ROOT / path).is_file()] == []
