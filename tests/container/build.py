"""Build the image of the Containerfile with podman, where this machine can do so.

    python tests/container/build.py [--base IMAGE]

Without --base the base image is made with mmdebstrap, because a registry of images may be out of reach; it is kept as
build/container/base.tar. Prints the name of the image on stdout. Exit code 77 with a line NOT RUN on stderr: a program is missing
or containers cannot be run here. 1: the build has failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.container.podman import NotRun, podman  # noqa: E402 - of the repository

IMAGE = "localhost/mcp-bridge:test"
_BASE = "localhost/mcp-bridge-base:test"
_TAR = REPOSITORY / "build/container/base.tar"
_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
_SUITE = "bookworm"
EXIT_NOT_RUN = 77
# Settings of pip that name an index of packages.
_INDEX = ("index-url", "extra-index-url", "cert", "trusted-host", "proxy")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", default="", help="a base image with Python 3.11 or newer")
    base = options.parse_args().base
    try:
        _need("podman")
        build(base or made_base())
        podman(IMAGE, "--version")
    except NotRun as reason:
        sys.stderr.write(f"container: NOT RUN: {reason}\n")
        return EXIT_NOT_RUN
    print(IMAGE)
    return 0


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise NotRun(f"there is no program {program}")


def made_base() -> str:
    """Return the name of a base image made with mmdebstrap. Raises NotRun."""
    _need("mmdebstrap")
    if not _TAR.exists():
        _TAR.parent.mkdir(parents=True, exist_ok=True)
        draft = _TAR.with_suffix(".draft.tar")
        words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(draft)]
        if subprocess.run(words, check=False, stdout=sys.stderr).returncode:
            raise NotRun("mmdebstrap cannot make a base image")
        draft.rename(_TAR)
    _run(["podman", "import", "--quiet", str(_TAR), _BASE])
    return _BASE


def build(base: str) -> None:
    """Build IMAGE. `chroot` isolation needs no cgroup and no new namespace of processes."""
    work = REPOSITORY / "build/container"
    work.mkdir(parents=True, exist_ok=True)
    settings = _pip_settings()
    (work / "pip.conf").write_text(
        "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    certificates = settings.get("cert")
    _run(
        [
            *(
                "podman",
                "build",
                "--isolation=chroot",
                "--format=docker",
                "--quiet",
                f"--build-arg=BASE={base}",
            ),
            f"--secret=id=pip.conf,src={work / 'pip.conf'}",
            *(
                [f"--volume={Path(certificates).parent}:{Path(certificates).parent}:ro"]
                if certificates
                else []
            ),
            *(f"--tag={IMAGE}", "--file=Containerfile", "."),
        ]
    )


def _pip_settings() -> dict[str, str]:
    """Return the index of packages that pip uses here, without directories of this machine."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        value = value.strip("'")
        if name.rpartition(".")[2] in _INDEX and not value.startswith("file:"):
            found[name.rpartition(".")[2]] = value
    return found


def _run(words: list[str]) -> None:
    if subprocess.run(words, cwd=REPOSITORY, check=False, stdout=sys.stderr, env=os.environ).returncode:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
