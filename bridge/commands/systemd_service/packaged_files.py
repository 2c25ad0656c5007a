"""Find the units, manual pages and completions of this installation, and where a user has them.

pip, pipx and uv install them below the prefix of the environment. An editable installation has them in its checkout.
"""

import json
import site
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ...config.xdg import directory_in, home_in

# The files below share/ of an installation, and the folder of a checkout that has them.
MANUALS: Final = {
    "man/man1/mcp-bridge.1": "man",
    "man/man1/mcp-bridge-connect.1": "man",
    "man/man5/mcp-bridge.toml.5": "man",
}
COMPLETIONS: Final = {
    "bash-completion/completions/mcp-bridge": "completions",
    "zsh/site-functions/_mcp-bridge": "completions",
    "fish/vendor_completions.d/mcp-bridge.fish": "completions",
}
_UNITS: Final = "mcp-bridge/systemd"


class NotPackaged(Exception):
    """Raised for a file that this installation does not have. The text names it."""


def unit_template(name: str) -> str:
    """Return the text of a unit of this installation. Raises NotPackaged."""
    return _found(f"{_UNITS}/{name}", "systemd").read_text(encoding="utf-8")


def documents(environment: Mapping[str, str]) -> Iterator[tuple[Path, Path]]:
    """Return each manual page and completion of this installation, and its place below the user's data directory.

    A file that the installation itself has put there is left out. Raises NotPackaged.
    """
    data = directory_in(environment, "XDG_DATA_HOME") or home_in(environment) / ".local" / "share"
    for name, folder in {**MANUALS, **COMPLETIONS}.items():
        source, target = _found(name, folder), data / name
        if not (target.exists() and source.samefile(target)):
            yield source, target


def _found(name: str, folder: str) -> Path:
    for path in _candidates(name, folder):
        if path.is_file():
            return path
    raise NotPackaged(
        f"this installation has no file share/{name}; install mcpbridged with pipx, uv or pip, or from a checkout"
    )


def _candidates(name: str, folder: str) -> Iterator[Path]:
    try:
        installed = distribution("mcpbridged")
    except PackageNotFoundError:
        return
    for checkout in (_checkout(installed), Path(str(installed.locate_file("")))):
        if checkout is not None:
            yield checkout / folder / Path(name).name
    # Where the installer has really put it: pip --prefix and --user differ from sys.prefix.
    for file in installed.files or ():
        if file.as_posix().endswith(f"share/{name}"):
            yield Path(str(file.locate())).resolve()
    yield Path(sys.prefix) / "share" / name
    yield Path(site.getuserbase()) / "share" / name


def _checkout(installed: Distribution) -> Path | None:
    """Return the directory of an editable installation (PEP 610)."""
    text = installed.read_text("direct_url.json")
    about: dict[str, Any] = json.loads(text) if text else {}
    url = urlsplit(str(about.get("url", "")))
    is_editable = url.scheme == "file" and about.get("dir_info", {}).get("editable")
    return Path(unquote(url.path)) if is_editable else None
