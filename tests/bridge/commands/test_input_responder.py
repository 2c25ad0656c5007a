"""Input requests of a server, answered by a user who is a list of lines."""

import pytest

from mcpbridged.bridge.commands.control_client import ErrorResponse
from mcpbridged.bridge.commands.input_responder import InputResponder


class User:
    """Types these lines, and then ends the input."""

    def __init__(self, *lines):
        self.lines = list(lines)
        self.shown = []

    def show(self, text):
        self.shown.append(text)

    def ask(self, prompt):
        self.shown.append(prompt)
        return self.lines.pop(0) if self.lines else None


def form(**properties):
    required = [name for name, one in properties.items() if one.pop("needed", False)]
    return {
        "method": "elicitation/create",
        "params": {
            "message": "Who\x1b?",
            "requestedSchema": {"type": "object", "properties": properties, "required": required},
        },
    }


def link(url):
    return {
        "method": "elicitation/create",
        "params": {"mode": "url", "message": "m", "url": url, "elicitationId": "1"},
    }


def answered(request, *lines):
    user, notices = User(*lines), []
    result = InputResponder("srv", user, notices.append).respond(request)
    assert notices == []
    return result, "\n".join(user.shown)


def test_a_form_is_filled_in_and_sent_when_the_user_accepts():
    request = form(name={"type": "string", "needed": True}, age={"type": "integer", "default": 5}, more={})
    result, shown = answered(request, "Ada", "", "", "y")
    assert result == {"action": "accept", "content": {"name": "Ada", "age": 5}}
    assert "srv requests input:\n  Who\\x1b?" in shown
    assert "name (string, required): " in shown


def test_an_answer_that_is_refused_is_asked_for_again():
    request = form(age={"type": "integer", "maximum": 9, "needed": True})
    result, shown = answered(request, "", "x", "10", ":skip", "7", "what", "yes")
    assert result["content"] == {"age": 7}
    assert shown.count("this field is required") == 2
    assert "must be an integer" in shown
    assert "must be at most 9" in shown


def test_a_default_can_be_left_out_and_a_colon_can_be_sent():
    request = form(a={"type": "string", "default": "x"}, b={"type": "string"})
    assert answered(request, ":skip", "::skip", "y")[0]["content"] == {"b": ":skip"}


@pytest.mark.parametrize(
    ("lines", "action"),
    [
        (["Ada", "n"], "decline"),
        (["Ada", "c"], "cancel"),
        ([":decline"], "decline"),
        ([":cancel"], "cancel"),
        ([], "decline"),
        (["Ada"], "decline"),
    ],
)
def test_a_form_can_be_declined_and_cancelled_and_then_sends_nothing(lines, action):
    assert answered(form(name={"type": "string"}), *lines)[0] == {"action": action}


def test_a_form_without_fields_needs_the_agreement_of_the_user():
    assert answered(form(), "y")[0] == {"action": "accept", "content": {}}
    assert answered(form(), "no")[0] == {"action": "decline"}


def test_choices_are_shown_with_their_titles_and_escaped():
    one = {"type": "string", "oneOf": [{"const": "a\x1b", "title": "T\x1b"}, {"const": "b"}]}
    result, shown = answered(form(x=one), "1", "y")
    assert result["content"] == {"x": "a\x1b"}
    assert "1) a\\x1b: T\\x1b\n    2) b" in shown
    assert "\x1b" not in shown


def test_a_link_is_shown_with_its_host():
    result, shown = answered(link("https://user@evil.example/a?b\x1b"), "y")
    assert result == {"action": "accept"}
    assert "link to evil.example: https://user@evil.example/a?b\\x1b" in shown
    assert answered(link("https://a.example/"), "n")[0] == {"action": "decline"}
    assert "letters that can look like others" in answered(link("https://xn--e1awd7f.example/"), "y")[1]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "https://", "", "https://[", "x"]
)
def test_a_link_that_is_no_http_url_is_declined(url):
    result, shown = answered(link(url))
    assert result == {"action": "decline"}
    assert "not an HTTP URL" in shown


def test_without_a_terminal_each_question_is_declined_with_a_notice():
    notices = []
    responder = InputResponder("srv", None, notices.append)
    assert responder.respond(form(x={"type": "string"})) == {"action": "decline"}
    assert responder.respond(link("https://a/")) == {"action": "decline"}
    assert notices[0].startswith(
        "srv has requested input, which was declined, because stdin or stderr is not"
    )


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"method": "sampling/createMessage"}, "srv requests the answer of a language model (sampling)"),
        ({"method": "roots/list"}, "(roots)"),
        ({"method": "x/y"}, "'x/y'"),
        ({}, "''"),
        (7, "''"),
    ],
)
def test_other_requests_are_refused_with_the_reason(request_, words):
    with pytest.raises(ErrorResponse) as caught:
        InputResponder("srv", User(), print).respond(request_)
    assert words in str(caught.value)
    assert "use an MCP client that does" in str(caught.value)


@pytest.mark.parametrize("params", [None, 5, {}, {"message": 5, "requestedSchema": 5}, {"mode": "other"}])
def test_a_malformed_question_can_be_accepted_without_answers(params):
    request = {"method": "elicitation/create", "params": params}
    assert answered(request, "y")[0] == {"action": "accept", "content": {}}
