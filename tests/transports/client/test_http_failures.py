"""The texts of errors for responses that are no answer."""

import time

import pytest

from mcpbridged.transports.client.http_failures import (
    excerpt,
    login_required,
    retry_seconds,
    secrets_of,
    status_failure,
    type_failure,
    unreachable,
)
from mcpbridged.transports.client.ports import LoginRequired, Unreachable

ORIGIN = "https://h.example"


def test_a_status_is_shown_with_its_body():
    failure = status_failure(ORIGIN, 502, {}, b"<h1>Bad</h1>\n gateway", (), 0)
    assert failure.text == (
        "the remote server at https://h.example answered with HTTP 502 (Bad Gateway); "
        "the request may have been carried out: Bad gateway"
    )
    assert failure.data == {"reason": "http status", "status": 502}
    assert status_failure(ORIGIN, 599, {}, b"", (), 0).text.endswith(
        "HTTP 599; the request may have been carried out"
    )
    assert status_failure(ORIGIN, 404, {}, b"", (), 0).text.endswith("answered with HTTP 404 (Not Found)")
    assert "credentials" in status_failure(ORIGIN, 401, {}, b"", (), 0).text


def test_only_a_refusal_by_the_server_itself_is_one():
    found = {
        status: status_failure(ORIGIN, status, {}, b"", (), 0)
        for status in (*range(400, 432), 500, 502, 503, 504)
    }
    passing = {status for status, failure in found.items() if not failure.refused}
    assert passing == {401, 403, 407, 408, 425, 429, 500, 502, 503, 504}
    # Other credentials were tried before.
    assert {status for status in passing if found[status].final} == {401, 403}


def test_a_delay_is_named():
    failure = status_failure(ORIGIN, 429, {"retry-after": "7"}, b"", (), 0)
    assert "asks to wait 7 s before the next request" in failure.text
    assert failure.data["retryAfter"] == 7
    assert "retryAfter" not in status_failure(ORIGIN, 500, {"retry-after": "7"}, b"", (), 0).data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", 5),
        (" 5 ", 5),
        ("9" * 50, 999_999_999),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("soon", None),
        ("", None),
        (None, None),
        ("-1", None),
        ("٣", None),
    ],
)
def test_a_delay_is_a_number_or_a_date(value, expected):
    assert retry_seconds(value, 40) == expected


def test_an_excerpt_is_printable_and_has_no_secret():
    secrets = secrets_of(((b"Authorization", b"Bearer abcdefgh12"), (b"X", b"short")))
    assert excerpt(b"got Bearer abcdefgh12 and\x1b[2J \xff short", secrets) == "got … and�[2J � short"
    assert excerpt(b"token abcdefgh12", secrets) == "token …"
    assert excerpt(b"<script>alert(1)</script><p>a</p>\n\n<br>b", ()) == "a b"
    assert len(excerpt(b"x" * 10_000, ())) == 301


def test_a_content_type_is_named():
    text = type_failure(ORIGIN, "text/html", b"<title>Sign in</title>", ()).text
    assert text == (
        "the remote server at https://h.example answered with text/html, which is neither JSON nor an event stream; "
        "check the URL of this server: Sign in"
    )
    assert "with no content type," in type_failure(ORIGIN, "", b"", ()).text


def test_a_failure_shows_whether_the_request_was_sent():
    fault = Unreachable("cannot connect to https://h.example: refused")
    assert unreachable(fault, sent=False).text.endswith("refused; the request was not carried out")
    assert unreachable(fault, sent=True).text.endswith("refused; the request may have been carried out")
    required = LoginRequired("run mcp-bridge login x")
    assert login_required(required).text == "the remote server requires a login: run mcp-bridge login x"
    assert login_required(required, sent=True).text.endswith("x; the request may have been carried out")


def test_unfinished_scripts_are_not_shown_and_take_no_time():
    assert excerpt(b"Sorry<script>" + b"<script>" * 500, ()) == "Sorry"
    began = time.process_time()
    for _ in range(20):
        excerpt(b"<script>" * 512, ())
    assert time.process_time() - began < 0.1
