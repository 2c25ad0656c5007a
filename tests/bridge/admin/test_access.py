"""Who may see the page, and who may change something with it."""

import attrs
import pytest

from mcpbridged.bridge.admin.access import BROWSER, PAGE, Access, cookie_name
from mcpbridged.bridge.config.settings import AdminConfig
from mcpbridged.transports.http.gate import WrongCredentials
from mcpbridged.transports.options import ANONYMOUS, LOCAL
from mcpbridged.validators.origin import Site
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import head

pytestmark = pytest.mark.anyio
ORIGIN = "http://localhost:8808"


@attrs.define(slots=False)
class World:
    """The configuration and the token of the owner, which a test may change."""

    config: AdminConfig = attrs.field(factory=lambda: AdminConfig(enabled=True, actions=True))
    owner: bytes = b"owner"
    secure: bool = False

    def __attrs_post_init__(self):
        self.access = Access(
            lambda: self.config,
            lambda: self.owner,
            cookie_name(8808, secure=self.secure),
            self.secure,
            WrongCredentials(2),
        )
        self.pages = self.access.on(Site.for_listener("http", "127.0.0.1", 8808))


@pytest.fixture
async def world(autojump_clock):
    return World()


def request(method="GET", path=PAGE, **headers):
    found = head(method, path)
    found.headers.update({"host": "localhost:8808", **{k.replace("_", "-"): v for k, v in headers.items()}})
    return found


def sign_in(access):
    token, ((_, cookie),) = access.open(access.link())
    return {"cookie": cookie.decode().partition(";")[0], "mcp_bridge_page": token}


def status(call, *arguments):
    with pytest.raises(Rejection) as caught:
        call(*arguments)
    return caught.value.status


def ours():
    return False


async def test_the_cookie_is_for_the_page_only_and_no_script_reads_it(world):
    _, ((name, value),) = world.access.open(world.access.link())
    assert name == b"Set-Cookie"
    secret, *attributes = value.decode().split("; ")
    assert secret.startswith("mcp-bridge-admin-8808=")
    assert attributes == ["Path=/admin", "Max-Age=28800", "HttpOnly", "SameSite=Strict"]


async def test_with_tls_the_cookie_is_not_sent_without_tls(autojump_clock):
    world = World(secure=True)
    _, ((_, value),) = world.access.open(world.access.link())
    assert value.startswith(b"__Secure-mcp-bridge-admin-8808=")
    assert value.endswith(b"; Secure")


async def test_wrong_codes_are_refused_and_their_rate_is_limited(world):
    assert [status(world.access.open, "x") for _ in range(3)] == [401, 401, 429]
    # A right code is not limited.
    sign_in(world.access)


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/admin", True),
        ("/admin/", True),
        ("/admin/api/state", True),
        ("/administrator", False),
        ("/servers/admin/mcp", False),
        ("/", False),
    ],
)
async def test_the_paths_of_the_page(world, path, covered):
    assert world.pages.covers(path) is covered
    world.config = AdminConfig()
    assert not world.pages.covers(path)


async def test_a_session_ends_when_the_page_is_switched_off(world):
    session = sign_in(world.access)
    world.config = AdminConfig()
    assert not world.pages.covers(PAGE)
    assert status(world.access.check, request(**session), BROWSER) == 404
    world.config = AdminConfig(enabled=True)
    assert not world.access.has_session(request(**session))


async def test_the_principal_of_a_request(world):
    session = sign_in(world.access)
    admit = world.pages.admit
    assert admit(request(), ours) == ANONYMOUS
    assert admit(request(path="/admin/open"), ours) == ANONYMOUS
    assert admit(request("POST", "/admin/session"), ours) == ANONYMOUS
    assert status(admit, request("DELETE", "/admin/session"), ours) == 401
    assert status(admit, request(path="/admin/api/state"), ours) == 401
    assert status(admit, request(path="/admin/admin.js"), ours) == 401
    assert status(admit, request(path="/admin/x", cookie="mcp-bridge-admin-8808=x"), ours) == 401
    assert admit(request(path="/admin/api/state", authorization="Bearer x"), ours) is None
    for path in ("/admin", "/admin/api/state", "/admin/api/state/"):
        assert admit(request(path=path, **session), ours) == BROWSER


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "bridge.example"}, 421),
        ({"host": "127.0.0.1:8809"}, 421),
        ({"host": ""}, 400),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
async def test_another_host_or_origin_is_refused_with_a_session(world, headers, expected):
    assert status(world.pages.admit, request(**sign_in(world.access), **headers), ours) == expected


@pytest.mark.parametrize(
    "headers", [{"host": "bridge.example"}, {"origin": "null"}, {"sec_fetch_site": "same-site"}]
)
async def test_a_refusal_of_the_page_advises_nothing_that_applies_to_clients_only(world, headers):
    with pytest.raises(Rejection) as refused:
        world.pages.admit(request(**headers), ours)
    assert "does not apply to this page" in str(refused.value)
    assert "--allowed-host" not in str(refused.value)
    assert "--cors" not in str(refused.value)


async def test_a_process_of_another_user_is_refused_with_a_session(world):
    session = sign_in(world.access)
    for found in (request(**session), request("POST", "/admin/session"), request(path="/admin/open")):
        assert status(world.pages.admit, found, lambda: True) == 403


async def test_data_needs_the_cookie_and_the_page_token(world):
    session, other = sign_in(world.access), sign_in(world.access)
    world.access.check(request(**session), BROWSER)
    for headers in ({}, {"cookie": session["cookie"]}, {"mcp_bridge_page": session["mcp_bridge_page"]}):
        assert status(world.access.check, request(**headers), BROWSER) == 401
    mixed = {**session, "mcp_bridge_page": other["mcp_bridge_page"]}
    assert status(world.access.check, request(**mixed), BROWSER) == 401


async def test_a_cookie_of_the_same_name_from_elsewhere_locks_nobody_out(world):
    session = sign_in(world.access)
    own = session["cookie"]
    value = own.partition("=")[2]
    for planted in ("planted", value[::-1]):
        others = "; ".join(f"mcp-bridge-admin-8808={planted[:-2]}{number:02}" for number in range(99))
        session["cookie"] = f"{others}; {own}"
        assert world.pages.admit(request(**session), ours) == BROWSER
        world.access.check(request(**session), BROWSER)
    world.access.check(request(**session), BROWSER)


async def test_a_session_ends_when_the_token_of_the_owner_is_replaced(world):
    session = sign_in(world.access)
    world.owner = b"another"
    assert not world.access.has_session(request(**session))
    assert status(world.access.check, request(**session), BROWSER) == 401


async def test_a_closed_session_is_over(world):
    session = sign_in(world.access)
    ((_, cookie),) = world.access.close(request(**session))
    assert cookie.startswith(b"mcp-bridge-admin-8808=; ")
    assert b"Max-Age=0" in cookie
    assert not world.access.has_session(request(**session))


async def test_only_the_owner_may_see_the_page(world):
    for principal in (LOCAL, "owner"):
        world.access.check(request(), principal)
        world.access.check_action(request(), principal)
    assert status(world.access.check, request(), "editor") == 403
    assert status(world.access.check_action, request(), "editor") == 403


async def test_an_action_needs_the_origin_of_the_host(world):
    session = sign_in(world.access)
    world.access.check_action(request(**session, origin=ORIGIN), BROWSER)
    for more in (
        {},
        {"origin": "http://127.0.0.1:8808"},
        {"origin": "https://localhost:8808"},
        {"origin": "null"},
    ):
        assert status(world.access.check_action, request(**session, **more), BROWSER) == 403


async def test_actions_are_off_unless_the_configuration_allows_them(world):
    session = sign_in(world.access)
    world.config = AdminConfig(enabled=True)
    for found, principal in ((request(**session, origin=ORIGIN), BROWSER), (request(), LOCAL)):
        with pytest.raises(Rejection, match="actions = true") as caught:
            world.access.check_action(found, principal)
        assert caught.value.status == 403
