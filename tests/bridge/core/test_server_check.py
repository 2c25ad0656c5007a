"""The findings about what a server offers."""

from mcpbridged.bridge.core.definitions import KINDS, Definition, definitions_in
from mcpbridged.bridge.core.server_check import MOST, Listed, Offer, check_offer, tools_of_others

TOOLS, PROMPTS, TEMPLATES, RESOURCES = KINDS
READ = {"name": "read", "description": "Read.", "inputSchema": {"type": "object"}}


def offer(*lists, **members):
    return Offer("one", members.pop("capabilities", {"tools": {}, "resources": {}}), lists=lists, **members)


def ids(one, **others):
    return [(found.severity, found.id) for found in check_offer(one, others)]


def listed(kind, *items, **members):
    return Listed(kind, definitions_in(kind, items), **members)


def test_a_good_server_has_no_finding():
    good = offer(
        listed(TOOLS, READ),
        Listed(PROMPTS, absent=True),
        Listed(TEMPLATES, absent=True),
        listed(RESOURCES, {"uri": "a:b", "name": "b"}),
        instructions="Read first.",
    )
    assert ids(good) == []
    assert [one.label for one in good.definitions] == ["instructions", "tool read", "resource a:b"]


def test_a_server_without_an_answer_has_one_finding():
    assert ids(offer(listed(TOOLS, 1), fault="gone")) == [("error", "no-response")]


def test_a_list_that_is_declared_must_exist():
    assert ids(offer(Listed(TOOLS, absent=True))) == [("error", "list-missing")]
    assert ids(offer(Listed(TOOLS, fault="broken"))) == [("error", "list-failed")]
    assert ids(offer(Listed(PROMPTS, fault="broken"))) == [("warning", "list-failed")]


def test_a_list_must_be_declared():
    assert ids(offer(listed(TOOLS, READ), capabilities={})) == [("warning", "capability-missing")]
    assert ids(offer(listed(TOOLS), capabilities={})) == []


def test_a_list_must_end():
    assert ids(offer(listed(TOOLS, READ, cut="no end"))) == [("error", "list-unbounded")]


def test_equal_names_of_several_pages_are_found():
    assert ids(offer(listed(TOOLS, READ, READ))) == [("error", "duplicate-name")]


def test_instructions_are_examined():
    assert ids(offer(instructions="<SYSTEM>")) == [("error", "instruction-markup")]


def test_the_number_of_findings_is_limited():
    found = check_offer(offer(listed(TOOLS, *({"name": f"t{number}"} for number in range(MOST)))))
    assert len(found) == MOST + 1
    assert found[-1].id == "many-findings"


def test_tools_of_other_servers():
    def of(server, *names):
        return Offer(
            server, lists=[Listed(TOOLS, [Definition("tool", name, {}) for name in names])], instructions="i"
        )

    offers = [of("one", "read_a", "both_b"), of("two", "both_b", "only_c")]
    assert tools_of_others(offers, "one") == {"only_c": "two"}
    text = {**READ, "description": "Call this before only_c."}
    assert ids(offer(listed(TOOLS, text)), **tools_of_others(offers, "one")) == [
        ("warning", "names-other-tool")
    ]
