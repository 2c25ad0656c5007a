"""The server.json of the MCP registry."""

import pytest

from mcpbridged.bridge.config.import_entry import Entry
from mcpbridged.bridge.config.import_registry import is_registry, registry_entries
from mcpbridged.bridge.config.import_texts import LeftOut

STDIO = {"transport": {"type": "stdio"}}


def entry_of(package, **top):
    [(name, entry)] = registry_entries(
        {"name": "io.github.me/thing", "packages": [{**STDIO, **package}], **top}
    )
    assert name == "thing"
    assert isinstance(entry, Entry)
    return entry


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ({"registryType": "npm", "identifier": "@a/b", "version": "1.2"}, ["npx", "-y", "@a/b@1.2"]),
        ({"registry_type": "npm", "identifier": "b", "runtime_hint": "bunx"}, ["bunx", "-y", "b"]),
        (
            {
                "registryType": "npm",
                "identifier": "b",
                "registryBaseUrl": "https://npm.example.com/",
                "runtimeHint": "/bin/sh",
                "runtimeArguments": [{"type": "named", "name": "--yes"}],
            },
            ["npx", "--yes", "--registry=https://npm.example.com", "b"],
        ),
        ({"registryType": "pypi", "identifier": "b", "version": "1"}, ["uvx", "b@1"]),
        (
            {"registryType": "oci", "identifier": "a/b", "version": "1"},
            ["docker", "run", "-i", "--rm", "a/b:1"],
        ),
        (
            {"registryType": "oci", "identifier": "r:5/a:2", "version": "1"},
            ["docker", "run", "-i", "--rm", "r:5/a:2"],
        ),
        (
            {
                "registryType": "oci",
                "identifier": "a",
                "runtimeArguments": [{"type": "positional", "value": "run"}, {"type": "named", "name": "-i"}],
            },
            ["docker", "run", "-i", "a"],
        ),
        (
            {
                "registryType": "nuget",
                "identifier": "B",
                "version": "1",
                "packageArguments": [{"value": "mcp"}],
            },
            ["dnx", "B@1", "--yes", "--", "mcp"],
        ),
    ],
)
def test_each_registry_has_a_runner(package, words):
    entry = entry_of(package)
    assert [entry.command, *entry.args] == words
    assert entry.problems == []


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"type": "named", "name": "--port", "value": "80"}, ["--port", "80"]),
        ({"type": "named", "name": "--port", "default": 80}, ["--port", "80"]),
        ({"type": "named", "name": "--verbose", "description": "x"}, ["--verbose"]),
        ({"type": "named", "name": "--mode", "choices": ["a"]}, []),
        (
            {"type": "named", "name": "--mode", "choices": ["a"], "isRequired": True},
            ["--mode", "${input:mode}"],
        ),
        ({"type": "positional", "valueHint": "dir", "is_required": True}, ["${input:dir}"]),
        ({"type": "positional", "isRequired": True, "isRepeated": True}, ["${input:argument}"]),
        (
            {
                "value": "a={x},b={y},c={z},d={w}",
                "variables": {"x": {"default": "1"}, "y": {"isRequired": True}, "w": {}},
            },
            ["a=1,b=${input:y},c={z},d=${input:w}"],
        ),
    ],
)
def test_an_argument_is_fixed_a_default_or_an_input(argument, words):
    entry = entry_of({"registryType": "npm", "identifier": "b", "packageArguments": [argument]})
    assert entry.args[2:] == words


def test_variables_are_passed_by_docker_and_optional_ones_are_named():
    entry = entry_of(
        {
            "registryType": "oci",
            "identifier": "a",
            "environmentVariables": [
                {"name": "KEY", "isRequired": True, "isSecret": True},
                {"name": "LEVEL", "default": "info"},
                {"name": "OTHER"},
                5,
            ],
        }
    )
    assert entry.args == ["run", "-i", "--rm", "-e", "KEY", "-e", "LEVEL", "a"]
    assert entry.env == {"KEY": "${input:KEY}", "LEVEL": "info"}
    assert entry.notes == ["optional and left out: OTHER"]


def test_a_hash_that_is_not_checked_is_a_problem():
    assert entry_of({"registryType": "npm", "identifier": "b", "fileSha256": "0"}).problems


def test_the_first_usable_package_is_taken_and_the_rest_is_noted():
    top = {
        "packages": [{"registryType": "mcpb"}, {"registryType": "npm", "identifier": "b"}],
        "status": "deprecated",
    }
    [(name, entry)] = registry_entries(top)
    assert name == "server"
    assert entry.command == "npx"
    assert entry.notes == [
        "the first of its 2 packages and remote servers that can be used is taken",
        "the registry says that it is deprecated",
    ]


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ({"registryType": "mcpb", **STDIO}, "packages of the type 'mcpb' are not supported"),
        ({"registryType": "npm", "identifier": "b", "transport": {"type": "sse"}}, "opens a port of its own"),
        ({"registryType": "npm"}, "has no identifier"),
        ({"registryType": "pypi", "identifier": "b", "registryBaseUrl": "https://e.com"}, "another registry"),
    ],
)
def test_a_package_that_cannot_be_run_is_left_out(package, reason):
    [(_, entry)] = registry_entries({"packages": [package]})
    assert isinstance(entry, LeftOut)
    assert reason in str(entry)


def test_without_packages_and_remote_servers_it_is_left_out():
    [(_, entry)] = registry_entries({"name": "a/b", "packages": [], "remotes": []})
    assert "neither a package nor a remote server" in str(entry)


def test_a_remote_server():
    remote = {
        "type": "sse",
        "url": "https://{region}.e.com/{x}",
        "variables": {"region": {"default": "eu"}},
        "headers": [{"name": "X-Key", "isRequired": True, "isSecret": True}, {"name": "X-B", "value": "c"}],
    }
    [(name, entry)] = registry_entries({"server": {"name": "com.e/far", "remotes": [remote]}})
    assert (name, entry.kind, entry.url) == ("far", "sse", "https://eu.e.com/{x}")
    assert entry.headers == {"X-Key": "${input:X-Key}", "X-B": "c"}


def test_what_is_a_server_json():
    assert is_registry({"packages": []})
    assert is_registry({"server": {"remotes": []}})
    assert not is_registry({"packages": {}, "mcpServers": {}})
