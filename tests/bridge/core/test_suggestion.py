"""Suggestions for names that are wrong."""

import time

import pytest

from mcpbridged.bridge.core.suggestion import alternatives, most_similar, suggestion

NAMES = ["status", "sessions", "serve", "config", "client-config", "restart"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("statsu", "status"),
        ("STATUS", "status"),
        ("conf", "config"),
        ("session", "sessions"),
        ("restrat", "restart"),
        ("sta", "status"),
        ("xyz", ""),
        ("", ""),
        ("s" * 64, "s" * 63),
        # Longer names are not compared.
        ("s" * 65, ""),
    ],
)
def test_the_most_similar_name_is_suggested(name, found):
    assert most_similar(name, [*NAMES, "s" * 63]) == found


def test_a_beginning_of_several_names_is_compared_with_each():
    assert most_similar("se", ["serve", "sessions"]) == ""
    assert most_similar("serv", ["serve", "server"]) == "serve"


def test_the_suggestion_is_the_end_of_a_text():
    assert suggestion("gihtub", ["GitHub", "files"]) == "; did you mean 'GitHub'?"
    assert suggestion("gihtub", []) == ""


def test_many_long_names_take_little_time():
    begun = time.process_time()
    assert most_similar("a" * 64, ["ab" * 32] * 100_000 + ["b" * 10_000_000]) != "b"
    assert time.process_time() - begun < 1


def test_an_error_lists_the_known_names_up_to_a_limit():
    assert alternatives("x", []) == "; there are: none"
    assert alternatives("fils", ["files", "time"]) == "; there are: files, time; did you mean 'files'?"
    many = [f"server-{number}" for number in range(21)]
    assert alternatives("?", many[:20]) == f"; there are: {', '.join(many[:20])}"
    assert alternatives("server-2", many).startswith(f"; there are: {', '.join(many[:20])}, ...")
