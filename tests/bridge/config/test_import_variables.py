"""Variables in the configurations of other clients."""

import pytest

from mcpbridged.bridge.config.import_variables import Piece, Surroundings, expand, shown_piece

HERE = Surroundings(
    {"A": "1", "MY_TOKEN": "x", "HOME": "/elsewhere"}, "/home/me", "/p/shop", inputs={"region": "eu"}
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""),
        ("plain $A {env:A}", "plain $A {env:A}"),
        ("${A}/${env:A}", "1/1"),
        ("${HOME}/bin/x", "/home/me/bin/x"),
        ("${userHome}${/}x${pathSeparator}y", "/home/me/x/y"),
        ("${workspaceFolder}/a", "/p/shop/a"),
        ("${workspaceFolderBasename}", "shop"),
        ("${CLAUDE_PROJECT_DIR}", "/p/shop"),
        ("${NONE:-x y}${env:NONE:-z}${NONE:-}", "x yz"),
        ("${A:-other}", "1"),
        ("${input:region}", "eu"),
    ],
)
def test_known_variables_are_replaced(text, found):
    assert expand(text, HERE).text == found


@pytest.mark.parametrize(
    ("form", "text", "found"),
    [
        ("dollar", "$A-$NONE", [Piece("text", "1-"), Piece("variable", "NONE")]),
        ("dollar", "$5 ${A}", [Piece("text", "$5 1")]),
        ("dollar", "$NONE-$A", [Piece("variable", "NONE"), Piece("text", "-1")]),
        ("shell", "$A $(pass show x)", [Piece("text", "1 "), Piece("unknown", "$(pass show x)")]),
        ("dollar", "$(pass show x)", [Piece("text", "$(pass show x)")]),
        ("opencode", "{env:A}{file:~/x}", [Piece("text", "1"), Piece("file", "~/x")]),
        ("", "${file:/x}", [Piece("file", "/x")]),
        ("", "Bearer ${input:key}", [Piece("text", "Bearer "), Piece("input", "key")]),
        ("", "${{ secrets.KEY }}", [Piece("input", "KEY")]),
        ("", "${user_config.api.key}", [Piece("input", "api.key")]),
        ("", "${command:x.y}", [Piece("unknown", "${command:x.y}")]),
    ],
)
def test_unknown_variables_stay_as_pieces(form, text, found):
    around = Surroundings({"A": "1"}, form=form)
    assert [*expand(text, around).pieces] == found


def test_without_a_project_its_directory_is_unknown():
    found = expand("${workspaceFolder}/x", Surroundings())
    assert found.text is None
    assert [shown_piece(piece) for piece in found.missing] == ["the value of ${workspaceFolder}"]
    assert expand("${workspaceFolderBasename}", Surroundings()).missing


def test_a_reference_can_be_kept():
    found = expand("${MY_TOKEN}", HERE, keep=True)
    assert found.alone == Piece("variable", "MY_TOKEN")
    assert expand("${MY_TOKEN:-x}", HERE, keep=True).alone == Piece("variable", "MY_TOKEN", "x")
    assert expand("a${MY_TOKEN}", HERE, keep=True).alone is None
    assert expand("a", HERE).alone is None


def test_replaced_variables_are_named_and_a_secret_is_known():
    assert expand("${A}", HERE).replaced == ("A",)
    assert not expand("${A}", HERE).secret
    assert expand("${A}${MY_TOKEN}", HERE).secret
    assert "hunter2" not in repr(expand("${T}", Surroundings({"T": "hunter2"})))


def test_a_long_text_without_an_end_takes_no_time():
    assert expand("${" * 100_000, HERE).text == "${" * 100_000
    assert expand("${{" * 100_000, HERE).text
