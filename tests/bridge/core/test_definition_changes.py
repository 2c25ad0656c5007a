"""The words for what differs between two versions of a definition."""

import pytest

from mcpbridged.bridge.core.definition_changes import MOST, differences

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOL = {
    "name": "read",
    "description": "Read a file.",
    "inputSchema": SCHEMA,
    "annotations": {"readOnlyHint": True},
}


def changed(**members):
    return {**TOOL, **members}


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (TOOL, []),
        (changed(description="Read a page."), ['description: changed from "Read a file." to "Read a page."']),
        (
            changed(description="Read a\u200b file."),
            [
                'description: changed from "Read a file." to "Read a\\u{200b} file."',
                "description: has hidden characters now: U+200B",
            ],
        ),
        (
            changed(annotations={"readOnlyHint": False}),
            ["annotations.readOnlyHint: changed from true to false"],
        ),
        (changed(annotations={"readOnlyHint": 1}), ["annotations.readOnlyHint: changed from true to 1"]),
        (changed(annotations=None), ['annotations: changed from {"readOnlyHint": true} to null']),
        (
            changed(
                inputSchema={**SCHEMA, "properties": {"path": {"type": "string"}, "a b": {"x": "\u202e"}}}
            ),
            [
                'inputSchema.properties."a b": property added: {"x": "\\u{202e}"}',
                'inputSchema.properties."a b": has hidden characters now: U+202E',
            ],
        ),
        (
            changed(inputSchema={**SCHEMA, "properties": {}, "required": ["other"]}),
            [
                'inputSchema.properties.path: property removed, was {"type": "string"}',
                'inputSchema.required: "other" is required now',
                'inputSchema.required: "path" is not required any more',
            ],
        ),
        (
            changed(inputSchema={**SCHEMA, "required": ["path", "b"]}),
            ['inputSchema.required: "b" is required now'],
        ),
        (
            changed(inputSchema={**SCHEMA, "required": []}),
            ['inputSchema.required: "path" is not required any more'],
        ),
        (changed(title="T"), ['title: member added: "T"']),
        ("text", None),
    ],
)
def test_a_difference_is_described(new, expected):
    found = differences(TOOL, new)
    if expected is None:
        assert len(found) == 1
        assert found[0].startswith("value: changed from {")
        assert found[0].endswith('to "text"')
    else:
        assert found == expected


def test_what_stays_required_is_not_described():
    assert differences({"required": ["a", "b"]}, {"required": ["c", "a"]}) == [
        'required: "c" is required now',
        'required: "b" is not required any more',
    ]


@pytest.mark.parametrize(("before", "after"), [("b", "c"), ("c", "b")])
def test_a_change_in_a_long_text_is_shown(before, after):
    old, new = (f"{'a' * 500}{one}{'d' * 500}" for one in (before, after))
    (line,) = differences({"description": old}, {"description": new})
    shown = [f'"...{"a" * 40}{one}{"d" * 119}..."' for one in (before, after)]
    assert line == f"description: changed from {shown[0]} to {shown[1]}"


def test_a_change_at_the_end_of_a_long_text_is_shown():
    old = "a" * 5000
    (line,) = differences({"description": old}, {"description": f"{old} IGNORE"})
    assert line.endswith(' IGNORE"')
    assert len(line) < 200


def test_a_long_value_is_cut():
    (line,) = differences({}, {"description": "b" * 5000})
    assert line.endswith('bbb..."')
    assert len(line) < 250


def test_the_number_of_lines_is_limited():
    found = differences({}, {f"k{number}": 1 for number in range(MOST + 5)})
    assert len(found) == MOST + 1
    assert found[-1] == "and 5 more"


def test_deep_values_are_compared_as_a_whole():
    old: object = {"a": 1}
    new: object = {"a": 2}
    for _ in range(100):
        old, new = {"a": old}, {"a": new}
    (line,) = differences(old, new)
    assert line.startswith(f'{".".join("a" * 60)}: changed from {{"a": ')
