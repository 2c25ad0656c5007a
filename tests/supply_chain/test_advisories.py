"""An advisory is a finding, and a package that was not looked up is never a pass. A server on the loopback stands in for OSV."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .advisories import Answers, collect
from .lock import LOCKS
from .report import EX_FINDINGS, EX_NOT_RUN, ROOT

PYTHON = ROOT / ".deps/supply/bin/python"
needs_tool = pytest.mark.skipif(
    not PYTHON.is_file(), reason="make .deps/supply/.installed installs pip-audit"
)
ADVISORY = {
    "id": "PLANTED-2026-1",
    "aliases": ["CVE-2026-0001"],
    "summary": "A planted advisory",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "h11"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


class Osv(ThreadingHTTPServer):
    """Answers each query as OSV does: with the planted advisory for the package `vulnerable`. Keeps the names of the packages."""

    def __init__(self, vulnerable="", status=200):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vulnerable, self.status, self.queried = vulnerable, status, set()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.server.queried.add(name)
        body = json.dumps({"vulns": [ADVISORY]} if name == self.server.vulnerable else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def folder(tmp_path):
    """Return a folder whose lock files have two packages."""
    (tmp_path / "requirements").mkdir()
    for name in LOCKS:
        text = "".join(f"{pinned} --hash=sha256:{'0' * 64}\n" for pinned in ("h11==0.16.0", "idna==3.20"))
        (tmp_path / f"requirements/{name}.txt").write_text(text)
    return tmp_path


def run(folder, osv):
    environment = {
        "PIP_AUDIT_OSV_URL": f"http://127.0.0.1:{osv.server_port}/v1/query",
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(
        [PYTHON, "-m", "tests.supply_chain.advisories", "--root", folder, "--service", "osv"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_tool
def test_an_advisory_of_the_database_is_a_finding(folder):
    with Osv("h11") as osv:
        done = run(folder, osv)
    assert done.stdout == "advisory: h11 0.16.0: CVE-2026-0001, PLANTED-2026-1; fixed in 99.0\n", done.stderr
    assert done.returncode == EX_FINDINGS


@needs_tool
def test_a_database_without_advisories_is_a_pass(folder):
    with Osv() as osv:
        done = run(folder, osv)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert osv.queried == {"h11", "idna"}


@needs_tool
def test_a_database_that_fails_is_no_pass(folder):
    with Osv(status=503) as osv:
        done = run(folder, osv)
    assert done.returncode == EX_NOT_RUN, done.stderr
    assert done.stdout.startswith("NOT RUN: 2 of 2 packages were not looked up (")


def test_a_skipped_package_is_not_examined():
    answers = Answers()
    printed = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "skip_reason": "no such page"},
        ]
    }
    collect(answers, "pypi", json.dumps(printed), "")
    assert answers.examined == {("a", "1")}
    assert answers.reasons == ["pypi: 1 packages skipped, the first: no such page"]


def test_the_last_line_of_a_failure_is_the_reason():
    answers = Answers()
    collect(answers, "osv", "", "Traceback\nConnectionError: no route\n")
    assert (answers.examined, answers.reasons) == (set(), ["osv: ConnectionError: no route"])
    collect(answers, "osv", "", "")
    assert answers.reasons[1] == "osv: no output"
