"""Pass variables of the daemon to servers, and report the variables that are not passed."""

import json
import os
import subprocess
import sys
import time

import pytest

from mcpbridged.bridge.config import load, tables
from mcpbridged.bridge.config.child_environment import (
    GROUPS,
    USUAL_GROUPS,
    BadEnvironment,
    child_environment,
    inherited,
    named,
    passed_variables,
    withheld,
)

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import Daemon, write_config

CERTIFICATES = {
    name: f"/etc/{name}"
    for name in (
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    )
}
POWER = {
    name: f"/run/canary/{name}"
    for name in (
        "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_HOST", "KUBECONFIG", "DISPLAY", "WAYLAND_DISPLAY",
        "XAUTHORITY", "XDG_RUNTIME_DIR", "GOOGLE_APPLICATION_CREDENTIALS",
    )
}  # fmt: skip
PROXIES = {
    "HTTP_PROXY": "http://me:canary-pw@proxy.example:3128/",
    "https_proxy": "http://proxy.example:3128",
    "NO_PROXY": "localhost",
    "no_proxy": "localhost",
}
OURS = {
    "PATH": "/bin", "HOME": "/home/me", "LANG": "de_DE.UTF-8", "LANGUAGE": "de", "LC_ALL": "C", "JAVA_HOME": "/opt/java",
    "GITHUB_TOKEN": "canary-token", "LD_PRELOAD": "/x.so", "SHLVL": "1", "INVOCATION_ID": "x", "BASH_FUNC_x%%": "() { :; }",
    **CERTIFICATES, **POWER, **PROXIES,
}  # fmt: skip


def test_certificates_locale_and_toolchains_are_passed_and_proxies_without_user():
    given = inherited(OURS)
    assert given.items() >= CERTIFICATES.items()
    assert {name: given[name] for name in ("LANG", "LANGUAGE", "LC_ALL", "JAVA_HOME")} == {
        name: OURS[name] for name in ("LANG", "LANGUAGE", "LC_ALL", "JAVA_HOME")
    }
    assert given["HTTP_PROXY"] == "http://proxy.example:3128/"
    assert {name: given[name] for name in ("https_proxy", "NO_PROXY", "no_proxy")} == {
        name: PROXIES[name] for name in ("https_proxy", "NO_PROXY", "no_proxy")
    }
    assert "canary" not in json.dumps(given)
    assert (
        inherited({"npm_config_cafile": "/x", "ssl_cert_file": "/y"}).items()
        >= {
            "npm_config_cafile": "/x",
            "ssl_cert_file": "/y",
        }.items()
    )


@pytest.mark.parametrize("name", POWER)
def test_a_socket_or_context_is_passed_only_where_it_or_its_group_is_named(name):
    assert name not in inherited(OURS)
    assert child_environment(OURS, [name])[0][name] == POWER[name]
    groups = [group for group, names in GROUPS.items() if name in names]
    assert groups
    assert not set(groups) & set(USUAL_GROUPS)
    for group in groups:
        assert child_environment(OURS, [f"@{group}"])[0][name] == POWER[name]


def test_no_group_holds_a_variable_that_loads_other_code():
    for names in GROUPS.values():
        for name in names:
            if "*" not in name:
                # The call raises for a variable of a loader.
                passed_variables(name, {name: "x"})


def test_an_unknown_group_is_refused_with_the_known_groups():
    with pytest.raises(BadEnvironment, match=r"@secrets.*no such group; there are @certificates, .*@desktop"):
        passed_variables("@secrets", OURS)
    with pytest.raises(BadEnvironment, match="the group is @desktop"):
        passed_variables("desktop", OURS)
    # A variable that the machine does not have is no error of a group.
    assert passed_variables("@desktop", {}) == {}


def test_variables_that_are_not_passed_are_listed_without_values_groups_first():
    names = withheld(OURS, inherited(OURS))
    assert set(names) == {*POWER, "HTTP_PROXY", "GITHUB_TOKEN", "LD_PRELOAD"}
    assert names[-2:] == ("GITHUB_TOKEN", "LD_PRELOAD")
    texts = named(names)
    assert "SSH_AUTH_SOCK (@agents)" in texts
    assert "HTTP_PROXY (its user and password)" in texts
    assert "LD_PRELOAD (refused)" in texts
    assert "canary" not in texts
    assert withheld(OURS, {**OURS, "HTTP_PROXY": "http://other"}) == ()
    many = [f"V{number}" for number in range(100)]
    assert named(many).endswith("V39 and 60 others")


def settings(folder, servers, environment):
    write_config(folder / "config.toml", servers)
    found = load.load(folder / "config.toml", environment)
    return {server.name: server for server in found.servers}


def test_groups_can_be_added_and_default_groups_withheld(tmp_path):
    command = {"command": ["sh"], "pass_env": []}
    found = settings(
        tmp_path,
        {
            "usual": command,
            "agents": {**command, "pass_env": ["@agents", "DISPLAY"]},
            "bare": {**command, "withhold_env": ["@certificates", "*_PROXY", "JAVA_HOME"]},
            "one": {**command, "withhold_env": ["@proxies"], "pass_env": ["NO_PROXY"]},
        },
        OURS,
    )
    given = {name: server.launch.env for name, server in found.items()}
    assert {name for name in given["agents"] if name not in given["usual"]} == {"SSH_AUTH_SOCK", "DISPLAY"}
    assert {name for name in given["usual"] if name not in given["bare"]} == {
        *CERTIFICATES, *PROXIES, "JAVA_HOME",
    }  # fmt: skip
    assert {name for name in given["one"] if "proxy" in name.lower()} == {"NO_PROXY"}
    # A former pin stays valid, and a further group is a change of the approved command.
    assert found["usual"].variables == ()
    assert found["agents"].variables == ("@agents", "DISPLAY")
    assert "SSL_CERT_FILE" in found["bare"].withheld
    assert "SSH_AUTH_SOCK" not in found["agents"].withheld


@pytest.mark.parametrize("key", ["pass_env", "withhold_env"])
@pytest.mark.parametrize("entry", ["@nothing", "LD_PRELOAD", "a-b", ""])
def test_an_invalid_entry_of_pass_env_is_refused(tmp_path, key, entry):
    with pytest.raises(tables.BadConfig, match=r"servers\.one: "):
        settings(tmp_path, {"one": {"command": ["sh"], key: [entry]}}, OURS)


DIES = "import os, sys; print('no certificate', file=sys.stderr); sys.exit(3)"


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Yield a daemon with variables of all kinds, whose server has failed to start."""
    folder = tmp_path_factory.mktemp("failed")
    servers = {
        "dying": {"command": [sys.executable, "-c", DIES], "start": "eager", "era": "legacy"},
        "missing": {"command": ["no-such-program-here"]},
        "good": {"command": EXAMPLE, "start": "eager"},
    }  # fmt: skip
    write_config(folder / "config.toml", servers)
    ours = {
        name: value
        for name, value in OURS.items()
        if name not in ("PATH", "HOME", "XDG_RUNTIME_DIR", "LD_PRELOAD")
    }
    with Daemon(folder, environment=ours) as running:
        end = time.monotonic() + 20
        while not one_of(running, "dying")["last_exit"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        yield running


def one_of(running, name):
    return next(one for one in running.status()["servers"] if one["name"] == name)


def test_after_a_failed_start_status_logs_and_doctor_list_the_variables_not_passed(failed):
    names = one_of(failed, "dying")["withheld"]
    assert {"SSH_AUTH_SOCK", "DISPLAY", "GITHUB_TOKEN", "HTTP_PROXY"} <= set(names)
    assert not {"SSL_CERT_FILE", "https_proxy", "JAVA_HOME", "PATH"} & set(names)
    texts = {
        "status": failed.do("status").stdout,
        "logs": failed.do("logs", "dying").stdout,
        "doctor": failed.do("doctor", check=False).stdout,
        "log": "\n".join(failed.lines),
    }
    for where, text in texts.items():
        assert "SSH_AUTH_SOCK (@agents)" in text, where
        assert "GITHUB_TOKEN" in text, where
        assert "canary" not in text, where
    assert sum("variables_not_passed server=dying" in line for line in failed.lines) == 1


def test_a_server_that_has_started_has_no_list_of_variables(failed):
    assert one_of(failed, "good")["withheld"] == []
    assert not any("variables_not_passed server=good" in line for line in failed.lines)


def test_the_wrapper_passes_the_same_variables_and_lists_the_others(tmp_path):
    shows = "import os, sys; [print(n, '=', os.environ.get(n), file=sys.stderr) for n in sys.argv[1:]]; sys.exit(1)"
    done = subprocess.Popen(
        [PROGRAM, "--allow-root", "--port", "0", "--no-auth", "--unix", str(tmp_path / "s"), "--env", "@agents",
         "--stdio", "--", sys.executable, "-c", shows, "SSH_AUTH_SOCK", "SSL_CERT_FILE", "GITHUB_TOKEN"],
        env={**os.environ, **OURS, "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "LD_PRELOAD": ""},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = []
        for line in done.stderr:
            lines.append(line)
            if "ready on" in line:
                subprocess.run(
                    [PROGRAM, "connect", "stdio", "--config", str(socket_only(tmp_path))],
                    input='{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n',
                    env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, text=True, capture_output=True, timeout=30, check=False,
                )  # fmt: skip
            # The output of the process and its exit may be logged in either order.
            if all(any(word in one for one in lines) for word in ("variables_not_passed", "GITHUB_TOKEN = ")):
                break
        text = "".join(lines)
        assert "/run/canary/SSH_AUTH_SOCK" in text
        assert "/etc/SSL_CERT_FILE" in text
        assert "canary-token" not in text
        event = next(line for line in lines if "variables_not_passed" in line)
        assert "DISPLAY (@desktop)" in event
        assert "SSH_AUTH_SOCK" not in event
    finally:
        done.terminate()
        done.stderr.close()
        done.wait(20)


def socket_only(folder):
    path = folder / "config.toml"
    path.write_text(f"[listen]\nunix = {json.dumps(str(folder / 's'))}\n")
    path.chmod(0o600)
    return path
