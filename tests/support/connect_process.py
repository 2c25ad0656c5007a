"""Processes of `mcp-bridge connect`."""

import json
import subprocess

from .bridge_process import PROGRAM


def run_connect(running, name, lines, *words, timeout=30):
    return subprocess.run(
        [PROGRAM, "connect", name, "--config", str(running.config), *words],
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_connect(running, name, *words):
    return subprocess.Popen(
        [PROGRAM, "connect", name, "--config", str(running.config), *words],
        env=running.variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def exchange(process, message):
    """Send a message and return the next line of stdout."""
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())
