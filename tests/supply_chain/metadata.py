"""Check the metadata that a package index shows: `python -m tests.supply_chain.metadata [--root ROOT] [--release]`.

pyroma must give 10 of 10. The links must be absolute, the description must be rendered as on an index, and the classifiers must name
the versions of Python that are tested. `--release` also reports the placeholder of an address, which must not be published.
"""

import email.policy
import re
import sys
import tempfile
import tomllib
from email.message import EmailMessage
from email.parser import Parser
from pathlib import Path
from typing import Final

import build
import pyproject_hooks
import pyroma.projectdata
import pyroma.ratings
import readme_renderer.markdown

from .report import ROOT, arguments_of, output_to_stderr, report

LABELS: Final = {"Homepage", "Source", "Changelog", "Documentation", "Security"}
PLACEHOLDER: Final = re.compile(r"[\w.@/:-]*\.example\b[\w./-]*")
# Packages that are typed and say so.
TYPED: Final = ("bridge", "entry", "transports", "validators")


def metadata_of(root: Path) -> EmailMessage:
    """Return the core metadata that a wheel of a folder would have, made without a network."""
    with tempfile.TemporaryDirectory() as folder:
        path = build.ProjectBuilder(root, runner=pyproject_hooks.quiet_subprocess_runner).metadata_path(
            folder
        )
        return Parser(EmailMessage, policy=email.policy.compat32).parsestr(  # type: ignore[return-value]
            (Path(path) / "METADATA").read_text(encoding="utf-8")
        )


def index_faults(metadata: EmailMessage) -> list[str]:
    """Return what an index would show wrongly."""
    found = []
    urls = dict(url.split(", ", 1) for url in metadata.get_all("Project-URL", []))
    found += [
        f"metadata: there is no address {label} in project.urls" for label in sorted(LABELS - set(urls))
    ]
    found += [
        f"metadata: {label} is not an https address: {url}"
        for label, url in urls.items()
        if url[:8] != "https://"
    ]
    if metadata["Description-Content-Type"] != "text/markdown":
        return [
            *found,
            f"metadata: the description is of type {metadata['Description-Content-Type']}, not text/markdown",
        ]
    rendered = readme_renderer.markdown.render(metadata.get_payload())
    if rendered is None:
        return [*found, "metadata: the description cannot be rendered"]
    links = re.findall(r'(?:href|src)="([^"]*)"', rendered)
    if not links:
        found.append("metadata: the description has no link")
    found += [
        f"metadata: the description has the relative link {link}"
        for link in links
        if not re.match(r"(https?|mailto):|#", link)
    ]
    return found


def project_faults(root: Path) -> list[str]:
    """Compare classifiers with requires-python and with the packages."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    classifiers = project["project"]["classifiers"]
    lowest = project["project"]["requires-python"].removeprefix(">=")
    named = [found[1] for text in classifiers if (found := re.fullmatch(r".*Python :: (3\.\d+)", text))]
    found = []
    if not named or named[0] != lowest:
        found.append(f"metadata: requires-python is {lowest}, and the first classifier is {named[:1]}")
    if "Typing :: Typed" not in classifiers:
        found.append("metadata: there is no classifier Typing :: Typed")
    return found + [
        f"metadata: {room}/py.typed is missing" for room in TYPED if not (root / room / "py.typed").is_file()
    ]


def placeholders(metadata: EmailMessage) -> list[str]:
    """Return the addresses in the headers that are placeholders."""
    texts = [str(value) for _, value in metadata.items()]
    return [f"metadata: {found} is a placeholder" for text in texts for found in PLACEHOLDER.findall(text)]


def rating_faults(root: Path) -> list[str]:
    """Return what pyroma objects to."""
    rating, objections = pyroma.ratings.rate(pyroma.projectdata.get_data(str(root)), [])
    return [f"metadata: pyroma rates {rating} of 10: {objection}" for objection in objections]


def faults(root: Path = ROOT, *, release: bool = False) -> list[str]:
    # build and pyroma print their progress.
    with output_to_stderr():
        try:
            metadata = metadata_of(root)
        except (build.BuildException, build.BuildBackendException) as error:
            return [f"metadata: setuptools cannot make it: {error}"]
        found = index_faults(metadata) + project_faults(root) + rating_faults(root)
    return found + (placeholders(metadata) if release else [])


def main(arguments: list[str]) -> int:
    root, words = arguments_of(arguments)
    if words not in ([], ["--release"]):
        sys.exit(__doc__)
    return report(faults(root, release=bool(words)), "the metadata is complete; pyroma gives 10 of 10")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
