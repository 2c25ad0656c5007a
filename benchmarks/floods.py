"""Measure how long a client with a token waits for its session during floods of connections without a token.

`python benchmarks/floods.py [ATTEMPTS]` (20) prints a table. Each flood opens at most 2,000 connections in a second and uses at
most one core; those that need TLS meet a listener with TLS. Loopback only; about five seconds a flood.
"""

import contextlib
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

import trustme  # noqa: E402 - after the path was set

from tests.support.admission import KINDS, OVER_TLS, flooded, open_session  # noqa: E402 - of the repository
from tests.support.hostile_bridge import running  # noqa: E402 - of the repository
from tests.support.tls import tls_client_context, tls_options  # noqa: E402 - of the repository

PAUSE = 0.1


def cpu(process):
    """Return the CPU time that a process has used (seconds)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(kind, bridge, trust, attempts):
    """Return the times of the successful attempts (seconds), and the CPU use of the flood and of the bridge meanwhile."""
    address, times, faults = ("127.0.0.1", bridge.port), [], []
    with flooded(kind, address, 600) as flood:
        used, began = cpu(bridge.process), time.monotonic()
        for _ in range(attempts):
            try:
                times.append(open_session(address, bridge.token, trust))
            except (OSError, AssertionError) as fault:
                faults.append(f"{type(fault).__name__}: {fault}"[:80])
            time.sleep(PAUSE)
        load = (cpu(bridge.process) - used) / (time.monotonic() - began)
        flooding = cpu(flood) / (time.monotonic() - began)
        flood.send_signal(signal.SIGINT)
        rate = flood.stdout.readline().split()[-1]
    return times, faults, load, flooding, rate


def main():
    attempts = int(sys.argv[1]) if sys.argv[1:] else 20
    authority = trustme.CA()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plain = stack.enter_context(running(folder / "plain"))
        tls = stack.enter_context(running(folder / "tls", *tls_options(authority, folder)))
        kinds = sys.argv[2:] or KINDS
        print(
            "| flood | sessions within 1 s | median | worst | connections of the flood | core of the bridge | of the flood | memory of the bridge |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for kind in kinds:
            bridge, trust = (tls, tls_client_context(authority)) if kind in OVER_TLS else (plain, None)
            times, faults, load, flooding, rate = measure(kind, bridge, trust, attempts)
            good = sum(took < 1 for took in times)
            middle = f"{statistics.median(times) * 1000:.0f} ms" if times else "-"
            worst = f"{max(times) * 1000:.0f} ms" if times else "-"
            print(
                f"| {kind} | {good}/{attempts} | {middle} | {worst} | {rate} | {load:.0%} | {flooding:.0%} | {bridge.resident() // 1024} MiB |",
                flush=True,
            )
            for fault in sorted(set(faults)):
                print(f"    {faults.count(fault)} x {fault}", flush=True)


if __name__ == "__main__":
    main()
