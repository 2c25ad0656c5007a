"""A server that fails at its start in the way that its first argument names, or starts in an unusual way."""

import fcntl
import getpass
import json
import os
import sys
import time
from pathlib import Path

KIND = sys.argv[1]
WORDS = sys.argv[2:]


def write(text: str, stream=sys.stdout, end: str = "\n") -> None:
    print(text, file=stream, end=end, flush=True)


def hang() -> None:
    for _ in sys.stdin:
        pass
    time.sleep(1000)


def answer(message: dict, result: dict) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))


def refuse(message: dict, code: int, text: str) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": text}}))


def serve(*, discover: str = "refuse", crash: bool = False) -> None:
    """A legacy server. `discover` is what it does with the question for its era."""
    for line in sys.stdin:
        message = json.loads(line)
        method = message["method"]
        if method == "initialize":
            info = {"name": "failing", "version": "1"}
            answer(
                message,
                {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info},
            )
        elif method == "server/discover" and discover == "silent":
            continue
        elif method == "server/discover" and discover == "exit":
            sys.exit(1)
        elif method == "tools/call" and crash:
            write("Traceback: it has crashed in the call", sys.stderr)
            os._exit(7)
        elif method == "tools/call":
            text = f"{os.getpid()}"
            answer(message, {"content": [{"type": "text", "text": text}]})
        elif method in ("tools/list", "ping"):
            answer(message, {"tools": []} if method == "tools/list" else {})
        elif "id" in message:
            refuse(message, -32601, "Method not found")


def meet(folder: Path, seconds: float) -> None:
    """Wait until two processes run at a time, which leaves a file, for so many seconds."""
    own = folder / str(os.getpid())
    own.touch()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (folder / "met").exists():
        alive = [one for one in folder.iterdir() if one.name.isdecimal() and is_alive(int(one.name))]
        if len(alive) > 1:
            (folder / "met").touch()
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def lock(path: Path, flags: int) -> None:
    """Take a lock, or exit. A second process leaves a file."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        path.with_name("twice").touch()
        write("another process has the lock", sys.stderr)
        sys.exit(1)
    globals()["held"] = file


def serve_modern() -> None:
    found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
    for line in sys.stdin:
        message = json.loads(line)
        if message["method"] == "server/discover":
            answer(message, found)
        elif message["method"] == "tools/call":
            content = [{"type": "text", "text": f"{os.getpid()}"}]
            answer(message, {"content": content, "resultType": "complete"})
        elif message["method"] == "tools/list":
            answer(message, {"tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"})
        elif "id" in message:
            refuse(message, -32601, "Method not found")


def serve_reaction() -> None:
    """Speak the era that a file names, which the command does not, and leave a line for each process."""
    place = Path(os.environ["PLACE"])
    with (place / "started").open("a") as log:
        log.write(f"{os.getpid()}\n")
    if (place / "era").read_text() == "modern":
        serve_modern()
    else:
        serve()


def main() -> None:
    match KIND:
        case "brought":
            if os.environ.get("KEY") == "bad":
                write("the API key is invalid", sys.stderr)
                sys.exit(6)
            serve()
        case "told":
            serve_reaction()
        case "meet":  # FOLDER SECONDS REACTION
            meet(Path(WORDS[0]), float(WORDS[1]))
            serve_modern() if WORDS[2] == "modern" else serve(discover=WORDS[2])
        case "lock" | "wait" | "late":  # FILE REACTION
            if KIND == "late" and not Path(WORDS[0]).exists():
                Path(WORDS[0]).touch()
                time.sleep(0.7)
            lock(Path(WORDS[0]), 0 if KIND == "wait" else fcntl.LOCK_NB)
            serve_modern() if WORDS[1] == "modern" else serve(discover=WORDS[1])
        case "banner":  # SECONDS REACTION
            write("Welcome to this server")
            time.sleep(float(WORDS[0]))
            serve_modern() if WORDS[1] == "modern" else serve(discover=WORDS[1])
        case "exit":
            write("ValueError: the setting FOO is not set", sys.stderr)
            sys.exit(int(WORDS[0]))
        case "refuse":
            for line in sys.stdin:
                message = json.loads(line)
                if "id" in message:
                    refuse(message, -32603, "the database is locked")
        case "http":
            write("Server listening on http://localhost:3000")
            write("booting in 5 ms", sys.stderr)
            hang()
        case "http-stderr":
            write("INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)", sys.stderr)
            hang()
        case "hang":
            hang()
        case "deaf":
            time.sleep(1000)
        case "flood":
            for number in range(1000):
                write(f"{number} " + "x" * 2000)
            hang()
        case "usage":
            write("Usage: server [--transport stdio] DIRECTORY")
            sys.exit(2)
        case "usage-0":
            write("usage: server DIRECTORY", sys.stderr)
            sys.exit(0)
        case "key":
            write("Enter your API key: ", end="")
            hang()
        case "key-stderr":
            write("API_KEY: ", sys.stderr, end="")
            hang()
        case "npx":
            write("Need to install the following packages:\nsome-server@1.0.0\nOk to proceed? (y) ", end="")
            hang()
        case "once":  # serves only if a file is there
            if not Path(WORDS[0]).exists():
                write("there is no database yet", sys.stderr)
                sys.exit(3)
            serve()
        case "crash":
            serve(crash=True)
        case "secret":
            write(f"Server listening on http://localhost:3000/?key={os.environ['KEY']}")
            write(f"with {os.environ['KEY']}", sys.stderr)
            hang()
        case "slow":
            time.sleep(float(WORDS[0]))
            serve(discover=WORDS[1] if len(WORDS) > 1 else "refuse")
        case "getpass":
            getpass.getpass()
        case _:
            serve()


main()
