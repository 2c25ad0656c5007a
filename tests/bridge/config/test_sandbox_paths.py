"""The paths that a program needs to start."""

import os

import pytest

from mcpbridged.bridge.config.sandbox_paths import DEVICES, SYSTEM, base_paths
from mcpbridged.transports.options import Launch


@pytest.fixture
def home(tmp_path):
    found = tmp_path.resolve() / "home"
    found.mkdir()
    return found


def program(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def paths(home, *argv, **variables):
    found = base_paths(
        Launch(tuple(map(str, argv)), {"HOME": str(home), "PATH": "/usr/bin:/bin", **variables})
    )
    return {path for path in found[0] if path.startswith(str(home))}, [*found[1]]


def test_every_program_reads_the_system_and_no_home_directory(home):
    read, write = base_paths(Launch(("sh",), {"HOME": str(home), "PATH": "/usr/bin:/bin"}))
    assert {*SYSTEM} <= {*read}
    assert write == DEVICES
    assert not {"/", "/etc", "/home", "/root", "/run", "/tmp", "/var", str(home)} & {*read}


@pytest.mark.parametrize(
    ("place", "granted"),
    [
        ("tool/bin/server", "tool"),
        ("bin/server", "bin"),
        (".local/bin/server", ".local/bin"),
        ("server", "server"),
        ("apps/server/run", "apps/server"),
        ("src/node_modules/x/node_modules/y/cli", "src/node_modules"),
    ],
)
def test_a_program_reads_its_installation_and_no_shared_directory(home, place, granted):
    assert paths(home, program(home / place)) == ({f"{home}/{granted}"}, [*DEVICES])


def test_a_link_grants_the_place_of_each_step(home):
    target = program(home / "versions/one/bin/server")
    (home / ".local/bin").mkdir(parents=True)
    (home / "current").symlink_to(home / "versions/one")
    (home / ".local/bin/server").symlink_to("../../current/bin/server")
    read, _ = paths(home, home / ".local/bin/server")
    assert read == {f"{home}/.local/bin", f"{home}/current", str(target.parent.parent)}


def test_a_circle_of_links_is_left(home):
    (home / "a").symlink_to("b")
    (home / "b").symlink_to("a")
    assert paths(home, home / "a")[0] == set()


def test_a_script_grants_its_project_and_its_interpreter(home):
    interpreter = program(home / "runtime/bin/node")
    script = program(home / "src/project/dist/index.js", f"#!{interpreter}\n")
    (home / "src/project/package.json").write_text("{}")
    expected = {f"{home}/runtime", f"{home}/src/project"}
    assert paths(home, script)[0] == expected
    assert paths(home, interpreter, script)[0] == expected


def test_the_interpreter_of_env_is_found_in_path(home):
    interpreter = program(home / "runtime/bin/node")
    script = program(home / "x/server", "#!/usr/bin/env -S node --flag\n")
    read, _ = paths(home, script, PATH=f"{interpreter.parent}:/usr/bin:/bin")
    assert read == {f"{home}/runtime", f"{home}/x"}


def test_a_file_that_is_an_argument_grants_itself_only(home):
    (home / "notes").mkdir()
    (home / "notes/package.json").write_text("{}")
    (home / "notes/settings.yaml").write_text("")
    assert paths(home, "/bin/sh", home / "notes/settings.yaml")[0] == {f"{home}/notes/settings.yaml"}


def test_a_virtual_environment_grants_the_python_that_it_was_made_of(home):
    base = program(home / "pythons/3.12/bin/python3.12")
    venv = home / "app/.venv/bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(base)
    script = program(venv / "server", f"#!{venv}/python\n")
    read, _ = paths(home, script)
    assert {f"{home}/app/.venv", f"{home}/pythons/3.12"} <= read


@pytest.mark.parametrize(
    ("runner", "variables", "written", "read"),
    [
        ("npx", {}, {".npm"}, {".npmrc"}),
        ("npx", {"npm_config_cache": "/c"}, {"/c"}, {".npmrc"}),
        ("uvx", {}, {".cache/uv", ".local/share/uv"}, {".config/uv"}),
        ("uvx", {"XDG_CACHE_HOME": "/x", "UV_TOOL_DIR": "/t"}, {"/x/uv", "/t"}, {".config/uv"}),
        ("pipx", {"XDG_STATE_HOME": "/s"}, {".local/share/pipx", "/s/pipx"}, set()),
    ],
)
def test_a_runner_writes_to_its_cache(home, runner, variables, written, read):
    found_read, found_write = paths(home, program(home / f"tool/bin/{runner}"), "some-server", **variables)
    assert {*found_write} - {*DEVICES} == {one if one.startswith("/") else f"{home}/{one}" for one in written}
    assert found_read == {f"{home}/tool", *(f"{home}/{one}" for one in read)}


def test_certificates_that_variables_name_are_read(home):
    read, _ = paths(home, "/bin/sh", SSL_CERT_FILE=f"{home}/ca.pem", NODE_USE_SYSTEM_CA="1")
    assert read == {f"{home}/ca.pem"}


def test_without_a_home_directory_the_installation_is_granted(home):
    script = program(home / "tool/bin/server")
    read, write = base_paths(Launch((str(script),), {"PATH": os.defpath}))
    assert f"{home}/tool" in read
    assert write == DEVICES
