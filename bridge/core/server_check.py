"""Judge what a server offers: its declaration, its lists and each definition in them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import attrs

from .definition_lint import check_names, check_shape
from .definition_texts import check_texts
from .definitions import INSTRUCTIONS, TOOL, Definition, Kind
from .findings import ERROR, WARNING, Finding

# The findings of one server that are reported; further ones are counted.
MOST: Final = 500


@attrs.frozen
class Listed:
    """The result of one list: its definitions, or `fault`, why it could not be read.

    `absent` is whether the server does not have the method, `cut` why not all pages were read.
    """

    kind: Kind
    definitions: Sequence[Definition] = ()
    fault: str = ""
    absent: bool = False
    cut: str = ""


@attrs.frozen
class Offer:
    """What one server offers: the result of its handshake and of its lists. `fault` is why it has not answered."""

    server: str
    capabilities: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    instructions: str = ""
    lists: Sequence[Listed] = ()
    fault: str = ""

    @property
    def definitions(self) -> Iterator[Definition]:
        """Yield the instructions and the definitions of all lists."""
        if self.instructions:
            yield Definition(INSTRUCTIONS, "", self.instructions)
        for listed in self.lists:
            yield from listed.definitions


def check_offer(offer: Offer, others: Mapping[str, str] | None = None) -> list[Finding]:
    """Return the findings about a server. `others` are names of tools of other servers, and their server."""
    found = [*islice(_findings(offer, others or {}), MOST + 1)]
    if len(found) > MOST:
        more = f"has more than {MOST} findings; the others are not reported"
        found[MOST] = about_server(WARNING, "many-findings", more, "solve these first")
    return found


def about_server(severity: str, name: str, text: str, fix: str) -> Finding:
    """Return a finding about the server itself."""
    return Finding(severity, name, "", "", "", text, fix)


def tools_of_others(offers: Iterable[Offer], server: str) -> dict[str, str]:
    """Return the server of each name of a tool that only servers other than this one have."""
    own = {
        one.name
        for offer in offers
        if offer.server == server
        for one in offer.definitions
        if one.kind == TOOL
    }
    return {
        one.name: offer.server
        for offer in offers
        if offer.server != server
        for one in offer.definitions
        if one.kind == TOOL and one.name not in own
    }


def _findings(offer: Offer, others: Mapping[str, str]) -> Iterator[Finding]:
    if offer.fault:
        yield about_server(
            ERROR,
            "no-response",
            f"does not answer server/discover: {offer.fault}",
            f"see mcp-bridge logs {offer.server}",
        )
        return
    for listed in offer.lists:
        yield from _check_list(offer, listed)
    for definition in offer.definitions:
        if definition.kind != INSTRUCTIONS:
            yield from check_shape(definition)
        yield from check_texts(definition, others)


def _check_list(offer: Offer, listed: Listed) -> Iterator[Finding]:
    kind = listed.kind
    declared = kind.capability in offer.capabilities
    if listed.fault:
        yield about_server(
            ERROR if declared else WARNING,
            "list-failed",
            f"{kind.method} fails: {listed.fault}",
            f"see mcp-bridge logs {offer.server}",
        )
    elif listed.absent and declared and kind.member in ("tools", "prompts", "resources"):
        yield about_server(
            ERROR,
            "list-missing",
            f"declares the capability {kind.capability} and does not have {kind.method}",
            "report it to the author of the server",
        )
    elif listed.definitions and not declared:
        yield about_server(
            WARNING,
            "capability-missing",
            f"has {kind.method} and does not declare the capability {kind.capability}",
            "clients do not use what is not declared: report it to the author of the server",
        )
    if listed.cut:
        yield about_server(
            ERROR, "list-unbounded", f"{kind.method}: {listed.cut}", "report it to the author of the server"
        )
    yield from check_names(kind.name, [one.name for one in listed.definitions])
