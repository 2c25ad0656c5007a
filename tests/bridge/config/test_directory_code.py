"""Which commands let their working directory choose what is executed."""

import shlex

import pytest

from mcpbridged.bridge.config.directory_code import (
    file_in_directory,
    why_directory_chooses,
    why_program_chooses,
)

PATHS = {"PATH": "/usr/bin:/bin"}
PROJECT = "executes what a file of its working directory describes"
SCRIPT = "executes a script whose path is not absolute"
NO_SCRIPT = "without a script executes what its client sends"
LOADED = "executes a file or a package that its working directory has"
IMPORTS = "-m or -c imports modules from its working directory"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        # Runners of packages and of projects.
        *(
            (command, f"{command.split()[0].rpartition('/')[2]} {PROJECT}")
            for command in (
                "npx -y server@1.2.3",
                "/usr/local/bin/npx server",
                "bunx server",
                "bun x server",
                "bun /opt/server.ts",
                "pnpm dlx server",
                "pnpx server",
                "yarn dlx server",
                "npm exec server",
                "uvx server",
                "uv run server",
                "uv tool run server",
                "uv --directory /opt run server",
                "pipx run server",
                "poetry run server",
                "make",
                "make -C /opt",
                "just run",
                "cargo run",
                "go run .",
                "deno run x.ts",
                "deno run /opt/x.ts",
                "tsx /opt/x.ts",
                "Rscript /opt/x.R",
                "lua /opt/x.lua",
                "lua5.4 /opt/x.lua",
                "dotnet run",
                "docker compose run x",
                "docker --context x compose up",
                "podman build .",
                "rustup run stable x",
            )
        ),
        # Interpreters.
        *(
            (command, f"{command.split()[0].rpartition('/')[2]} {IMPORTS}")
            for command in (
                "python -m server",
                "python3 -mserver",
                "/usr/bin/python3.11 -um server",
                "python -u -m server",
                "python -X utf8 -m server",
                "python -c pass",
                "python -Ec pass",
                "python -E -m server",
                "pypy3 -m server",
            )
        ),
        *(
            (command, f"{command.split()[0]} {SCRIPT}")
            for command in (
                "python server.py",
                "python -u server.py",
                "python -I server.py",
                "python -",
                "node server.js",
                "node .",
                "node --inspect server.js",
                "nodejs -",
                "ruby server.rb",
                "perl -w server.pl",
                "java Main",
                "java @arguments",
                "dotnet server.dll",
                "sh server.sh",
                "bash -e server.sh",
                "bash +o posix server.sh",
                "busybox sh /opt/x",
            )
        ),
        *(
            (command, f"{command} {NO_SCRIPT}")
            for command in ("python", "node", "bash", "sh", "ruby", "perl", "java", "dotnet")
        ),
        ("python -u -X utf8", f"python {NO_SCRIPT}"),
        ("bash -s", f"bash {NO_SCRIPT}"),
        ("sh -c /opt/server", "the programs in the line of sh -c are not known"),
        ("bash -lc /opt/server", "the programs in the line of bash -lc are not known"),
        ("bash --rcfile x /opt/server.sh", f"bash --rcfile {LOADED}"),
        ("node -e 0", "the files that the code of node -e loads are not known"),
        ("node --print 0", "the files that the code of node --print loads are not known"),
        ("perl -e 0", "the files that the code of perl -e loads are not known"),
        ("node -r dotenv /opt/server.js", f"node -r {LOADED}"),
        ("node --import=./x.mjs /opt/server.js", f"node --import {LOADED}"),
        ("node --loader tsx /opt/server.js", f"node --loader {LOADED}"),
        ("node --env-file=.env /opt/server.js", f"node --env-file {LOADED}"),
        ("node --import", f"node --import {LOADED}"),
        ("node --test /opt/x.js", f"node --test {PROJECT}"),
        ("julia --project /opt/x.jl", f"julia --project {PROJECT}"),
        ("perl -Ilib /opt/x.pl", f"perl -I {LOADED}"),
        ("ruby -I lib /opt/x.rb", f"ruby -I {LOADED}"),
        ("java -jar server.jar", "java loads classes from a path that is not absolute"),
        ("java -cp /opt/a.jar: Main", "java loads classes from a path that is not absolute"),
        ("java -cp", "java loads classes from a path that is not absolute"),
        ("java -javaagent:x.jar -jar /opt/x.jar", "java loads an agent from a path that is not absolute"),
        ("java -agentpath:./x.so -jar /opt/x.jar", "java loads an agent from a path that is not absolute"),
        ("julia --project=. /opt/x.jl", f"julia --project=. {PROJECT}"),
        ("ruby -r./x /opt/x.rb", f"ruby -r {LOADED}"),
        # Programs that execute another one.
        ("env npx server", f"npx {PROJECT}"),
        ("env A=1 B=2 npx server", f"npx {PROJECT}"),
        ("/usr/bin/env -i -u A -C /opt npx server", f"npx {PROJECT}"),
        ("env -S 'A=1 npx server'", f"npx {PROJECT}"),
        ("env '-Snpx server'", f"npx {PROJECT}"),
        ("env '--split-string=npx server'", f"npx {PROJECT}"),
        ("env -iS 'npx server'", f"npx {PROJECT}"),
        ("env '-vSnpx server'", f"npx {PROJECT}"),
        ("op run --env-file /opt/env -- npx server", f"op: npx {PROJECT}"),
        ("vault-exec profile -- python -m server", f"vault-exec: python {IMPORTS}"),
        ("conda run -n x python -m server", f"conda: python {IMPORTS}"),
        ("systemd-run --user --pipe npx server", f"systemd-run: npx {PROJECT}"),
        ("env PATH=bin server", "the variable PATH has the entry 'bin', which is no absolute path"),
        ("env ./server", "the path of a program is relative"),
        ("env env env npx", f"npx {PROJECT}"),
        ("nice -n 5 npx server", f"nice: npx {PROJECT}"),
        ("timeout 60 make", f"timeout: make {PROJECT}"),
        ("flock /run/lock python -m server", f"flock: python {IMPORTS}"),
        ("flock /run/lock -c 'npx server'", f"flock: npx {PROJECT}"),
        ("nohup ./server", "nohup: the path of a program is relative"),
        ("nice env npx server", f"npx {PROJECT}"),
        ("sudo -u x env A=1 npx server", f"npx {PROJECT}"),
    ],
)
def test_a_command_that_executes_what_its_directory_has_is_found(command, reason):
    assert why_directory_chooses(shlex.split(command), PATHS) == reason


@pytest.mark.parametrize(
    "command",
    [
        "server",
        "/opt/server --root .",
        "mcp-server-filesystem . ..",
        "server make",
        "python /opt/server.py",
        "python -u -W error -X utf8 /opt/server.py x.py",
        "python -I -m server",
        "python -Im server",
        "python -P -c pass",
        "python3 -IEc pass",
        "node /opt/server.js ./x.js",
        "node --max-old-space-size=4096 --import /opt/x.mjs --import=file:///opt/y.mjs /opt/server.js",
        "node -C development /opt/server.js",
        "node --env-file=/opt/env /opt/server.js",
        "java -jar /opt/server.jar",
        "java -cp /opt/a.jar:/opt/b.jar Main",
        "perl -I/opt/lib -w /opt/server.pl",
        "dotnet /opt/server.dll",
        "sh /opt/server.sh -c x",
        "bash -e -o pipefail /opt/server.sh",
        "java -javaagent:/opt/x.jar -jar /opt/server.jar",
        "julia --project=/opt /opt/x.jl",
        "ruby -r/opt/x /opt/x.rb",
        "op run -- /opt/server x",
        "server -- make.md",
        "env -iS",
        "docker run -i --rm mcp/server",
        "podman run -i x",
        "env A=1 /opt/server npx",
        "env",
        "env -u A",
        "nice -n 5 /opt/server x",
        "timeout 60 server",
        "nice",
    ],
)
def test_a_command_that_executes_nothing_of_its_directory_is_accepted(command):
    assert why_directory_chooses(shlex.split(command), PATHS) == ""


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PATH": ""}, "PATH"),
        ({"PATH": "/usr/bin:"}, "PATH"),
        ({"PATH": "/usr/bin::/bin"}, "PATH"),
        ({"PATH": "node_modules/.bin:/usr/bin"}, "PATH"),
        ({"PATH": "~/bin:/usr/bin"}, "PATH"),
        ({"LD_LIBRARY_PATH": "/opt/lib:"}, "LD_LIBRARY_PATH"),
        ({"LD_PRELOAD": "x.so"}, "LD_PRELOAD"),
        ({"PYTHONPATH": "src"}, "PYTHONPATH"),
        ({"PYTHONPATH": ":/opt"}, "PYTHONPATH"),
        ({"NODE_PATH": "."}, "NODE_PATH"),
        ({"CLASSPATH": "."}, "CLASSPATH"),
        ({"BASH_ENV": ".bashrc"}, "BASH_ENV"),
        ({"NODE_OPTIONS": "--max-old-space-size=100 --require ./x.js"}, "NODE_OPTIONS"),
        ({"NODE_OPTIONS": "--import=x"}, "NODE_OPTIONS"),
    ],
)
def test_a_variable_with_a_relative_path_of_code_is_found(variables, named):
    reason = why_directory_chooses(["server"], {**PATHS, **variables})
    assert reason.startswith(f"the variable {named}")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LD_LIBRARY_PATH": "", "PYTHONPATH": "", "NODE_OPTIONS": ""},
        {"LD_LIBRARY_PATH": "/opt/lib:/lib", "NODE_OPTIONS": "--max-old-space-size=100 --require /opt/x.js"},
        {"MANPATH": ":", "PWD": "."},
    ],
)
def test_other_variables_are_accepted(variables):
    assert why_directory_chooses(["server"], {**PATHS, **variables}) == ""
    # Before the variables are known.
    assert why_directory_chooses(["server"], {}) == ""


# ---- files


@pytest.fixture
def program(tmp_path):
    def write(text, name="program"):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("#!/usr/bin/env -S uv run --script", f"uv {PROJECT}"),
        ("#!/usr/bin/env npx", f"npx {PROJECT}"),
        ("#! /usr/bin/env  bun", f"bun {PROJECT}"),
        ("#!/usr/bin/make -f", f"make {PROJECT}"),
        ("#!/usr/bin/python3 -m x", f"python3 {IMPORTS}"),
        ("#!/usr/bin/env node", ""),
        ("#!/usr/bin/env python3", ""),
        ("#!/usr/bin/python3 -I", ""),
        ("#!/bin/sh", ""),
        ("#!", ""),
        ("\x7fELF", ""),
    ],
)
def test_the_first_line_of_a_script_is_part_of_the_command(program, line, reason):
    assert why_program_chooses([program(f"{line}\n"), "make"], PATHS) == reason


def test_a_link_to_a_version_manager_is_found(program, tmp_path):
    program("", "mise")
    (tmp_path / "middle").symlink_to("mise")
    (tmp_path / "node").symlink_to(tmp_path / "middle")
    command = [str(tmp_path / "node"), "/opt/server.js"]
    assert why_program_chooses(command, PATHS) == f"mise {PROJECT}"
    assert why_program_chooses(["node", "/opt/server.js"], {"PATH": str(tmp_path)}) == f"mise {PROJECT}"
    assert why_program_chooses(["missing"], {"PATH": str(tmp_path)}) == ""


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["x.py"], "x.py"),
        (["./x"], "./x"),
        (["sub/x"], "sub/x"),
        (["--plugin=x.py"], "x.py"),
        (["--plugin=./x"], "./x"),
        (["a:sub/x"], "sub/x"),
        (["sub/../x.py"], "sub/../x.py"),
        (["x"], ""),
        (["sub"], ""),
        (["."], ""),
        (["sub/."], ""),
        (["/x.py"], ""),
        (["y.py"], ""),
        (["https://x.py/sub/x"], ""),
        (["x" * 5000 + ".py"], ""),
        ([""], ""),
    ],
)
def test_an_argument_that_is_a_file_of_the_directory_is_found(tmp_path, words, named):
    (tmp_path / "sub").mkdir()
    for name in ("x", "x.py", "sub/x"):
        (tmp_path / name).touch()
    assert file_in_directory(["x.py", *words], str(tmp_path)) == named
