"""Run containers with podman, also on a machine that denies it cgroups or higher limits of resources.

Where `podman run` fails, it is run in a mount namespace without the second hierarchy of cgroups, without cgroups of its own,
and with limits below those of this process (crun(1) refuses a hybrid hierarchy, and may not raise a limit).
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Self

# Without systemd there is no timer for health checks. `podman healthcheck run` works all the same.
ENVIRONMENT = {**os.environ, "DISABLE_HC_SYSTEMD": "true"}
# What docs/CONTAINER.md recommends for every container.
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
_NAMESPACE = 'mount --make-rprivate / && umount -l /sys/fs/cgroup/unified && exec podman "$@"'
_SECONDS = 120


class NotRun(Exception):
    """Raised where this machine cannot run containers. The text is the reason."""


@cache
def _way(image: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words before the arguments of podman, and the options of `podman run` that work here. Raises NotRun."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = max(256, resource.getrlimit(resource.RLIMIT_NPROC)[1] // 16)
    limits = (f"--ulimit=nofile={min(files, 1024)}:{files}", f"--ulimit=nproc={processes}:{processes}")
    ways = [
        (("podman",), ()),
        (("unshare", "--mount", "sh", "-c", _NAMESPACE, "podman"), ("--cgroups=disabled", *limits)),
    ]
    reasons: list[str] = []
    for words, options in ways:
        if shutil.which(words[0]) is None:
            reasons.append(f"there is no program {words[0]}")
            continue
        done = subprocess.run(
            [*words, "run", "--rm", "--network=none", *options, *HARDENED, "--entrypoint=true", image],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if done.returncode == 0:
            return words, options
        reasons.append(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else str(done.returncode))
    raise NotRun(f"podman cannot run a container here: {'; '.join(reasons)}")


def podman(
    image: str, *arguments: str, check: bool = True, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run podman with these arguments. Raises NotRun."""
    return subprocess.run(
        [*_way(image)[0], *arguments],
        env=ENVIRONMENT,
        input=text,
        capture_output=True,
        text=True,
        check=check,
        timeout=_SECONDS,
    )


class Container:
    """A container of an image, which runs in the background until the block ends."""

    def __init__(
        self,
        image: str,
        name: str,
        options: Sequence[str],
        arguments: Sequence[str] = (),
        *,
        hardened: bool = True,
    ) -> None:
        self.image, self.name = image, name
        words = _way(image)[1]
        # --passwd=false: no entry of the user in /etc/passwd, as with other runtimes.
        made = [
            f"--name={name}",
            "--passwd=false",
            *(HARDENED if hardened else ()),
            *words,
            *options,
            image,
            *arguments,
        ]
        podman(image, "run", "--detach", *made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        podman(self.image, "rm", "--force", "--time=1", self.name, check=False)

    def execute(self, *words: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        return podman(
            self.image,
            "exec",
            *(["--interactive"] if text else []),
            self.name,
            *words,
            check=check,
            text=text,
        )

    def do(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of podman whose last argument is the container."""
        return podman(self.image, *words, self.name, check=check)

    @property
    def log(self) -> str:
        """What the container has written."""
        done = self.do("logs")
        return done.stdout + done.stderr

    @property
    def exit_code(self) -> int:
        """The exit code of a container that has ended."""
        return int(self.do("wait").stdout)
