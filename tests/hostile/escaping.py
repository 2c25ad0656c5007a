"""A server whose tool `attempt` tries to leave its sandbox, and returns "done", a text, or the name of the error."""

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
PTRACE_SEIZE, IO_URING_SETUP, KEYCTL = 0x4206, 425, {"x86_64": 250}.get(os.uname().machine, 219)
KEYCTL_GET_KEYRING_ID, SESSION_KEYRING = 0, -3
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def read(path):
    with open(path, "rb") as file:
        return file.read(200).decode(errors="replace")


def write(path, text="written"):
    with open(path, "w") as file:
        file.write(text)


def tcp(address, family=socket.AF_INET, protocol=0):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as sock:
        sock.settimeout(5)
        sock.connect((address[0], int(address[1])))


def udp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"out", (address[0], int(address[1])))


def bind(port):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", int(port)))
        sock.listen()


def unix(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


def datagram_pair(path):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.connect(path)


def stream_pair(path):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    one.connect(path)


def attach(pid):
    """Attach to a process without stopping it. It is released when the tracer exits."""
    tracer = os.fork()
    if tracer == 0:
        os._exit(ctypes.get_errno() if LIBC.ptrace(PTRACE_SEIZE, int(pid), None, None) else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(tracer, 0)[1])
    if code:
        raise OSError(code, "")


def memory(pid):
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.read(1)


def descriptors():
    return " ".join(
        sorted(os.readlink(f"/proc/self/fd/{name}").partition(":")[0] for name in ("0", "1", "2"))
    ) + str(len([name for name in os.listdir("/proc/self/fd") if int(name) > 3]))


def unmount(path):
    """Unmount what hides a path, in a user namespace of its own."""
    checked(LIBC.unshare(CLONE_NEWNS | CLONE_NEWUSER))
    checked(LIBC.umount2(os.fsencode(path), 2))


def in_child(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or (done.stderr.strip().splitlines() or ["nothing"])[-1]


ATTEMPTS = {
    "read": read,
    "write": write,
    "append": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)),
    "truncate": lambda path: os.truncate(path, 0),
    "list": lambda path: " ".join(sorted(os.listdir(path))),
    "mkdir": os.mkdir,
    "remove": os.unlink,
    "rename": os.rename,
    "hardlink": os.link,
    "symlink": os.symlink,
    "tcp": lambda *address: tcp(address),
    "mptcp": lambda *address: tcp(address, protocol=262),
    "udp": lambda *address: udp(address),
    "bind": bind,
    "unix": unix,
    "abstract": lambda name: unix(f"\0{name}"),
    "datagram_pair": datagram_pair,
    "stream_pair": stream_pair,
    "signal": lambda pid: os.kill(int(pid), signal.SIGCONT),
    "ptrace": attach,
    "memory": memory,
    "descriptors": descriptors,
    "io_uring": lambda: checked(LIBC.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(256))),
    "keyring": lambda: checked(LIBC.syscall(KEYCTL, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 1)),
    "no_new_privs": lambda: str(LIBC.prctl(39, 0, 0, 0, 0)),
    "syscall": lambda *words: checked(LIBC.syscall(*(ctypes.c_long(int(word)) for word in words))),
    "vsock": lambda: socket.socket(40, socket.SOCK_STREAM).close(),
    "unmount": unmount,
    "child": in_child,
    "cwd": os.getcwd,
    "tmpdir": lambda: write(f"{os.environ['TMPDIR']}/file") or os.environ["TMPDIR"],
    "processes": lambda: str(len([name for name in os.listdir("/proc") if name.isdecimal()])),
}


def attempt(name, *arguments):
    try:
        found = ATTEMPTS[name](*arguments)
    except OSError as fault:
        return errno.errorcode.get(fault.errno or 0, str(fault))
    return found if isinstance(found, str) else "done"


def result_of(method, params):
    match method:
        case "initialize":
            info = {"name": "escaping", "version": "1"}
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": info,
            }
        case "tools/list":
            return {"tools": [{"name": "attempt", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            text = attempt(*params["arguments"]["words"])
            return {"content": [{"type": "text", "text": json.dumps(text)}]}
    return {}


def main():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "server/discover":
            answer["error"] = {"code": -32601, "message": "no such method"}
        else:
            answer["result"] = result_of(message["method"], message.get("params", {}))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
