"""A value of a wrong type is explained in words, and a misspelt name with a suggestion."""

import datetime as dt
import itertools
from typing import Annotated, Literal

import attrs
import msgspec
import pytest
from msgspec import Meta

from mcpbridged.bridge.config import schema, tables
from mcpbridged.bridge.config.wording import _faults, described, suggestion, type_faults, unknown_key

SMALL = Annotated[int, Meta(ge=0, le=8)]


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (str, 5, "must be a string, not 5"),
        (bool, "yes", "must be true or false, not the string 'yes'"),
        (tuple[str, ...], "npx", "must be a list of strings, not the string 'npx'"),
        (dict[str, str], ["a"], "must be a table of strings, not a list"),
        (SMALL, 9, "must be a whole number from 0 to 8, not 9"),
        (SMALL, True, "must be a whole number from 0 to 8, not true"),
        (SMALL, 1.5, "must be a whole number from 0 to 8, not 1.5"),
        (Literal["a", "b", "c"], "d", "must be 'a', 'b' or 'c', not the string 'd'"),
        (Literal["", "session", "server"], "sesion", "must be 'session' or 'server', not the string 'sesion'; did you mean 'session'?"),
        (str | Literal[False], True, "must be a string or false, not true"),
        (Annotated[str, Meta(max_length=3)], "abcd", "has 4 characters; the limit is 3"),
        (Annotated[tuple[str, ...], Meta(min_length=1)], [], "must not be empty"),
        (Annotated[tuple[str, ...], Meta(max_length=2)], ["a"] * 3, "has 3 elements; the limit is 2"),
        (schema.Text | Literal[False], "x" * 5000, "has 5000 characters; the limit is 4096"),
    ],
)  # fmt: skip
def test_a_value_is_explained_in_words(hint, value, words):
    [fault] = type_faults(hint, value, hidden=False)
    assert (fault.path, fault.text) == ((), words)


def test_every_element_with_an_error_is_named_by_its_path():
    found = type_faults(dict[str, tuple[str, ...]], {"a": ["x", 1], "b": 5}, hidden=False)
    assert [(fault.path, fault.text) for fault in found] == [
        (("a", 1), "must be a string, not 1"),
        (("b",), "must be a list of strings, not 5"),
    ]


def test_an_unknown_key_of_an_inner_table_is_an_error_of_the_key():
    [fault] = type_faults(dict[Literal["allow", "deny"], tuple[str, ...]], {"alow": []}, hidden=False)
    assert fault == (("alow",), "there is no key 'alow'; did you mean 'allow'?", True)


def test_a_hidden_value_is_not_in_the_text():
    for hint in (tuple[str, ...], int, bool, Literal["a"], SMALL, Annotated[str, Meta(pattern="^x")]):
        for fault in type_faults(hint, "canary", hidden=True):
            assert "canary" not in fault.text


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("comand", ["command", "cwd"], "; did you mean 'command'?"),
        ("envFile", ["env", "env_file"], "; did you mean 'env_file'?"),
        ("pass-env", ["pass_env"], "; did you mean 'pass_env'?"),
        ("zzz", ["command"], ""),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(name, known, words):
    assert suggestion(name, known) == words


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("disabled", "there is no key 'disabled'; use enabled = false"),
        ("timeout", "there is no key 'timeout'; use limits.call_seconds"),
        ("origins", "there is no key 'origins'; it belongs into [listen]"),
        ("zzz", "there is no key 'zzz'; there are command, enabled, limits"),
    ],
)
def test_an_unknown_key_is_explained(key, words):
    known = ["command", "enabled", "limits"]
    assert unknown_key(key, known, [("origins", "[listen]")]) == words


VALUES = [
    *(0, 1, 9, -1, 2**63, 1.5, True, False, "", "x", "a" * 5000, "027", "ab" * 32, "/healthz"),
    *([], ["x"], [1], [["x"]], ["x"] * 300, {}, {"a": "b"}, {"a": 1}, {"allow": ["x"]}, {"deny": ["tools"]}),
    *({"allow": "x"}, {"as": 1}, {"as": -1}, {"body": 1.5}, {"": ""}, dt.date(2026, 1, 1)),
    *(
        dt.datetime(2026, 1, 1),  # noqa: DTZ001 - without an offset
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    ),
    *("session", "client", "info", "json", "auto", "lazy", ["tools"], {"deny": ["tool"]}, 3600, 3601),
]


HINTS = [
    hint
    for cls in (schema.Listen, schema.Log, schema.Server, schema.Token, schema.Aggregate)
    for name, hint in tables._hints_of(cls).items()
    if name != "oauth"
]


def test_a_value_has_a_fault_exactly_if_msgspec_refuses_it():
    for hint, value in itertools.product(HINTS, VALUES):
        try:
            msgspec.convert(value, hint, strict=True)
        except msgspec.ValidationError:
            is_valid = False
        else:
            is_valid = True
        assert is_valid == (not [*_faults(hint, value, (), hidden=False)]), (hint, value)


def test_every_type_of_the_schema_has_words():
    for cls in (schema.File, schema.Listen, schema.Log, schema.Server, schema.Token, schema.Aggregate):
        for field in attrs.fields(cls):
            words = described(tables._hints_of(cls)[field.name])
            assert "object" not in words
            assert "`" not in words
