"""The image in real containers: read-only, without capabilities and new privileges, as a user without a name.

Run by `make container`, which builds the image first. MCP_BRIDGE_IMAGE names it.
"""

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from hashlib import sha256
from types import SimpleNamespace

import anyio
import pytest
import trustme

from mcpbridged.bridge.config.credentials import new_token

from ..support.bridge_process import EXAMPLE
from ..support.kubelet_volume import write_volume
from ..support.sdk import SDK_WARNINGS, connect
from .podman import HARDENED, Container, NotRun, podman

IMAGE = os.environ.get("MCP_BRIDGE_IMAGE", "")
USER = 65532
TOKEN, CI, NEXT = new_token(), new_token(), new_token()
pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="NOT RUN: `make container` builds the image and names it"),
    *SDK_WARNINGS,
]
SERVER = f"--volume={EXAMPLE[-1]}:/srv/server.py:ro"
# Without options for the user, which differ between podman and docker: the daemon makes its own directories in them.
STATE = ("--tmpfs=/run/bridge", "--tmpfs=/var/lib/bridge")
CONFIG = """
[listen]
http = "{listen}"
{more}

[tokens.laptop]
sha256 = "{digest}"

[servers.example]
command = ["python3", "/srv/server.py"]
"""
# Prints pid, parent, state and words of each process.
PROCESSES = """
import glob
for path in glob.glob("/proc/[0-9]*/stat"):
    name, _, rest = open(path).read().rpartition(")")
    print(*rest.split()[:2], name)
"""
# Sends a request to a path over plain HTTP on the loopback, and prints the status.
STATUS = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=5) as response:
    print(response.status)
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def config(listen, more=""):
    return CONFIG.format(listen=listen, more=more, digest=sha256(TOKEN.encode()).hexdigest())


def wait_until(found, what, seconds=20.0):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.1)


@pytest.fixture
def folder(tmp_path):
    """A directory whose parents only root can change, because the daemon checks them."""
    tmp_path.chmod(0o755)
    return tmp_path


@contextmanager
def running(folder, *options, listen=None, more="", network="host", name="daemon", state=STATE):
    """A container with the daemon, after `ready`."""
    port = free_port()
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/config.toml").write_text(config(listen or f"127.0.0.1:{port}", more))
    made = (f"--network={network}", *state, f"--volume={folder / 'etc'}:/etc/mcp-bridge:ro", SERVER, *options)
    with Container(IMAGE, f"mcp-bridge-test-{os.getpid()}-{name}", made) as container:
        wait_until(lambda: "mcp-bridge: ready on" in container.log, lambda: container.log)
        container.port = port
        yield container


async def text_of_call(port, text="in a container", scheme="http", token=TOKEN):
    url = f"{scheme}://127.0.0.1:{port}/servers/example/mcp"
    async with connect(
        SimpleNamespace(headers={"Authorization": f"Bearer {token}"}, mcp=url), "http"
    ) as client:
        result = await client.call_tool("echo", {"text": text})
        return result.content[0].text


def status_of(port, token, certificates):
    """Return the status of a request without a body, which is 401 for a token that is not valid."""
    url = f"https://127.0.0.1:{port}/servers/example/mcp"
    request = urllib.request.Request(url, b"", {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(
            request, context=ssl.create_default_context(cafile=certificates)
        ) as response:
            return response.status
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_the_image_says_how_it_is_to_be_run():
    (found,) = json.loads(podman(IMAGE, "image", "inspect", IMAGE).stdout)
    assert found["User"] == f"{USER}:{USER}"
    # No part of it is a text that a shell would have to split.
    assert found["Config"]["Entrypoint"] == ["/opt/mcp-bridge/bin/mcp-bridge"]
    assert found["Config"]["Cmd"] == ["serve"]
    assert found["HealthcheckConfig" if "HealthcheckConfig" in found else "Healthcheck"]["Test"] == [
        *("CMD", "/opt/mcp-bridge/bin/mcp-bridge", "status", "--json"),
    ]


def test_the_environment_of_the_program_has_no_pip_and_nothing_that_its_user_can_write():
    code = (
        "import os, sys; print(os.path.exists('/opt/mcp-bridge/bin/pip'));"
        "print([top for top, _, _ in os.walk('/opt/mcp-bridge') if os.access(top, os.W_OK)])"
    )
    with Container(
        IMAGE,
        f"mcp-bridge-test-{os.getpid()}-files",
        ("--network=none", "--entrypoint=/opt/mcp-bridge/bin/python"),
        ("-c", f"{code}; input()"),
        hardened=False,
    ) as container:
        wait_until(lambda: container.log.count("\n") == 2 or "Error" in container.log, lambda: container.log)
        assert container.log.splitlines()[:2] == ["False", "[]"]


@pytest.mark.anyio
async def test_an_official_client_calls_a_server_in_a_container(folder):
    with running(folder) as container:
        assert await text_of_call(container.port) == "in a container"
        status = container.execute("cat", "/proc/1/status").stdout
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status
        assert "NoNewPrivs:\t1\n" in status
        assert [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapBnd"))] == [
            *("0000000000000000",) * 2
        ]
        assert str(USER) not in container.execute("cat", "/etc/passwd").stdout
        assert container.execute("touch", "/opt/x", check=False).returncode == 1
        assert container.do("healthcheck", "run").returncode == 0


def test_the_health_check_fails_for_a_stopped_daemon(folder):
    with running(folder) as container:
        # As root of the host: SIGSTOP has no effect on the first process of a namespace from within.
        container.do("kill", "--signal=STOP")
        # A runtime ends the check after its --timeout, here 5 s.
        done = container.execute("timeout", "5", "mcp-bridge", "status", "--json", check=False)
        assert done.returncode != 0
        container.do("kill", "--signal=CONT")
        wait_until(
            lambda: container.do("healthcheck", "run", check=False).returncode == 0, "not healthy again"
        )


def test_a_stop_ends_with_code_0_and_a_kill_leaves_nothing_that_stands_in_the_way(folder):
    with running(folder) as container:
        started = time.monotonic()
        container.do("stop", "--time=20")
        assert time.monotonic() - started < 10
        assert container.exit_code == 0
        assert container.log.rstrip().endswith("stopped")
        container.do("start")
        wait_until(lambda: container.log.count("ready on") == 2, lambda: container.log)
        container.do("kill", "--signal=KILL")
        assert container.exit_code == 137
        container.do("start")
        wait_until(lambda: container.log.count("ready on") == 3, lambda: container.log)
        assert container.do("healthcheck", "run").returncode == 0


def test_state_in_a_volume_outlives_the_container(folder):
    volume = f"mcp-bridge-test-{os.getpid()}"
    state = ("--tmpfs=/run/bridge", f"--volume={volume}:/var/lib/bridge")
    tokens = []
    try:
        for _ in range(2):
            with running(folder, state=state) as container:
                tokens.append(container.execute("cat", "/var/lib/bridge/mcp-bridge/token").stdout)
        assert tokens[0] == tokens[1] != ""
    finally:
        podman(IMAGE, "volume", "rm", "--force", volume)


def test_the_first_process_waits_for_what_commands_leave_behind(folder):
    with running(folder) as container:
        container.execute("sh", "-c", "sleep 0.2 &")
        time.sleep(0.5)
        wait_until(
            lambda: (
                not [
                    line
                    for line in container.execute("python3", "-c", PROCESSES).stdout.splitlines()
                    if line.startswith("Z 1 ")
                ]
            ),
            lambda: container.execute("python3", "-c", PROCESSES).stdout,
            seconds=5,
        )


@pytest.mark.anyio
async def test_no_shell_is_needed(folder):
    (folder / "empty").write_text("")
    shells = ("/bin/sh", "/bin/dash", "/bin/bash")
    masks = [f"--volume={folder / 'empty'}:/usr{shell}:ro" for shell in shells]
    with running(folder, *masks) as container:
        assert container.execute("sh", "-c", "true", check=False).returncode != 0
        assert await text_of_call(container.port) == "in a container"
        assert container.do("healthcheck", "run").returncode == 0
        container.do("stop", "--time=20")
        assert container.exit_code == 0


def test_another_container_connects_over_the_socket_in_a_shared_volume(folder):
    volume = f"mcp-bridge-test-{os.getpid()}-run"
    state = (f"--volume={volume}:/run/bridge", "--tmpfs=/var/lib/bridge")
    try:
        with (
            running(folder, network="none", state=state),
            Container(
                IMAGE,
                f"mcp-bridge-test-{os.getpid()}-client",
                ("--network=none", f"--volume={volume}:/run/bridge", "--entrypoint=sleep"),
                ("60",),
            ) as client,
        ):
            done = client.execute("mcp-bridge", "call", "example", "echo", "text=over the socket")
            assert "over the socket" in done.stdout
    finally:
        podman(IMAGE, "volume", "rm", "--force", volume)


def test_a_container_in_the_same_network_reaches_the_loopback(folder):
    with (
        running(folder, network="none", listen="127.0.0.1:8808") as daemon,
        Container(
            IMAGE,
            f"mcp-bridge-test-{os.getpid()}-proxy",
            (f"--network=container:{daemon.name}", "--entrypoint=sleep"),
            ("60",),
        ) as proxy,
    ):
        done = proxy.execute("python3", "-c", STATUS, "http://127.0.0.1:8808/healthz")
        assert done.stdout == "200\n"


@pytest.mark.anyio
async def test_volumes_of_kubernetes_can_be_read(folder, monkeypatch):
    # As in deploy/kubernetes.yaml: fsGroup 65532, projected volumes for the configuration and the secrets, emptyDirs of root.
    port = free_port()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    more = (
        f'hosts = ["127.0.0.1:{port}"]\n'
        'tls_cert = "/run/secrets/tls/tls.crt"\ntls_key = "/run/secrets/tls/tls.key"\n'
        '[tokens.ci]\nsecret = "credential:ci"\n'
    )
    for name, files, mode in (
        ("config", {"config.toml": config(f"0.0.0.0:{port}", more)}, 0o644),
        ("secrets", {"ci": CI}, 0o440),
        (
            "tls",
            {
                "tls.crt": certificate.cert_chain_pems[0].bytes().decode(),
                "tls.key": certificate.private_key_pem.bytes().decode(),
            },
            0o440,
        ),
    ):
        write_volume(folder / name, files, group=USER, mode=mode)
    for name in ("run", "state"):
        (folder / name).mkdir()
        os.chown(folder / name, 0, USER)
        (folder / name).chmod(0o2777)
    options = (
        *("--network=host", f"--user={USER}:{USER}", SERVER),
        f"--volume={folder / 'config'}:/etc/mcp-bridge:ro",
        f"--volume={folder / 'secrets'}:/run/secrets/mcp-bridge:ro",
        f"--volume={folder / 'tls'}:/run/secrets/tls:ro",
        f"--volume={folder / 'run'}:/run/bridge",
        f"--volume={folder / 'state'}:/var/lib/bridge",
        "--env=CREDENTIALS_DIRECTORY=/run/secrets/mcp-bridge",
    )
    authority.cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    with Container(IMAGE, f"mcp-bridge-test-{os.getpid()}-pod", options) as container:
        wait_until(lambda: "mcp-bridge: ready on" in container.log, lambda: container.log)
        assert await text_of_call(port, scheme="https") == "in a container"
        assert await text_of_call(port, scheme="https", token=CI) == "in a container"
        # A new Secret is noticed, although the name of its file is a link that stays the same.
        write_volume(folder / "secrets", {"ci": NEXT}, group=USER, update=1)
        with anyio.fail_after(20):
            while status_of(port, NEXT, certificates=str(folder / "ca.pem")) == 401:
                await anyio.sleep(0.3)
        assert await text_of_call(port, scheme="https", token=NEXT) == "in a container"


def test_a_machine_without_containers_says_so(monkeypatch):
    def refused(words, **_):
        return subprocess.CompletedProcess(words, 126, "", "crun: not permitted\n")

    from . import podman as module  # noqa: PLC0415 - the cache of the module is bypassed

    monkeypatch.setattr(module.subprocess, "run", refused)
    with pytest.raises(NotRun, match="crun: not permitted; crun: not permitted"):
        module._way.__wrapped__(IMAGE)
    assert HARDENED[0] == "--read-only"
