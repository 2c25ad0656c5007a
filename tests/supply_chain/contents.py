"""Compare an sdist and a wheel with the tracked files: `python -m tests.supply_chain.contents [--root ROOT] SDIST WHEEL`.

The sdist has every tracked file, so that tests run and packages of distributions are built from it. The wheel has the modules with
their static files, the manuals, units and completions, and the licence.
"""

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Final

from .build import tracked
from .report import arguments_of, report

# The three packages, and the folder of the package itself.
ROOMS: Final = ("bridge", "transports", "validators")
ENTRY: Final = "entry"
# Each file in these folders is a data file of the wheel.
DATA: Final = ("completions", "man", "systemd")
# setuptools writes these into an sdist.
_WRITTEN: Final = ("PKG-INFO", "setup.cfg")


def sdist_faults(names: list[str], files: list[str]) -> list[str]:
    """Compare the names in an sdist, without its top folder, with the tracked files."""
    packed = {name for name in names if name not in _WRITTEN and ".egg-info/" not in name}
    return [f"sdist: {path} is tracked and missing" for path in sorted(set(files) - packed)] + [
        f"sdist: {path} is not tracked" for path in sorted(packed - set(files))
    ]


def wheel_faults(names: list[str], files: list[str], project: dict) -> list[str]:
    """Compare the names in a wheel with the tracked files of the packages, and with the data files of pyproject.toml."""
    name, version = project["project"]["name"], project["project"]["version"]
    rooms = tuple(f"{room}/" for room in (*ROOMS, ENTRY))
    wanted = {f"{name}/{path.removeprefix(f'{ENTRY}/')}" for path in files if path.startswith(rooms)}
    info, data = f"{name}-{version}.dist-info", f"{name}-{version}.data/data"
    for folder, paths in project["tool"]["setuptools"]["data-files"].items():
        wanted |= {f"{data}/{folder}/{Path(path).name}" for path in paths}
    wanted |= {f"{info}/licenses/{path}" for path in project["project"]["license-files"]}
    listed = {path for paths in project["tool"]["setuptools"]["data-files"].values() for path in paths}
    unlisted = {path for path in files if path.startswith(tuple(f"{folder}/" for folder in DATA))} - listed
    packed = {path for path in names if not path.startswith(f"{info}/") or "/licenses/" in path}
    return [f"wheel: {path} is missing" for path in sorted((wanted - packed) | unlisted)] + [
        f"wheel: {path} is not tracked" for path in sorted(packed - wanted)
    ]


def faults(root: Path, sdist: Path, wheel: Path) -> list[str]:
    """Return what is missing or too much in the two files."""
    files = tracked(root)
    project = tomllib.loads((root / "pyproject.toml").read_text())
    with tarfile.open(sdist) as archive:
        in_sdist = [member.name.partition("/")[2] for member in archive if member.isfile()]
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
    return sdist_faults(in_sdist, files) + wheel_faults(in_wheel, files, project)


def main(arguments: list[str]) -> int:
    root, (sdist, wheel) = arguments_of(arguments)
    return report(
        faults(root, Path(sdist), Path(wheel)), "sdist and wheel have the tracked files and no other"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
