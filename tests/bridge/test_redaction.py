"""Secrets in a stream: found in every form, wherever it is cut; all else passes byte for byte."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.redaction import REDACTED, Redactor, begun_at, needles_of, redact, spans

SECRET = 'pässwörd "quoted" \\ and/or+more-1_2 😀'
PEM = "-----BEGIN PRIVATE KEY-----\n{}\n{}\n-----END PRIVATE KEY-----\n".format(
    "MIIEvQIBADANBgk" * 4, "qhkiG9w0BAQEFAA" * 4
)


def node(text):
    """As JSON.stringify of Node writes it."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def escaped_everywhere(text, form="\\u{:04X}"):
    units = text.encode("utf-16-be")
    return "".join(form.format(units[at] << 8 | units[at + 1]) for at in range(0, len(units), 2))


FORMS = {
    "plain": str,
    "json of Python": lambda text: json.dumps(text)[1:-1],
    "json of Node": node,
    "json in json": lambda text: node(node(text)),
    "json in json in json": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "escaped slash": lambda text: node(text).replace("/", "\\/"),
    "escapes in upper case": escaped_everywhere,
    "percent, upper case": lambda text: quote(text, safe=""),
    "percent, lower case": lambda text: "".join(f"%{octet:02x}" for octet in text.encode()),
    "percent, a path": quote,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    **{
        f"base64 {name} {before} {after}": lambda text, encode=encode, before=before, after=after: encode(
            b"user:"[:before] + text.encode() + b"!"[:after]
        ).decode()
        for name, encode in (("standard", base64.b64encode), ("url", base64.urlsafe_b64encode))
        for before in range(4)
        for after in range(2)
    },
    "base64 in a form": lambda text: quote_plus(base64.b64encode(text.encode())),
    "base64 without padding": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
}


def core(text, shown):
    """Return the part of a form that must not be left: without its ends, which in base64 may hold bits of another text."""
    return {text[at : at + 6] for at in range(4, len(text) - 10)} & {
        shown[at : at + 6] for at in range(len(shown))
    }


@pytest.mark.parametrize(
    "secret", [SECRET, "correct horse", "AKIA+/x9", "ÄÖÜß1234", "C:\\new\\tab", "100%abc+def"]
)
@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form, secret):
    text = FORMS[form](secret)
    shown = redact(f"<<{text}>>".encode(), needles_of(secret)).decode()
    assert REDACTED.decode() in shown
    assert shown.startswith("<<")
    assert shown.endswith(">>")
    assert not core(text, shown)


def passed(needles, pieces, ends=True):
    redactor = Redactor(lambda: needles)
    shown = b"".join(map(redactor.feed, pieces))
    return shown + redactor.end() if ends else shown


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["plain", "json of Node", "percent, upper case", "base64 standard 1 1"])
def test_a_secret_over_two_lines_is_found_wherever_it_is_broken(form, break_):
    needles = tuple(needles_of(SECRET))
    data = FORMS[form](SECRET).encode()
    for at in range(1, len(data)):
        text = b"x" + data[:at] + break_.encode() + data[at:] + b"y\n"
        for pieces in (
            [text],
            [text[: at + 1], text[at + 1 :]],
            [text[at : at + 1] for at in range(len(text))],
        ):
            shown = passed(needles, pieces)
            assert REDACTED in shown, (at, shown)
            assert shown.startswith(b"x")
            assert shown.endswith(b"y\n")
            assert len(shown) < len(REDACTED) + 12


def test_a_key_of_several_lines_is_found_whole_and_line_by_line():
    needles = tuple(needles_of(PEM))
    first, second = PEM.splitlines()[1:3]
    for text in (
        PEM,
        PEM.replace("\n", "\r\n"),
        json.dumps({"key": PEM}),
        f"a {first} b",
        second,
        f"{first}|{second}",
    ):
        shown = redact(text.encode(), needles).decode()
        assert REDACTED.decode() in shown
        assert not {first[at : at + 8] for at in range(50)} & {shown[at : at + 8] for at in range(len(shown))}
    assert redact(b"-----BEGIN PRIVATE KEY-----", needles) == b"-----BEGIN PRIVATE KEY-----"


def test_a_secret_in_a_line_that_is_longer_than_what_is_shown_is_found():
    needles = tuple(needles_of(SECRET))
    for before in range(4050, 4130):
        text = b"." * before + SECRET.encode() + b"." * 5000 + b"\n"
        assert passed(needles, [text[at : at + 1000] for at in range(0, len(text), 1000)]) == (
            b"." * before + REDACTED + b"." * 5000 + b"\n"
        )


PIECE = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"\\", b"\n", b"%", b"%41", b"\\u00e4", b"p\xc3\xa4ss", b"\\ud83d", b"\\x", b"[secret]", b"a" * 3000]
    ),
)


@given(st.lists(PIECE, max_size=20), st.data())
@settings(max_examples=300)
def test_data_without_a_secret_passes_unchanged_in_any_pieces(parts, data):
    needles = tuple(needles_of("an entirely different secret"))
    redactor = Redactor(lambda: needles)
    shown = b""
    for part in parts:
        shown += redactor.feed(part)
        for _ in range(data.draw(st.integers(0, 3))):
            shown += redactor.tick()[0]
    assert shown + redactor.end() == b"".join(parts)


@given(st.lists(PIECE, max_size=6), st.lists(PIECE, max_size=6), st.sampled_from(sorted(FORMS)), st.data())
@example([b"\\"], [], "plain", None)
@settings(max_examples=300)
def test_a_secret_between_other_bytes_is_found_wherever_the_stream_is_cut(before, after, form, data):
    secret = "Zweiundvierzig ünd nöch 1"
    needles = tuple(needles_of(secret))
    text = b"".join(before) + b"|" + FORMS[form](secret).encode() + b"|" + b"".join(after)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8))) if data is not None else []
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert REDACTED in passed(needles, pieces)
    assert passed(needles, pieces) == redact(text, needles)


def test_overlapping_secrets_are_redacted_completely():
    needles = tuple(needles_of("sk-proj-1234") | needles_of("key=sk-proj") | needles_of("1234-other"))
    assert redact(b"<key=sk-proj-1234-other>", needles) == b"<[secret]>"


def test_lines_are_shown_after_a_pause_and_the_beginning_of_a_secret_after_a_longer_one():
    needles = tuple(needles_of("sk-proj-1234"))
    redactor = Redactor(lambda: needles)
    assert redactor.feed(b"hello\nsk-p\nunfinished") == b""
    assert redactor.tick() == (b"", True)
    assert redactor.tick() == (b"hello\nsk-p\n", False)
    assert redactor.holds
    assert redactor.feed(b" line\nsk-proj\n") == b""
    assert redactor.tick() == (b"", True)
    assert redactor.tick() == (b"unfinished line\n", True)
    assert redactor.feed(b"-1234\n") == b""
    redactor.tick()
    assert redactor.tick() == (b"[secret]\n", False)
    assert redactor.feed(b"sk-proj\n") == b""
    shown = [redactor.tick() for _ in range(20)]
    assert shown[-1] == (b"sk-proj\n", False)
    assert all(more for _, more in shown[:-1])
    assert not redactor.holds


def test_before_a_gap_the_beginning_of_a_secret_is_dropped_and_after_it_the_rest_of_the_line():
    needles = tuple(needles_of("sk-proj-1234"))
    redactor = Redactor(lambda: needles)
    assert redactor.feed(b"hello sk-proj") == b""
    assert redactor.gap() == b"hello "
    assert redactor.gap() == b""
    assert redactor.feed(b"-1234 and") == b""
    assert redactor.feed(b" more\nnext") == b""
    assert redactor.end() == b"\nnext"


def test_without_secrets_no_data_is_held_back():
    redactor = Redactor(tuple)
    assert redactor.feed(b"any") == b"any"
    assert redactor.gap() == b""
    assert redactor.feed(b"thing") == b"thing"
    assert not redactor.holds


@pytest.mark.parametrize("filler", [b"x", b"\n", b"\\", b"%", b"\\n", b"s", b"%25"])
def test_held_data_is_bounded(filler):
    needles = tuple(needles_of("s" * 40) | needles_of("something else"))
    redactor = Redactor(lambda: needles)
    for _ in range(50):
        redactor.feed(filler * 4096)
        assert len(redactor._held) < 8 * (54 + 16) + 8192


def test_where_an_incomplete_secret_begins():
    needles = needles_of("sk-proj-1234")
    assert begun_at(b"x sk\\u002Dproj", needles) == 2
    assert begun_at(b"x sk-", needles) == 5
    assert begun_at(b"sk-proj-1234", needles) == 12
    assert spans(b"\\u0073k-pro\nj-123\\x34!", needles) == [(0, 21)]


@pytest.mark.parametrize(
    "text", [b"\\" * 65536, b"%" * 65536, b"%25" * 20000, b"\\u00" * 16000, b"a" * 65536]
)
def test_no_text_takes_long(text):
    needles = tuple(needle for at in range(30) for needle in needles_of("a" * (1000 + at) + f"b{at}"))
    for _ in range(3):  # minutes, if it were not linear
        redact(text, needles)


def test_held_data_can_be_read_without_an_incomplete_secret():
    redactor = Redactor(lambda: tuple(needles_of("a long secret")))
    redactor.feed(b"Password for a long secret: a long")
    assert redactor.peek() == b"Password for [secret]: "
    assert redactor.peek() == b"Password for [secret]: "
    assert redactor.end() == b"Password for [secret]: a long"


@pytest.mark.parametrize("before", ["%", "100%", "\\x", "\\u", "a\\", "%%", "\\\\u"])
@pytest.mark.parametrize("secret", ["877b8e91d4be6da7e6", "56e9e3ed7e38ce3c2", "deadbeefcafe0123"])
def test_r16_characters_before_a_secret_make_no_escape_of_it(before, secret):
    needles = tuple(needles_of(secret))
    for size in (1, 3, 1000):
        text = f"key {before}{secret} end\n".encode()
        redactor = Redactor(lambda: needles)
        shown = b"".join(redactor.feed(text[at : at + size]) for at in range(0, len(text), size))
        assert shown + redactor.end() == f"key {before}[secret] end\n".encode()
