"""Each refusal in the table of docs/ACCESS.md has the status and the reason of a call in the sources."""

import ast
import re
from functools import cache

from mcpbridged.transports.http.refusals import _KINDS

from ..support.documents import ROOT, read

# The places that refuse requests because of their credential.
PLACES = ("validators/bearer.py", "transports/http/*.py", "bridge/oauth/*.py", "bridge/daemon/*.py")
# The reason of a refused access token is this and the fault of the token.
FAULT = "access_token_"


def text_of(node, constants):
    """Return the text of a constant, of a name of the module, or the beginning of a text with values; "" for any other."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return constants.get(name, "")
        case ast.IfExp(body=body):
            return text_of(body, constants)
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
    return ""


def refusals_in(source):
    """Return status and reason of each call of Rejection and of unauthorized."""
    tree = ast.parse(source)
    constants = {
        node.target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
    }
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="unauthorized"), args=[reason, *_]):
                found.add((401, text_of(reason, constants)))
            case ast.Call(func=ast.Name(id="Rejection"), args=[ast.Constant(value=int(status)), *_]):
                reasons = [text_of(one.value, constants) for one in node.keywords if one.arg == "reason"]
                found |= {(status, reason) for reason in reasons}
    return found


@cache
def known():
    files = [file for place in PLACES for file in ROOT.glob(place)]
    return set(_KINDS.items()).union(*(refusals_in(file.read_text()) for file in files))


def is_known(status, reason):
    return (status, reason) in known() or (reason.startswith(FAULT) and (status, FAULT) in known())


def test_each_refusal_has_its_status_and_reason():
    rows = re.findall(r"^\| (\d{3}) \| (`.*?) \|", read("docs/ACCESS.md"), re.MULTILINE)
    pairs = [(int(status), reason) for status, reasons in rows for reason in re.findall(r"`(\w+)`", reasons)]
    assert len(pairs) > 10
    assert [pair for pair in pairs if not is_known(*pair)] == []


def test_a_wrong_pair_is_found():
    assert not is_known(403, "credential_missing")
    assert not is_known(401, "credential_wrnog")


def test_reasons_are_read_from_calls():
    source = '_WRONG: Final = "a"\nraise Rejection(429, 1, "x", reason=_WRONG)\nunauthorized(f"b_{x}" if x else "c")\n'
    assert refusals_in(source) == {(429, "a"), (401, "b_")}
