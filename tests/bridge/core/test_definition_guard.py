"""Definitions are approved at first sight, and what differs later is pending."""

import json

import pytest

from mcpbridged.bridge.core import definition_guard
from mcpbridged.bridge.core.definition_guard import DefinitionGuard, KindRecord
from mcpbridged.validators.jsonrpc import Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

READ = {"name": "read", "description": "Read.", "inputSchema": {"type": "object", "required": ["a", "b"]}}
OTHER = {"name": "other"}


class World:
    """A guard, what it has reported, and what it has stored."""

    def __init__(self, stored=None, *, blocks=True, **limits):
        self.reports = []
        self.stored = stored or {}
        self.writes = 0
        self.guard = DefinitionGuard(
            lambda: self.stored,
            lambda *report: self.reports.append(report),
            self._keep,
            blocks=blocks,
            limits=Limits(**limits),
        )

    def _keep(self, record):
        self.writes += 1
        self.stored = record

    def page(self, *items, method="tools/list", member="tools", **more):
        result = json.dumps({member: items, **more}).encode()
        answer = self.guard.on_list(method, Response(b"1", result, b""))
        return json.loads(answer.error or answer.result)

    def names(self, *items, **more):
        return [one.get("name") for one in self.page(*items, **more)["tools"]]


def test_the_first_list_is_approved_and_an_equal_one_passes_unchanged():
    world = World()
    for _ in range(3):
        assert world.names(READ, OTHER, more=1) == ["read", "other"]
    assert (world.writes, world.reports, world.guard.pending) == (1, [], 0)
    assert world.stored["tool"].complete


def test_the_bytes_of_an_approved_list_are_not_changed():
    world = World()
    result = b'{"tools" : [ {"name":"read"} ],"x":1.0}'
    for _ in range(2):
        message = Response(b"1", result, b"")
        assert world.guard.on_list("tools/list", message) is message


@pytest.mark.parametrize("blocks", [True, False])
def test_a_changed_definition_is_pending(blocks):
    world = World(blocks=blocks)
    world.names(READ, OTHER)
    worse = {**READ, "description": "Read all."}
    for _ in range(2):
        assert world.names(worse, OTHER) == (["other"] if blocks else ["read", "other"])
    assert world.reports == [("definition_changed", "tool", "read")]
    assert (world.guard.pending, world.writes) == (1, 2)
    (change,) = world.guard.changes()
    assert (change.kind, change.name, change.is_new) == ("tool", "read", False)
    assert change.differences == ['description: changed from "Read." to "Read all."']
    if blocks:
        with pytest.raises(Rejection, match="Unknown tool: read"):
            world.guard.check("tools/call", "read")
    else:
        world.guard.check("tools/call", "read")
    world.guard.check("tools/call", "other")
    world.guard.check("resources/read", "read")


def test_a_definition_that_is_as_approved_again_is_not_pending():
    world = World()
    world.names(READ)
    assert world.names({**READ, "title": "x"}) == []
    assert world.names(READ) == ["read"]
    assert world.guard.pending == 0
    world.guard.check("tools/call", "read")
    # The change was reported, and is not again.
    world.names({**READ, "title": "x"})
    assert len(world.reports) == 1


def test_the_order_of_members_and_of_required_is_no_change():
    world = World()
    world.names(READ)
    other = {
        "inputSchema": {"required": ["b", "a"], "type": "object"},
        "description": "Read.",
        "name": "read",
    }
    assert world.names(other) == ["read"]
    assert world.reports == []


def test_the_comparison_beyond_the_hash_is_limited_for_each_page(monkeypatch):
    monkeypatch.setattr(definition_guard, "_MOST_COMPARED", 100)
    world = World()
    world.names(READ)
    other = {**READ, "inputSchema": {"type": "object", "required": ["b", "a"]}}
    assert world.names(other) == []


def test_a_text_that_was_compared_leaves_room_for_others():
    lists = [
        [{"name": name, "description": "x" * 50_000} for name in ("one", "other")],
        [{"description": "x" * 50_000, "name": name} for name in ("one", "other")],
    ]
    world = World()
    world.names(*lists[0])
    # A page has room for one text of this size and the approved one.
    for items in reversed(lists):
        assert world.names(*items) == ["one"]
        assert world.names(*items) == ["one", "other"]


# A cursor is a text (MCP 2025-11-25 server/utilities/pagination); another value is no end either.
@pytest.mark.parametrize("cursor", ["1", True])
def test_a_definition_of_a_later_page_of_the_first_list_is_approved_and_a_new_one_is_not(cursor):
    world = World()
    assert world.names(READ, nextCursor=cursor) == ["read"]
    assert world.names(OTHER) == ["other"]
    assert world.names({"name": "third"}, OTHER) == ["other"]
    assert world.reports == [("definition_added", "tool", "third")]
    (change,) = world.guard.changes()
    assert (change.is_new, change.differences) == (True, ['name: member added: "third"'])


def test_a_second_definition_of_the_same_name_is_pending():
    world = World()
    assert world.page(READ, {**READ, "title": "x"})["tools"] == [READ]
    assert world.reports == [("definition_changed", "tool", "read")]
    assert world.page({**READ, "title": "x"}, READ)["tools"] == [READ]


def test_each_kind_has_its_own_names():
    world = World()
    world.page(READ)
    world.page({"name": "read"}, method="prompts/list", member="prompts")
    world.page({"uriTemplate": "a:{b}"}, method="resources/templates/list", member="resourceTemplates")
    world.page({"name": "new"}, method="prompts/list", member="prompts")
    with pytest.raises(Rejection, match="Unknown prompt: new"):
        world.guard.check("prompts/get", "new")
    world.guard.check("tools/call", "new")
    assert {*world.stored} == {"tool", "prompt", "resource template"}


def test_what_is_pending_is_approved_if_it_is_what_the_user_has_seen():
    world = World()
    world.names(READ)
    world.names({**READ, "title": "x"}, OTHER)
    seen = world.guard.state
    world.names({**READ, "title": "y"}, OTHER)
    with pytest.raises(ValueError, match="changed again"):
        world.guard.approve(seen)
    assert world.guard.approve(world.guard.state) == ["tools/list"]
    assert world.names({**READ, "title": "y"}, OTHER) == ["read", "other"]
    assert world.names(READ) == []
    assert World().guard.approve(World().guard.state) == []


def test_a_record_of_an_earlier_run_counts_and_its_changes_are_not_reported_again():
    first = World()
    first.names(READ)
    first.names({**READ, "title": "x"})
    second = World(first.stored)
    assert second.names({**READ, "title": "x"}) == []
    assert second.reports == []
    assert second.names({**READ, "title": "z"}) == []
    assert len(second.reports) == 1


def test_an_error_is_passed():
    message = Response(b"1", b"", b'{"code":1,"message":"x"}')
    assert World().guard.on_list("tools/list", message) is message


def test_a_list_beyond_the_limits_is_an_error_with_block_only():
    assert "list_items" in World(list_items=1).page(READ, OTHER)["message"]
    assert len(World(list_items=1, blocks=False).page(READ, OTHER)["tools"]) == 2


@pytest.mark.parametrize(("more", "is_recorded"), [(0, True), (1, False)])
def test_a_form_of_64_kib_is_recorded(more, is_recorded):
    world = World()
    size = 64 * 1024 - len(json.dumps({"name": ""}))
    world.names({"name": "x" * (size + more)})
    [seen] = world.stored["tool"].approved.values()
    assert bool(seen.form) is is_recorded


def test_a_large_form_is_compared_by_its_hash_only(monkeypatch):
    monkeypatch.setattr(definition_guard, "_LARGEST_FORM", 200)
    world = World()
    large = {"name": "large", "description": "x" * 300}
    world.names(large, READ)
    assert world.stored["tool"].approved["large"].form == ""
    assert world.names(large, READ) == ["large", "read"]
    assert world.names({**large, "title": "x"}, READ) == ["read"]
    assert world.guard.changes()[0].differences == ["changed, and too large to be compared"]
    world.names({**large, "name": "new"})
    assert world.guard.changes()[1].differences == ["new, and too large to be shown"]


def test_the_size_of_all_forms_is_limited(monkeypatch):
    monkeypatch.setattr(definition_guard, "_LARGEST_TOTAL", 100)
    world = World()
    world.names(READ, OTHER)
    assert [bool(seen.form) for seen in world.stored["tool"].approved.values()] == [True, False]


def test_a_form_that_is_replaced_makes_room(monkeypatch):
    monkeypatch.setattr(definition_guard, "_LARGEST_TOTAL", 250)
    world = World()
    world.names(READ)
    for number in range(9):
        world.names({**READ, "title": str(number)})
        assert world.guard.changes()[0].differences == [f'title: member added: "{number}"']
    world.names(READ)
    world.names({**READ, "title": "x"})
    world.guard.approve(world.guard.state)
    world.names({**READ, "title": "y"})
    assert world.guard.changes()[0].differences == ['title: changed from "x" to "y"']


def test_the_number_of_definitions_is_limited(monkeypatch):
    monkeypatch.setattr(definition_guard, "MOST", 2)
    world = World()
    names = [{"name": str(number)} for number in range(3)]
    assert world.names(*names) == ["0", "1"]
    assert world.names({"name": "0", "title": "x"}, *names[1:]) == ["1"]
    assert len(world.stored["tool"].approved) == 2


def test_the_number_of_reports_and_of_remembered_texts_is_limited(monkeypatch):
    monkeypatch.setattr(definition_guard, "_MOST_REPORTS", 1)
    monkeypatch.setattr(definition_guard, "GUARDED", dict(list(definition_guard.GUARDED.items())[:1]))
    monkeypatch.setattr(definition_guard, "MOST", 2)
    world = World()
    world.names(READ, OTHER)
    world.names({**READ, "title": "x"}, {**OTHER, "title": "x"})
    assert len(world.reports) == 1
    same = [{"name": "other", "description": None} | {"name": "other"}, dict(reversed([*READ.items()]))]
    assert world.names(*same) == ["read"]


@pytest.mark.parametrize("item", ["text", 1, None, {"name": 1}, {}])
def test_an_item_without_a_name_is_compared_too(item):
    world = World()
    assert world.page(item)["tools"] == [item]
    assert world.page({"x": 1})["tools"] == []


def test_an_item_with_a_lone_surrogate_is_compared():
    world = World()
    result = b'{"tools":[{"name":"read","description":"\\ud800"}]}'
    worse = result.replace(b"d800", b"d801")
    for text, count in ((result, 1), (result, 1), (worse, 0)):
        answer = world.guard.on_list("tools/list", Response(b"1", text, b""))
        assert len(json.loads(answer.result)["tools"]) == count
    assert world.guard.changes()[0].differences


def test_the_record_of_an_empty_store_is_complete_after_an_empty_list():
    world = World()
    assert world.names() == []
    assert world.stored == {"tool": KindRecord(complete=True)}
    assert world.names(READ) == []


def test_a_list_for_a_client_of_the_other_era_is_no_change():
    world = World()
    assert world.names({**READ, "execution": {"taskSupport": "forbidden"}}) == ["read"]
    assert world.names(READ) == ["read"]
    assert world.names({**READ, "execution": {"taskSupport": "forbidden"}}) == ["read"]
    assert world.reports == []
