"""The files of an installation that are no modules."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands.systemd_service import packaged_files
from mcpbridged.bridge.commands.systemd_service.packaged_files import NotPackaged, documents, unit_template

from ....support.bridge_process import REPOSITORY

NAMES = [*packaged_files.MANUALS, *packaged_files.COMPLETIONS]


def installed(monkeypatch, folder, direct_url=None):
    """Let the distribution be that of a wheel whose data files are below `folder`/share."""
    files = []
    for name in [*NAMES, "mcp-bridge/systemd/mcp-bridge.service"]:
        path = folder / "share" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        files.append(
            SimpleNamespace(
                as_posix=lambda name=name: f"../../../share/{name}", locate=lambda path=path: path
            )
        )
    found = SimpleNamespace(files=files, read_text=lambda _: direct_url, locate_file=lambda _: folder)
    monkeypatch.setattr(packaged_files, "distribution", lambda _: found)


def test_the_files_of_a_checkout_are_found():
    # The tests run with an editable installation.
    assert unit_template("mcp-bridge.socket") == (REPOSITORY / "systemd/mcp-bridge.socket").read_text()
    assert [source.parent.parent for source, _ in documents({"HOME": "/none"})] == [REPOSITORY] * len(NAMES)


def test_the_files_of_a_wheel_are_found(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path / "venv")
    assert unit_template("mcp-bridge.service") == "mcp-bridge/systemd/mcp-bridge.service"
    home = tmp_path / "home"
    pairs = [*documents({"HOME": str(home)})]
    assert [source for source, _ in pairs] == [tmp_path / "venv/share" / name for name in NAMES]
    assert [target for _, target in pairs] == [home / ".local/share" / name for name in NAMES]
    [_, *rest] = documents({"HOME": str(home), "XDG_DATA_HOME": str(tmp_path / "data")})
    assert rest[0][1].is_relative_to(tmp_path / "data")


def test_files_that_the_installer_has_put_into_place_are_left_out(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path / ".local")
    assert [*documents({"HOME": str(tmp_path)})] == []


def test_a_copy_of_another_installation_is_replaced(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path / "venv")
    target = tmp_path / ".local/share" / NAMES[0]
    target.parent.mkdir(parents=True)
    target.write_text("old")
    assert (tmp_path / "venv/share" / NAMES[0], target) in [*documents({"HOME": str(tmp_path)})]


@pytest.mark.parametrize(
    "about", [None, json.dumps({"url": "https://h/x"}), json.dumps({"url": "file:///none", "dir_info": {}})]
)
def test_an_installation_without_the_files_is_named(monkeypatch, tmp_path, about):
    monkeypatch.setattr(
        packaged_files,
        "distribution",
        lambda _: SimpleNamespace(files=None, read_text=lambda _: about, locate_file=lambda _: tmp_path),
    )
    monkeypatch.setattr(packaged_files.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(packaged_files.site, "getuserbase", lambda: str(tmp_path))
    with pytest.raises(
        NotPackaged, match=r"has no file share/mcp-bridge/systemd/mcp-bridge\.service; install"
    ):
        unit_template("mcp-bridge.service")
