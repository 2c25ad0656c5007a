"""The page at /admin in a real browser: what it shows, what it does, and what its policy refuses.

The pictures of docs/ADMIN.md are made here.
"""

import json
import os
import sys
from contextlib import ExitStack, suppress

import pytest

from ..support.bridge_process import EXAMPLE, REPOSITORY
from ..support.daemon_process import daemon, write_config
from ..support.stateless_requests import PREFIX, headers_of, request
from ..support.unix_client import UnixClient
from ..support.waiting import wait_until
from .conftest import DEPS

IMAGES = REPOSITORY / "docs/images"
ADMIN = {"enabled": True, "actions": True}
NAMES = "calendar files git issues mail maps music notes search weather".split()
CRASHING = (
    sys.executable,
    "-c",
    "import sys; sys.exit('cannot connect to the database at 127.0.0.1:5432')",
)
HTML = "<img src=x onerror=document.title=1>"


def call(running, server, text="x", tool="echo"):
    """Call a tool as a client that stays: the process of the tests. A command would be no client any more."""
    params = {"name": tool, "arguments": {"text": text}}
    body = request("tools/call", params, **{f"{PREFIX}clientInfo": {"name": "editor", "version": "1.4"}})
    UnixClient(running.unix).exchange("POST", f"/servers/{server}/mcp", [*headers_of(body).items()], body)


@pytest.fixture(scope="module")
def workstation(tmp_path_factory):
    """Yield a daemon with ten servers that work and one that does not start, each of which was called."""
    servers = {name: {"command": EXAMPLE} for name in NAMES} | {"database": {"command": CRASHING}}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        # Pictures show the names of variables that the daemon has and servers do not get.
        for name in set(os.environ) - {"HOME", "LANG", "PATH", "XDG_STATE_HOME"}:
            patch.delenv(name)
        running = stack.enter_context(daemon(tmp_path_factory.mktemp("page"), servers, admin=ADMIN))
        for at, name in enumerate(NAMES):
            for _ in range(at + 1):
                call(running, name)
        call(running, "database")
        yield running


@pytest.fixture
def one_server(tmp_path):
    """Yield a daemon with one server, which a test may change."""
    with daemon(tmp_path, admin=ADMIN) as running:
        yield running


# ---- what is shown


def overflow(page):
    """Return by how much the page is wider than the window (pixels), and the elements that are."""
    return page.evaluate(
        """() => [document.documentElement.scrollWidth - innerWidth, [...document.querySelectorAll('main *')]
             .filter((one) => !one.closest('.scroll, .visually-hidden, thead') && one.getBoundingClientRect().right > innerWidth)
             .map((one) => one.outerHTML.slice(0, 80))]"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 360])
def test_the_page_fits_the_window_and_has_no_fault_of_accessibility(workstation, browse, width, scheme):
    browser = browse(workstation, width=width, scheme=scheme).sign_in()
    page = browser.page
    page.select_option("#tap-server", "*")
    page.select_option("#log-server", "database")
    browser.shows("cannot connect to the database")
    browser.wait("document.querySelector('#connection').dataset.state === 'live'")
    call(workstation, "weather", "fine")
    browser.wait("document.querySelectorAll('#tap-table tbody tr').length > 1")
    assert overflow(page) == [0, []]
    names = {(1280, "light"): "light", (1280, "dark"): "dark", (360, "light"): "narrow"}
    if name := names.get((width, scheme)):
        IMAGES.mkdir(exist_ok=True)
        page.screenshot(path=IMAGES / f"admin-{name}.png", full_page=width > 360, animations="disabled")
    axe = (DEPS / "node/node_modules/axe-core/axe.min.js").read_text()
    page.evaluate(f"() => {{ {axe}\n }}")
    found = page.evaluate("async () => (await axe.run(document)).violations")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_broken_servers_come_first_with_their_cause(workstation, browse):
    browser = browse(workstation).sign_in()
    rows = browser.page.locator("#server-table tbody tr")
    assert rows.count() == 11
    assert [rows.nth(at).locator("th").inner_text().split()[0] for at in range(11)] == ["database", *NAMES]
    assert rows.nth(0).locator(".state").inner_text() == "failed"
    assert rows.nth(1).locator(".state").inner_text() == "serving"
    assert "cannot connect to the database at 127.0.0.1:5432" in browser.page.inner_text("#problem-list")
    assert "10 of 11" in browser.page.inner_text("#summary")


def test_calls_are_shown_by_tool_with_their_latency(workstation, browse):
    call(workstation, "git", tool=HTML)
    browser = browse(workstation).sign_in()
    rows = browser.page.locator("#call-table tbody tr")
    found = [rows.nth(at).locator("th, td").all_inner_texts() for at in range(rows.count())]
    assert found[0][:4] == ["weather", "echo", found[0][2], "0"]
    assert int(found[0][2]) >= 10
    assert all("ms" in cell or " s" in cell for cell in found[0][4:])
    # The name of a tool that a client has made up is text.
    assert ["git", HTML, "1", "1"] in [row[:4] for row in found]
    assert browser.page.locator("main img").count() == 0


def test_clients_are_shown_with_their_use(workstation, browse):
    browser = browse(workstation).sign_in()
    browser.wait("document.querySelectorAll('#client-table tbody tr').length >= 10")
    workstation.do("tools", "weather")
    browser.next_state()
    text = browser.page.inner_text("#client-table")
    assert "weather" in text
    assert "editor 1.4" in text
    assert "2026-07-28" in text
    # A command that has ended.
    assert "mcp-bridge" not in text
    keys = browser.page.evaluate(
        "[...document.querySelectorAll('#client-table tbody tr')].map((one) => one.dataset.key)"
    )
    browser.next_state()
    after = browser.page.evaluate(
        "[...document.querySelectorAll('#client-table tbody tr')].map((one) => one.dataset.key)"
    )
    assert sorted(keys) == sorted(after)


def test_the_owner_token_and_its_use_are_shown(workstation, browse):
    browser = browse(workstation).sign_in()
    assert "owner" in browser.page.inner_text("#token-table")
    assert workstation.token not in browser.page.content()


def test_a_message_is_shown_as_it_passes_and_as_text(one_server, browse):
    browser = browse(one_server).sign_in()
    page = browser.page
    page.select_option("#tap-server", "example")
    browser.wait("document.querySelector('#connection').dataset.state === 'live'")
    call(one_server, "example", HTML)
    browser.wait("document.querySelectorAll('#tap-table tbody tr').length > 1")
    page.locator("#tap-table summary", has_text="tools/call echo").click()
    browser.wait("document.querySelector('#tap-table').innerText.includes(argument)", HTML)
    assert page.locator("main img").count() == 0
    assert page.title() == "mcp-bridge"
    page.fill("#tap-filter", "no such method")
    browser.wait("document.querySelectorAll('#tap-table tbody tr').length === 0")
    page.fill("#tap-filter", "echo")
    browser.wait("document.querySelectorAll('#tap-table tbody tr').length > 0")


def test_the_log_follows_a_server(one_server, browse):
    browser = browse(one_server).sign_in()
    browser.page.select_option("#log-server", "example")
    call(one_server, "example")
    browser.wait("document.querySelector('#log-table').innerText.includes('started')")


def test_events_that_are_missing_are_stated(one_server, browse):
    browser = browse(one_server)
    page = browser.page
    event = '{"kind":"dropped","data":1234}'
    page.route(
        "**/admin/api/events?*tap=example*",
        lambda route: route.fulfill(
            content_type="text/event-stream", body=f"event: message\ndata: {event}\n\n"
        ),
    )
    browser.sign_in()
    page.select_option("#tap-server", "example")
    browser.shows("1,234 events are missing")


# ---- what it does


def test_the_restart_button_restarts_the_server_and_keeps_the_focus(one_server, browse):
    call(one_server, "example")
    (pid,) = one_server.status()["servers"][0]["pids"]
    browser = browse(one_server).sign_in()
    page = browser.page
    button = page.get_by_role("button", name="Restart example")
    button.focus()
    page.keyboard.press("Enter")
    browser.shows("example was restarted")
    wait_until(lambda: pid not in one_server.status()["servers"][0]["pids"])
    assert page.inner_text("#announcement").startswith("example was restarted")
    browser.next_state()
    browser.next_state()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Restart example"


def test_the_configuration_is_reloaded(one_server, browse):
    browser = browse(one_server).sign_in()
    browser.page.get_by_role("button", name="Reload configuration").click()
    browser.shows("The configuration was reloaded. No server has changed.")


def test_without_actions_there_is_no_button_and_the_daemon_refuses(tmp_path, browse):
    with daemon(tmp_path, admin={"enabled": True}) as running:
        browser = browse(running).sign_in()
        page = browser.page
        assert page.get_by_role("button", name="Restart").count() == 0
        assert page.get_by_role("button", name="Reload").count() == 0
        status = page.evaluate(
            """async () => (await fetch('/admin/api/restart?server=example', {method: 'POST', headers:
                 {'Mcp-Bridge-Page': localStorage.getItem('mcp-bridge-page-token')}})).status"""
        )
        assert status == 403
        # The browser logs each response with an error.
        assert len(browser.faults) == 1
        browser.faults.clear()


def test_only_changes_of_servers_are_announced(one_server, browse):
    browser = browse(one_server).sign_in()
    page = browser.page
    page.evaluate(
        """() => { globalThis.said = []; new MutationObserver(() => said.push(announcement.textContent))
             .observe(announcement, {childList: true, characterData: true, subtree: true}); }"""
    )
    for _ in range(3):
        browser.next_state()
    assert page.evaluate("said") == []
    text = one_server.config.read_text().replace(
        "[admin]", f"[servers.broken]\ncommand = {json.dumps(CRASHING)}\n[admin]"
    )
    one_server.config.write_text(text)
    one_server.reload()
    call(one_server, "broken")
    browser.wait("globalThis.said.length > 0")
    browser.next_state()
    assert page.evaluate("said") == ["broken is failed."]
    assert page.locator("[aria-live], [role=status], [role=alert]").count() == 2


def test_the_page_works_with_the_keyboard(workstation, browse):
    browser = browse(workstation).sign_in()
    page = browser.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')")
        )
    expected = {
        "tap-server",
        "tap-filter",
        "tap-clear",
        "log-server",
        "log-clear",
        "Restart database",
        "Restart git",
    }
    assert expected <= reached


def test_nothing_moves_for_users_who_want_less_motion(workstation, browse):
    browser = browse(workstation).sign_in()
    moving = """() => [...document.querySelectorAll('*')].filter((one) => {
        const style = getComputedStyle(one);
        return parseFloat(style.transitionDuration) > 0 || style.animationName !== 'none' || style.scrollBehavior === 'smooth';
    }).length"""
    assert browser.page.evaluate(moving) == 0
    browser.page.emulate_media(reduced_motion="no-preference")
    assert browser.page.evaluate(moving) > 0


# ---- sign-in and its end


def test_a_link_opens_the_page_once_and_leaves_no_code(one_server, browse, chromium):
    browser = browse(one_server)
    link = browser.link()
    browser.page.goto(link)
    browser.page.wait_for_url("**/admin")
    browser.page.wait_for_selector("#server-table tbody tr")
    code = link.partition("#")[2]
    assert not any(code in url.partition("#")[0] for url in browser.requested)
    assert browser.page.evaluate("history.length") <= 3
    browser.page.go_back()
    assert code not in browser.page.url
    other = browse(one_server)
    other.page.goto(link)
    other.shows("Sign-in failed: the link is not valid")
    assert len(other.faults) == 1
    other.faults.clear()


def test_a_browser_without_a_session_is_shown_how_to_get_one(one_server, browse):
    browser = browse(one_server)
    response = browser.page.goto(browser.link().partition("/open")[0])
    assert response.status == 401
    browser.shows("Run mcp-bridge admin in a terminal")
    assert len(browser.faults) == 1
    browser.faults.clear()


def test_a_sign_out_ends_the_session_of_all_tabs(one_server, browse):
    browser = browse(one_server).sign_in()
    second = browser.context.new_page()
    second.goto(browser.page.url)
    second.wait_for_selector("#server-table tbody tr")
    browser.page.get_by_role("button", name="Sign out").click()
    browser.page.wait_for_url("**/admin/open")
    second.wait_for_function("() => document.body.innerText.includes('The session has ended')")
    assert browser.context.cookies() == []
    assert browser.page.evaluate("localStorage.length") == 0


def test_a_hidden_page_costs_nothing(one_server, browse):
    browser = browse(one_server).sign_in()
    page = browser.page
    show = """state => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});
        document.dispatchEvent(new Event('visibilitychange')); }"""
    # The stream is closed, and opened again.
    with page.expect_event("requestfailed", lambda request: "/events?" in request.url):
        page.evaluate(show, "hidden")
    browser.shows("paused")
    with page.expect_response(lambda response: "/events?" in response.url and response.ok):
        page.evaluate(show, "visible")
    browser.next_state()


# ---- the policy


@pytest.mark.parametrize(
    ("script", "violated"),
    [
        ("const one = document.createElement('script'); one.append('0'); document.body.append(one)", None),
        ("document.body.setAttribute('onclick', '0')", None),
        ("document.body.innerHTML = '<b>x</b>'", "require-trusted-types-for"),
        (
            "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:1/x'}))",
            "img-src",
        ),
        ("fetch('http://127.0.0.1:1/').catch(() => 0)", "connect-src"),
        ("document.body.append(Object.assign(document.createElement('iframe'), {src: '/admin'}))", None),
        (
            "document.body.append(Object.assign(document.createElement('style'), {textContent: 'a{}'}))",
            "style-src-elem",
        ),
    ],
)
def test_a_planted_fault_is_refused_and_counted(workstation, browse, script, violated):
    browser = browse(workstation).sign_in()
    with suppress(Exception):
        browser.page.evaluate(f"() => {{ {script} }}")
    browser.wait("violations.length > 0")
    assert violated is None or browser.violations[0].startswith(violated)
    assert browser.faults
    browser.faults.clear()
    browser.page.evaluate("violations.length = 0")


def test_an_inline_script_in_the_page_is_refused_and_counted(workstation, browse):
    browser = browse(workstation)
    planted = "<script>document.title = 'planted'</script><style>h1 { color: red }</style>"

    def plant(route):
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("</body>", f"{planted}</body>"))

    browser.page.route("**/admin", plant)
    browser.sign_in()
    assert browser.page.title() == "mcp-bridge"
    assert sorted(browser.violations) == ["script-src-elem inline", "style-src-elem inline"]
    assert len(browser.faults) == 2
    browser.faults.clear()
    browser.page.evaluate("violations.length = 0")


def test_the_page_requests_nothing_from_elsewhere(workstation, browse):
    browser = browse(workstation).sign_in()
    own = "http://{}:{}/admin".format(*workstation.address)
    assert browser.requested
    assert all(url.startswith(own) for url in browser.requested)


# ---- when something is wrong

SHOW = """state => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});
    document.dispatchEvent(new Event('visibilitychange')); }"""
STREAMS = "**/admin/api/events?*"


def test_a_selected_server_that_is_removed_is_not_selected_any_more(one_server, browse):
    browser = browse(one_server).sign_in()
    page = browser.page
    page.select_option("#log-server", "example")
    browser.wait("!document.querySelector('#log-region').hidden")
    write_config(one_server.config, {"other": {"command": EXAMPLE}}, admin=ADMIN)
    one_server.reload()
    browser.shows("Choose a server to see its standard error")
    assert page.locator("#log-region").is_hidden()
    # The same while the page is hidden, so that it does not see the removal.
    page.select_option("#log-server", "other")
    browser.wait("document.querySelector('#connection').dataset.state === 'live'")
    page.evaluate(SHOW, "hidden")
    write_config(one_server.config, {"example": {"command": EXAMPLE}}, admin=ADMIN)
    one_server.reload()
    page.evaluate(SHOW, "visible")
    browser.wait("document.querySelector('#server-table').innerText.includes('example')")
    browser.wait("document.querySelector('#connection').dataset.state === 'live'")
    assert page.locator("#log-server").input_value() == ""
    # The browser logs the 404.
    assert len(browser.faults) == 1
    browser.faults.clear()


def test_a_refused_stream_is_explained_until_it_works_again(one_server, browse):
    browser = browse(one_server).sign_in()
    page = browser.page
    full = '{"error":{"message":"the limit of 16 open pages is reached; close one"}}'
    page.route(STREAMS, lambda route: route.fulfill(status=503, content_type="application/json", body=full))
    page.select_option("#log-server", "*")
    browser.shows("the limit of 16 open pages is reached; close one")
    browser.shows("connection lost, trying again")
    page.unroute(STREAMS)
    browser.wait("document.querySelector('#connection').dataset.state === 'live'")
    assert page.locator("#notice").is_hidden()
    browser.faults.clear()


def test_an_action_without_a_daemon_is_explained(one_server, browse):
    browser = browse(one_server).sign_in()
    browser.page.route("**/admin/api/reload", lambda route: route.abort("connectionrefused"))
    browser.page.get_by_role("button", name="Reload configuration").click()
    browser.shows("there is no connection to the daemon")
    browser.faults.clear()


def test_a_page_that_is_switched_off_explains_how_to_sign_in(one_server, browse):
    browser = browse(one_server).sign_in()
    write_config(one_server.config, {"example": {"command": EXAMPLE}}, admin={"enabled": False})
    one_server.reload()
    browser.shows("The session has ended, or the page was switched off")
    browser.shows("not signed in")
    browser.faults.clear()
