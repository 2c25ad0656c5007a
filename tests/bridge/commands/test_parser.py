"""Errors of the command line, and the format they are written in."""

import argparse
import json

import pytest

from mcpbridged.bridge.commands.command_options import commands_parser
from mcpbridged.bridge.commands.parser import Parser, command_first, form_of


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ([], "text"),
        (["--log-format", "json"], "json"),
        (["--log-format=json"], "json"),
        (["--log-format=json", "--log-format", "text"], "text"),
        (["--", "server", "--log-format=json"], "text"),
        (["--log-format"], ""),
        (["--wrong", "--log-format=json"], "json"),
    ],
)
def test_the_format_is_known_before_the_arguments_are_parsed(arguments, form):
    assert form_of(arguments) == form


def test_wrong_usage_exits_with_64_and_names_the_help(capsys):
    with pytest.raises(SystemExit) as caught:
        Parser(prog="mcp-bridge x").parse_args(["--wrong"])
    assert caught.value.code == 64
    assert capsys.readouterr().err == (
        "mcp-bridge: unrecognized arguments: --wrong\nTry 'mcp-bridge x --help'.\n"
    )


def test_an_error_in_json_is_one_event(capsys):
    parser = Parser()
    parser.form = "json"
    with pytest.raises(SystemExit) as caught:
        parser.fail(78, "no file", "a hint")
    assert caught.value.code == 78
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["reason"], event["code"]) == ("cannot_start", "no file", 78)


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["--config", "X", "status"], ["status", "--config", "X"]),
        (["--config=X", "--json", "status", "--watch"], ["status", "--config=X", "--json", "--watch"]),
        (["--log-format", "json", "serve"], ["serve", "--log-format", "json"]),
        (["--config", "status", "ps"], ["ps", "--config", "status"]),
        (["status", "--json"], ["status", "--json"]),
    ],
)
def test_options_may_stand_before_the_command(arguments, first):
    assert command_first(arguments) == first


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--config"],
        ["--config", "status"],
        ["--version"],
        ["--stdio", "status"],
        ["--port", "9000", "--stdio", "--", "status"],
        ["--log-format", "json", "--stdio", "status"],
        ["npx", "status"],
    ],
)
def test_arguments_of_the_wrapper_stay(arguments):
    assert command_first(arguments) == arguments


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--jsno"], "unrecognized arguments: --jsno; did you mean '--json'?"),
        (["--jsno=x", "y"], "unrecognized arguments: --jsno=x y; did you mean '--json'?"),
        (["y"], "unrecognized arguments: y"),
        (["--hiddem"], "unrecognized arguments: --hiddem"),
    ],
)
def test_a_similar_option_is_suggested(capsys, words, text):
    parser = Parser(prog="x")
    parser.add_argument("--json")
    parser.add_argument("--hidden", help=argparse.SUPPRESS)
    with pytest.raises(SystemExit) as caught:
        parser.unrecognized(words)
    assert caught.value.code == 64
    assert capsys.readouterr().err.splitlines()[0] == f"mcp-bridge: {text}"


def test_a_similar_choice_is_suggested(capsys):
    with pytest.raises(SystemExit):
        commands_parser().parse_args(["config", "chek"])
    first = capsys.readouterr().err.splitlines()[0]
    assert first.endswith("; did you mean 'check'?")
