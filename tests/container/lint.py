"""Check the Containerfile and the examples of docs/CONTAINER.md: hadolint, trivy's checks of configurations, and schemas.

    python tests/container/lint.py [--self-test]

--self-test plants each fault of PLANTS in a copy, and fails if it is not reported, or is reported without the fault.
Exit code: 0 clean, 1 findings, 77 if a tool is missing (a line NOT RUN), never 0 then. No tool needs the network.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
# Where `make container-lint` installs the tools.
TOOLS = REPOSITORY / ".deps/container-lint/bin"
EXAMPLES = "examples/container"
CONTAINERFILE = "Containerfile"
COMPOSE = f"{EXAMPLES}/compose.yaml"
KUBERNETES = f"{EXAMPLES}/kubernetes.yaml"
EXIT_NOT_RUN = 77
# By the number of trivy's check, why it is not applied.
NOT_APPLIED = {
    "DS-0001": "the base image has a tag, in the default of its argument",
    "KSV-0125": "the registry of an example is not a real one",
    "KSV-01010": "tls_key is the path of a key",
}


class NotRun(Exception):
    """Raised if a tool is missing or has failed. The text says which."""


@dataclass(frozen=True)
class Plant:
    """A text of a file that a fault replaces, and texts of which one finding has all.

    Others can be planted at the same time, unless it is `alone`.
    """

    name: str
    path: str
    old: str
    new: str
    expected: tuple[str, ...]
    alone: bool = False


PLANTS = (
    Plant("the root user", CONTAINERFILE, "USER 65532:65532", "USER root", (CONTAINERFILE, "DL3002"), alone=True),
    Plant("no user", CONTAINERFILE, "USER 65532:65532\n", "", (CONTAINERFILE, "DS-0002"), alone=True),
    Plant("the latest tag", CONTAINERFILE, "FROM ${BASE}\n", "FROM debian:latest\n", (CONTAINERFILE, "DL3007")),
    Plant(
        "ADD from a URL",
        CONTAINERFILE,
        "COPY . .",
        "ADD https://example.org/x.tar /src/",
        (CONTAINERFILE, "ADD"),
    ),
    Plant("a shell form", CONTAINERFILE, 'CMD ["serve"]', "CMD serve", (CONTAINERFILE, "DL3025")),
    Plant(
        "a privileged pod",
        KUBERNETES,
        "allowPrivilegeEscalation: false",
        "privileged: true",
        (KUBERNETES, "KSV-0017"),
    ),
    Plant(
        "a writable root",
        KUBERNETES,
        "            readOnlyRootFilesystem: true\n",
        "",
        (KUBERNETES, "KSV-0014"),
    ),
    Plant("the root user of a pod", KUBERNETES, "runAsUser: 65532", "runAsUser: 0", (KUBERNETES, "KSV-0020")),
    Plant("capabilities of a pod", KUBERNETES, "            capabilities: {drop: [ALL]}\n", "", (KUBERNETES, "KSV-0003")),
    Plant("a pod without limits", KUBERNETES, '            limits: {cpu: "1", memory: 1Gi}\n', "", (KUBERNETES, "KSV-0018")),
    Plant("an unknown key of a pod", KUBERNETES, "enableServiceLinks", "enableServiceLink", (KUBERNETES, "schema")),
    Plant("an unknown key of compose", COMPOSE, "    read_only: true\n    cap_drop", "    readonly: true\n    cap_drop", (COMPOSE, "schema"), alone=True),
    Plant("a writable root of compose", COMPOSE, "    read_only: true\n", "", (COMPOSE, "proxy: read_only"), alone=True),
    Plant("capabilities of compose", COMPOSE, "    cap_drop: [ALL]\n", "", (COMPOSE, "proxy: cap_drop")),
    Plant("new privileges", COMPOSE, '    security_opt: ["no-new-privileges:true"]\n', "", (COMPOSE, "proxy: no-new-privileges")),
    Plant("a privileged service", COMPOSE, "    read_only: true\n", "    read_only: true\n    privileged: true\n", (COMPOSE, "proxy: privileged"), alone=True),
    Plant("the latest tag of compose", COMPOSE, ":1.27-alpine", ":latest", (COMPOSE, "proxy: the image has no fixed tag")),
    Plant("a port of every address", COMPOSE, "127.0.0.1:443:8443", "443:8443", (COMPOSE, "proxy: the port 443:8443")),
    Plant("the socket of docker", COMPOSE, "      - ./mcp-bridge:", "      - /run/docker.sock:/x\n      - ./mcp-bridge:", (COMPOSE, "bridge: the volume /run/docker.sock")),
)  # fmt: skip


def run_tool(root: Path, name: str, *arguments: str, codes: tuple[int, ...] = (0, 1)) -> str:
    """Run a tool in a folder and return what it printed. Raises NotRun."""
    program = TOOLS / name
    found = str(program) if program.exists() else shutil.which(name)
    if found is None:
        raise NotRun(f"{name} is not installed (make container-lint)")
    done = subprocess.run(
        [found, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode not in codes:
        raise NotRun(f"{name} exited with {done.returncode}: {(done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout + done.stderr


def version() -> str:
    """Return the versions of the tools."""
    hadolint = run_tool(REPOSITORY, "hadolint", "--version").split()[-1]
    trivy = run_tool(REPOSITORY, "trivy", "--version").splitlines()[0].removeprefix("Version: ")
    return f"hadolint {hadolint.removesuffix('-no-git')}, trivy {trivy}"


def findings(root: Path) -> list[str]:
    """Return the faults of the files below a folder. Raises NotRun."""
    return [line for path in CHECKS for line in findings_of(root, path)]


def findings_of(root: Path, path: str) -> list[str]:
    """Return the faults of one of the files. Raises NotRun."""
    return [line for check in CHECKS[path] for line in check(root)]


def hadolint(root: Path) -> list[str]:
    """Return the findings of hadolint."""
    return run_tool(root, "hadolint", "--no-color", CONTAINERFILE).splitlines()


def additions(root: Path) -> Iterator[str]:
    """Yield each ADD, because hadolint permits that of a URL, whose content nothing checks."""
    for number, line in enumerate((root / CONTAINERFILE).read_text().splitlines(), 1):
        if line.split()[:1] == ["ADD"]:
            yield f"{CONTAINERFILE}:{number} ADD fetches or unpacks; use COPY"


def trivy(path: str, root: Path) -> Iterator[str]:
    """Yield the findings of trivy's checks of configurations, which are part of the program."""
    options = ("--skip-check-update", "--skip-version-check", "--quiet", "--format", "json")
    report = json.loads(run_tool(root, "trivy", "config", *options, path))
    # Trivy finds the type of a file by itself, and has no result for a file that it does not know.
    if not report.get("Results"):
        raise NotRun(f"trivy has not checked {path}")
    for result in report["Results"]:
        for found in result.get("Misconfigurations", []):
            if found["ID"] not in NOT_APPLIED:
                line = found["CauseMetadata"].get("StartLine", "")
                yield f"{path}:{line} {found['ID']} {found['Title']}: {found['Message']}"


def compose_schema(root: Path) -> Iterator[str]:
    """Yield violations of the schema of Compose."""
    text = run_tool(
        root,
        "check-jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "--output-format",
        "json",
        COMPOSE,
    )
    for error in json.loads(text)["errors"]:
        yield f"{COMPOSE}: schema: {error['path']}: {error['message']}"


def kubernetes_schema(root: Path) -> Iterator[str]:
    """Yield violations of the schema of Kubernetes."""
    for line in run_tool(root, "kubernetes-validate", "--strict", "--quiet", KUBERNETES).splitlines():
        if line.strip():
            yield f"{KUBERNETES}: schema: {line}"


def compose_rules(root: Path) -> Iterator[str]:
    """Yield services of Compose with more rights than those in docs/CONTAINER.md, which no tool checks."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((root / COMPOSE).read_text())["services"]
    for name, service in services.items():
        where = f"{COMPOSE}: {name}:"
        if service.get("read_only") is not True:
            yield f"{where} read_only is not true"
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield f"{where} cap_drop is not [ALL]"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{where} no-new-privileges is not set"
        if service.get("privileged"):
            yield f"{where} privileged"
        if str(service.get("image", "")).rpartition(":")[2] in ("", "latest") or ":" not in service.get(
            "image", ""
        ):
            yield f"{where} the image has no fixed tag"
        yield from (
            f"{where} the port {port} is open on every address"
            for port in service.get("ports", [])
            if str(port).count(":") < 2
        )
        yield from (
            f"{where} the volume {volume}" for volume in service.get("volumes", []) if ".sock" in str(volume)
        )


# By file, the functions that yield its findings.
CHECKS: dict[str, tuple[Callable[[Path], Iterable[str]], ...]] = {
    CONTAINERFILE: (hadolint, additions, partial(trivy, CONTAINERFILE)),
    COMPOSE: (compose_schema, compose_rules),
    KUBERNETES: (partial(trivy, KUBERNETES), kubernetes_schema),
}


def self_test(root: Path) -> list[str]:
    """Return the planted faults that were not reported, and those that were reported without the fault."""
    clean = findings(root)
    missed: list[str] = []
    together = [plant for plant in PLANTS if not plant.alone]
    for group in (together, *([plant] for plant in PLANTS if plant.alone)):
        with tempfile.TemporaryDirectory(prefix="planted-") as folder:
            copy = Path(folder)
            shutil.copytree(root / EXAMPLES, copy / EXAMPLES)
            shutil.copy(root / CONTAINERFILE, copy / CONTAINERFILE)
            for plant in group:
                text = (copy / plant.path).read_text()
                if plant.old not in text:
                    missed.append(f"{plant.name}: {plant.path} has no {plant.old!r}")
                (copy / plant.path).write_text(text.replace(plant.old, plant.new, 1))
            found = [line for path in {plant.path for plant in group} for line in findings_of(copy, path)]
        for plant in group:
            if not _reports(found, plant):
                missed.append(f"{plant.name}: not reported: {found}")
            elif _reports(clean, plant):
                missed.append(f"{plant.name}: reported without the fault")
    return missed


def _reports(found: list[str], plant: Plant) -> bool:
    return any(all(part in line for part in plant.expected) for line in found)


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--self-test"]:
            found = self_test(REPOSITORY)
            print(f"container-lint: {len(PLANTS) - len(found)} of {len(PLANTS)} planted faults were reported")
        else:
            found = findings(REPOSITORY)
            print(f"container-lint: {len(found)} findings ({version()})")
    except NotRun as reason:
        sys.stderr.write(f"container-lint: NOT RUN: {reason}\n")
        return EXIT_NOT_RUN
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
