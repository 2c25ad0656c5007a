"""The image in real containers: read-only, without capabilities and new privileges, as a user without a name.

Run by `make container`, which builds the image first. MCP_BRIDGE_IMAGE names it.
"""

import json
import os
import re
import shlex
import shutil
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
import yaml

from mcpbridged.bridge.config.credentials import new_token
from mcpbridged.transports.process.confinement import landlock_abi
from mcpbridged.validators.bearer import TokenSet, digest_of

from ..support.bridge_process import EXAMPLE, REPOSITORY
from ..support.kubelet_volume import write_volume
from ..support.sdk import SDK_WARNINGS, connect
from .podman import HARDENED, Container, NotRun, podman

GUIDE = (REPOSITORY / "docs/CONTAINER.md").read_text()
MANIFESTS = [*yaml.safe_load_all((REPOSITORY / "examples/container/kubernetes.yaml").read_text())]
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


def status_of(port, headers, path, certificates, host=""):
    """Return the status of a GET. Without `certificates` the certificate is not checked."""
    context = ssl.create_default_context(cafile=certificates)
    if certificates is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    more = {"Host": host} if host else {}
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", None, headers | more)
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


async def refused(port, token, certificates):
    path = "/servers/example/mcp"
    return status_of(port, {"Authorization": f"Bearer {token}"}, path, certificates) == 401


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


def pod_options(folder, contents):
    """Return the options of podman for the pod of the example, with volumes in the layout of the kubelet.

    `contents` are the files of the ConfigMaps and Secrets, by their names.
    """
    (pod,) = [one["spec"]["template"]["spec"] for one in MANIFESTS if one["kind"] == "Deployment"]
    (container,) = pod["containers"]
    security, own = pod["securityContext"], container["securityContext"]
    assert (security["runAsNonRoot"], own["readOnlyRootFilesystem"], own["capabilities"]) == (
        True,
        True,
        {"drop": ["ALL"]},
    )
    options = [
        f"--user={security['runAsUser']}:{security['runAsGroup']}",
        f"--group-add={security['fsGroup']}",
    ]
    options += [f"--env={one['name']}={one['value']}" for one in container["env"]]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    for volume in pod["volumes"]:
        place, name = folder / volume["name"], volume["name"]
        if "emptyDir" in volume:
            place.mkdir()
            os.chown(place, 0, security["fsGroup"])
            place.chmod(0o2777)
        elif "projected" in volume:
            (source,) = volume["projected"]["sources"]
            write_volume(place, contents[source["configMap"]["name"]], group=security["fsGroup"], mode=0o644)
        else:
            secret = volume["secret"]
            write_volume(
                place, contents[secret["secretName"]], group=security["fsGroup"], mode=secret["defaultMode"]
            )
        read_only = ":ro" if mounts[name].get("readOnly") else ""
        options.append(f"--volume={place}:{mounts[name]['mountPath']}{read_only}")
    return options


@pytest.mark.anyio
async def test_the_pod_of_the_example_serves_with_the_volumes_of_kubernetes(folder, monkeypatch):
    port = free_port()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "mcp.example.org")
    (example,) = [one["data"]["config.toml"] for one in MANIFESTS if one["kind"] == "ConfigMap"]
    text = example.replace("0.0.0.0:8808", f"0.0.0.0:{port}").replace(
        "hosts = [", f'hosts = ["127.0.0.1:{port}", '
    )
    assert text.count(str(port)) == 2
    secrets = {"laptop": CI, "state-key": "a key of thirty-two bytes or more"}
    contents = {
        "mcp-bridge": {"config.toml": text} | secrets,
        "mcp-bridge-tls": {
            "tls.crt": certificate.cert_chain_pems[0].bytes().decode(),
            "tls.key": certificate.private_key_pem.bytes().decode(),
        },
    }
    authority.cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    options = ("--network=host", SERVER, *pod_options(folder, contents))
    with Container(IMAGE, f"mcp-bridge-test-{os.getpid()}-pod", options) as container:
        wait_until(lambda: "mcp-bridge: ready on" in container.log, lambda: container.log)
        assert await text_of_call(port, scheme="https", token=CI) == "in a container"
        # The kubelet does not check the certificate, and sends the headers of the probe.
        (probed,) = [
            one["spec"]["template"]["spec"]["containers"][0]
            for one in MANIFESTS
            if one["kind"] == "Deployment"
        ]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = probed[probe]["httpGet"]
            headers = {one["name"]: one["value"] for one in get["httpHeaders"]}
            assert status_of(port, headers, get["path"], certificates=None) == 200
        assert status_of(port, {}, "/healthz", certificates=None, host="10.0.0.7:8808") == 421
        # A new Secret is noticed, although the name of its file is a link that stays the same.
        write_volume(folder / "secrets", secrets | {"laptop": NEXT}, group=USER, update=1)
        with anyio.fail_after(20):
            while await refused(port, NEXT, str(folder / "ca.pem")):
                await anyio.sleep(0.3)
        assert await text_of_call(port, scheme="https", token=NEXT) == "in a container"


def test_the_derived_image_of_the_guide_has_the_program_of_its_server(folder):
    (text,) = re.findall(r"<!-- built: derived -->\n```dockerfile\n(.*?)```", GUIDE, re.DOTALL)
    text = text.replace("FROM localhost/mcp-bridge:0.1.0", f"FROM {IMAGE}")
    (folder / "Containerfile").write_text(text)
    shutil.copy(EXAMPLE[-1], folder / "server.py")
    derived = "localhost/mcp-bridge-derived:test"
    words = [
        "podman",
        "build",
        "--isolation=chroot",
        "--format=docker",
        "--quiet",
        f"--tag={derived}",
        str(folder),
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    try:
        options = ("--network=none", "--entrypoint=sleep")
        with Container(derived, f"mcp-bridge-test-{os.getpid()}-derived", options, ("60",)) as container:
            assert "MCP server" in container.execute("cat", "/srv/server.py").stdout
            assert container.execute("id", "-u").stdout == f"{USER}\n"
    finally:
        podman(IMAGE, "image", "rm", "--force", derived, check=False)


def test_the_command_of_the_guide_runs_the_daemon(folder):
    (command,) = re.findall(r"^    (podman run --read-only (?:.*\\\n)*.*)$", GUIDE, re.MULTILINE)
    words = [word for word in shlex.split(command.replace("\\\n", " "))[2:] if word not in HARDENED]
    (folder / "mcp-bridge").mkdir()
    (folder / "mcp-bridge/config.toml").write_text(config(f"127.0.0.1:{free_port()}"))
    volume = f"mcp-bridge-test-{os.getpid()}-guide"
    changes = {
        "state:/var/lib/bridge": f"{volume}:/var/lib/bridge",
        "./mcp-bridge:/etc/mcp-bridge:ro": f"{folder}/mcp-bridge:/etc/mcp-bridge:ro",
    }
    options = [changes.get(word, word) for word in words]
    assert options.pop() == "localhost/mcp-bridge:0.1.0"
    try:
        with Container(IMAGE, f"mcp-bridge-test-{os.getpid()}-guide", options) as container:
            wait_until(lambda: "mcp-bridge: ready on" in container.log, lambda: container.log)
            assert "example" in container.execute("mcp-bridge", "status").stdout
            assert container.execute("mcp-bridge", "reload").returncode == 0
            # The system calls of Landlock pass the seccomp profile of the runtime, if the kernel has them.
            doctor = container.execute("mcp-bridge", "doctor", check=False).stdout
            assert landlock_abi() == 0 or f"Landlock has version {landlock_abi()}" in doctor
            done = container.execute("mcp-bridge", "token", "new", "another", check=False)
            assert done.returncode == 78
    finally:
        podman(IMAGE, "volume", "rm", "--force", volume)


def test_a_machine_without_containers_says_so(monkeypatch):
    def refused(words, **_):
        return subprocess.CompletedProcess(words, 126, "", "crun: not permitted\n")

    from . import podman as module  # noqa: PLC0415 - the cache of the module is bypassed

    monkeypatch.setattr(module.subprocess, "run", refused)
    with pytest.raises(NotRun, match="crun: not permitted; crun: not permitted"):
        module._way.__wrapped__(IMAGE)
    assert HARDENED[0] == "--read-only"


def test_the_hash_of_a_token_is_made_as_the_guide_says(tmp_path):
    (text,) = re.findall(r"`(head -c 32 [^`]*>laptop)`", GUIDE)
    subprocess.run(text, shell=True, check=True, cwd=tmp_path)
    token = (tmp_path / "laptop").read_text()
    TokenSet({token: "laptop"})
    printed = subprocess.run(
        ["sha256sum", "laptop"], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert bytes.fromhex(printed.split()[0]) == digest_of(token)
