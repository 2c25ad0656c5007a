"""The lock files meet pyproject.toml, pin everything with hashes, and name no place. Faults of each kind are reported."""

import shutil
import tomllib

import pytest

from .lock import LOCKS, ROOT, Lock, entries, faults, pins, plain, sources, wanted

HASH = f"--hash=sha256:{'0' * 64}"
RUNTIME = "requirements/runtime.txt"


@pytest.fixture
def copy(tmp_path):
    """Return a folder with a copy of pyproject.toml and of the lock files."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def change(folder, name, old, new):
    file = folder / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def pinned(folder, name, package):
    return next(pin.version for pin in pins((folder / name).read_text()) if pin.name == package)


def test_the_lock_files_of_this_checkout_are_without_fault():
    assert faults() == []


def test_each_dependency_group_has_a_lock_file():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert set(groups) == {group for lock in LOCKS.values() for group in lock.groups}


def test_there_is_no_other_lock_file():
    assert {file.stem for file in (ROOT / "requirements").iterdir()} == set(LOCKS)


def test_a_missing_file_is_reported(copy):
    (copy / RUNTIME).unlink()
    assert faults(copy) == [f"{RUNTIME}: the file does not exist (make deps-update)"]


def test_a_package_without_a_hash_is_reported(copy):
    text = (copy / RUNTIME).read_text()
    unhashed = [
        line.rstrip("\\ ")
        for line in text.splitlines()
        if not line.startswith("    --hash=") or "trio" in line
    ]
    (copy / RUNTIME).write_text("\n".join(unhashed))
    assert f"{RUNTIME}: trio has no SHA-256 hash, or a hash of another kind" in faults(copy)


def test_a_hash_of_another_kind_is_reported(copy):
    change(copy, RUNTIME, "--hash=sha256:", "--hash=md5:")
    first = pins((copy / RUNTIME).read_text())[0].name
    assert faults(copy) == [f"{RUNTIME}: {first} has no SHA-256 hash, or a hash of another kind"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--index-url https://index.example/simple", "--index-url"),
        ("--find-links /srv/wheels", "--find-links"),
        ("-e .", "-e"),
        ("h11 @ file:///srv/h11.whl", "h11"),
        ("https://files.example/h11.whl", "https://files.example/h11.whl"),
    ],
)
def test_a_place_is_reported(copy, line, named):
    with (copy / RUNTIME).open("a") as file:
        file.write(f"{line}\n")
    assert faults(copy) == [f"{RUNTIME}: {named} names a place, and a lock file must work with every index"]


def test_a_dependency_that_is_not_locked_is_reported(copy):
    change(copy, "pyproject.toml", '"trio>=', '"sortedcollections>=2", "trio>=')
    assert (
        f"{RUNTIME}: sortedcollections>=2 of pyproject.toml is not met for Python 3.11: locked is no version (make deps-update)"
        in faults(copy)
    )


def test_a_limit_that_the_locked_version_exceeds_is_reported(copy):
    version = pinned(copy, RUNTIME, "h11")
    change(copy, "pyproject.toml", '"h11>=0.16,<0.17"', '"h11>=0.17"')
    assert (
        f"{RUNTIME}: h11>=0.17 of pyproject.toml is not met for Python 3.11: locked is {version} (make deps-update)"
        in faults(copy)
    )


def test_a_package_that_is_locked_for_some_pythons_only_is_reported(copy):
    version = pinned(copy, RUNTIME, "h11")
    change(copy, RUNTIME, f"h11=={version}", f"h11=={version} ; python_full_version < '3.14'")
    assert faults(copy) == [
        f"{RUNTIME}: h11<0.17,>=0.16 of pyproject.toml is not met for Python 3.14: locked is no version (make deps-update)"
    ]


def test_a_range_is_reported(copy):
    version = pinned(copy, RUNTIME, "outcome")
    change(copy, RUNTIME, f"outcome=={version}", f"outcome>={version}")
    assert f"{RUNTIME}: outcome is not pinned to one version" in faults(copy)


def test_two_versions_of_a_package_in_the_files_of_one_environment_are_reported(copy):
    version = pinned(copy, RUNTIME, "outcome")
    change(copy, "requirements/test.txt", f"outcome=={version}", "outcome==1.0")
    assert faults(copy) == [f"requirements/test.txt: outcome is 1.0, and {version} in {RUNTIME}"]


def test_an_entry_is_a_package_with_its_hashes():
    text = f"# a comment\na==1 \\\n    {HASH} \\\n    {HASH}\nb==2 ; python_full_version < '3.12' \\\n    {HASH}\n"
    assert entries(text)[0].split() == ["a==1", HASH, HASH]
    assert [(pin.name, pin.version, pin.hashes) for pin in pins(text)] == [("a", "1", 2), ("b", "2", 1)]


def test_clauses_that_are_always_true_are_removed():
    text = (
        "a==1 ; implementation_name == 'cpython' and sys_platform == 'linux' \\\n"
        "    --hash=sha256:0\n"
        "b==1 ; python_full_version < '3.12' and sys_platform == 'linux'\n"
    )
    assert plain(text) == "a==1 \\\n    --hash=sha256:0\nb==1 ; python_full_version < '3.12'\n"


def test_the_sources_of_a_lock_file_are_the_project_its_extras_and_its_groups():
    assert sources(Lock("", ("test",), extras=True)) == ["--group=test", "pyproject.toml", "--all-extras"]
    assert sources(Lock("", ("supply",), project=False)) == ["--group=supply"]


def test_the_requirements_of_a_lock_file_are_those_of_pyproject():
    project = {
        "project": {"dependencies": ["a"], "optional-dependencies": {"x": ["b"]}},
        "dependency-groups": {"test": ["c"]},
    }
    assert [str(found) for found in wanted(project, Lock("", ("test",), extras=True))] == ["a", "b", "c"]
