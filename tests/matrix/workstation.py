"""Ten real servers in one daemon, started as systemd would start it; writes docs/WORKSTATION.md with what a person sees.

A notify socket and two listening sockets are passed as a service manager passes them. Exit code 1 if a server does not
answer. install.sh installs the servers.
"""

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE)]

from run import page  # noqa: E402 - here
from servers import FEATURE_SERVERS, furnish, servers  # noqa: E402 - here

from tests.support.bridge_process import _MARK, PROGRAM  # noqa: E402 - of the repository
from tests.support.daemon_process import Daemon, Manager, write_config  # noqa: E402

DOCUMENT = REPOSITORY / "docs/WORKSTATION.md"
# What of the units' sandbox can be had without a running systemd: NoNewPrivileges, an empty CapabilityBoundingSet,
# ProtectSystem=full, PrivateIPC and ProtectHostname. Only root can make it so.
CONFINED = (
    *("unshare", "--mount", "--ipc", "--uts", "sh", "-c"),
    """mount --make-rprivate /
    for place in /usr /etc; do mount --rbind $place $place && mount -o remount,ro,bind $place || exit; done
    exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all "$@\"""",
    "sh",
)
PREFACE = """\
# A workstation

Written by `make workstation`; do not edit. Ten real servers, of several SDKs and eras, run in one daemon. It was started as
systemd starts it: with a notify socket, and with a TCP and a Unix socket that were listening before it came;
and {confined}.
What follows is the configuration and what a person then sees; folders are shortened, and long lines cut.

What the service manager heard: `{heard}`.
"""


HOW = {
    True: "as far as that can be had without systemd, it was confined as by its unit (no new privileges, no capabilities, /usr and /etc read-only, an IPC and a host name of its own)",
    False: "not confined, since only root can do that here",
}


def shortened(text: str, folder: Path) -> str:
    for place, name in ((str(folder), "~"), (str(REPOSITORY), "…"), (sys.executable, "python")):
        text = text.replace(place, name)
    text = re.sub(r'[^\s"]*/node_modules/', "…/", text)
    return "\n".join(line if len(line) <= 130 else line[:129] + "…" for line in text.splitlines())


def block(folder: Path, command: str, output: str) -> str:
    return f"    $ {command}\n" + "".join(
        f"    {line}".rstrip() + "\n" for line in shortened(output, folder).splitlines()
    )


def tapped(running: Daemon) -> str:
    watching = subprocess.Popen(
        [PROGRAM, "tap", "mcp-server-time", "--config", str(running.config)],
        env=running.variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)  # it has no other way to say that it watches
    call(running, "mcp-server-time", "get_current_time", timezone="UTC")
    time.sleep(0.5)
    watching.send_signal(signal.SIGINT)
    return watching.communicate(timeout=10)[0]


def call(running: Daemon, server: str, tool: str, **arguments: object) -> str:
    return running.do("call", server, tool, json.dumps(arguments)).stdout


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as name,
        page() as url,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        folder = Path(name)
        furnish(folder)
        known = {key.replace(".mjs", "-only"): value for key, value in servers(folder, url).items()}
        commands = {key: {"command": list(server.command)} for key, server in known.items()}
        commands["example"] = {"command": list(FEATURE_SERVERS["legacy"]), "share": "principal"}
        config = folder / "config.toml"
        sock = folder / "run/mcp-bridge/mcp-bridge.sock"
        sock.parent.mkdir(parents=True, mode=0o700)
        unix.bind(str(sock))
        unix.listen()
        manager = Manager(folder)
        port = tcp.getsockname()[1]
        write_config(config, commands, listen={"http": f"127.0.0.1:{port}"})
        variables = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "3000000"}
        can_confine = subprocess.run([*CONFINED, "true"], capture_output=True, check=False).returncode == 0
        within = CONFINED if can_confine else ()
        running = Daemon(folder, listeners=[tcp, unix], environment=variables, within=within)
        silent: list[str] = []
        with running:
            for server in commands:
                listed = running.do("tools", server, check=False)
                good = listed.returncode == 0 and len(listed.stdout.splitlines()) > 1
                print(f"{'ok' if good else 'FAILED':7}{server}", flush=True)
                silent += [server] * (not good)
            git = call(
                running, "mcp-server-git", "git_log", repo_path=str(folder / "repository"), max_count=1
            )
            shown = [
                block(folder, "mcp-bridge config check", running.do("config", "check").stdout),
                block(
                    folder, "mcp-bridge tools mcp-server-time", running.do("tools", "mcp-server-time").stdout
                ),
                block(
                    folder,
                    'mcp-bridge call mcp-server-git git_log \'{"repo_path": "~/repository", "max_count": 1}\'',
                    git,
                ),
                block(folder, "mcp-bridge tap mcp-server-time", tapped(running)),
                block(
                    folder, "mcp-bridge logs mcp-server-fetch", running.do("logs", "mcp-server-fetch").stdout
                ),
                block(
                    folder, "mcp-bridge restart server-memory", running.do("restart", "server-memory").stdout
                ),
                block(folder, "mcp-bridge ps", running.do("ps").stdout),
                block(folder, "mcp-bridge status", running.do("status").stdout),
                block(folder, "mcp-bridge doctor", running.do("doctor", check=False).stdout),
            ]
            running.stop()
            manager.wait_for("STOPPING=1")
        words = list(dict.fromkeys(manager.heard))
        text = config.read_text().replace(f'pass_env = ["{_MARK}"]\n', "")
        parts = [
            PREFACE.format(heard=", ".join(words), confined=HOW[can_confine]),
            block(folder, "cat ~/config.toml", text),
            *shown,
        ]
        DOCUMENT.write_text("\n".join(parts))
    print(f"{len(commands) - len(silent)} of {len(commands)} answer")
    return 1 if silent or len(commands) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
