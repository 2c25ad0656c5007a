"""Results, exit status, planted faults, the self-test and the report, with gates of the test's own."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from . import plants, run, tools
from .catalog import Gate
from .document import document, table
from .report import summary, write
from .result import CLEAN, FINDINGS, NOT_RUN, checked, not_run
from .self_test import self_test
from .targets import Target
from .tools import ToolFailed, ToolMissing


def gate(check, *planted, name="words", **more):
    """Return a gate that runs a function of the test."""
    return Gate(
        name, SimpleNamespace(CLASS="words", TOOL="reader", SPEED="fast", PLANTS=planted, run=check, **more)
    )


def reader(root):
    """Report each file with the word "fault"."""
    return checked((path for path in tools.files(root) if "fault" in (root / path).read_text()), "reader 1")


def blind(_):
    return checked((), "reader 1")


def suspicious(root):
    return checked((*tools.files(root), "new.txt"), "reader 1")


def without_tool(_):
    raise ToolMissing("reader is not installed")


def broken(_):
    raise ToolFailed("reader exited with 7: no")


def faulty(_):
    return {}["finding"]


PLANT = plants.new_file("a fault in a new file", "new.txt", "fault\n")


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()
    (root / ".gitignore").write_text("ignored\n")
    (root / "a.txt").write_text("good\n")
    plants.git(root, "init", "--quiet")
    plants.git(root, "add", "--all")
    plants.git(root, "commit", "--quiet", "-m", "begin")
    (root / "untracked.txt").write_text("good\n")
    (root / "ignored").write_text("fault\n")
    return root


@pytest.mark.parametrize(
    ("check", "more", "strict", "expected"),
    [
        (blind, {}, False, 0),
        (suspicious, {}, False, 1),
        (without_tool, {}, False, 3),
        (broken, {}, False, 3),
        (without_tool, {"MAY_NOT_RUN": "needs a network"}, False, 0),
        (without_tool, {"MAY_NOT_RUN": "needs a network"}, True, 3),
        (broken, {"MAY_NOT_RUN": "needs a network"}, False, 3),
        (faulty, {"MAY_NOT_RUN": "needs a network"}, False, 3),
    ],
)
def test_the_exit_status(check, more, strict, expected, repository):
    one = gate(check, **more)
    result, seconds = one.run(repository)
    good = gate(blind)
    assert run.status([(good, *good.run(repository)), (one, result, seconds)], strict=strict) == expected


def test_findings_win_over_a_gate_that_could_not_run(repository):
    results = [(one, *one.run(repository)) for one in (gate(without_tool), gate(suspicious))]
    assert run.status(results, strict=True) == 1


def test_a_missing_tool_and_a_failed_tool_are_not_run_with_the_reason(repository):
    assert gate(without_tool).run(repository)[0] == not_run("reader is not installed")
    result, _ = gate(broken).run(repository)
    assert (result.state, result.reason) == (NOT_RUN, "the tool failed: reader exited with 7: no")
    result, _ = gate(faulty).run(repository)
    assert (result.state, result.reason) == (NOT_RUN, "the gate failed: KeyError: 'finding'")


def test_gates_that_could_not_run_are_printed_and_counted(repository, capsys):
    run._run([gate(blind), gate(without_tool, name="other")], repository, 2)
    printed = capsys.readouterr().out
    assert "2 gates: 1 clean, 0 findings, 1 NOT RUN" in printed
    assert "NOT RUN: other (reader): reader is not installed" in printed


def test_a_status_that_is_neither_clean_nor_findings_is_a_failure(tmp_path):
    assert tools.lines(["sh", "-c", "echo found; exit 1"], tmp_path) == ["found"]
    with pytest.raises(ToolFailed, match="sh exited with 7: no"):
        tools.run(["sh", "-c", "echo no >&2; exit 7"], tmp_path)


def test_a_tool_that_is_not_installed_is_missing(tmp_path):
    with pytest.raises(ToolMissing, match=r"no-such-tool is not installed \(make security-tools\)"):
        tools.run(["no-such-tool"], tmp_path)


def test_the_files_are_those_that_git_has_or_would_have(repository):
    (repository / "link.txt").symlink_to("a.txt")
    assert sorted(tools.files(repository)) == [".gitignore", "a.txt", "untracked.txt"]
    assert sorted(tools.files(repository, "*.txt")) == ["a.txt", "untracked.txt"]


def test_a_copy_has_the_files_as_they_are_and_the_history(repository):
    (repository / "a.txt").write_text("changed\n")
    with plants.copy_of(repository) as copy:
        assert sorted(tools.files(copy.root)) == [".gitignore", "a.txt", "untracked.txt"]
        assert (copy.root / "a.txt").read_text() == "changed\n"
        assert plants.git(copy.root, "log", "--format=%s").split("\n")[1] == "begin"
        (copy.root / "a.txt").write_text("fault\n")
        (copy.root / "folder").mkdir()
        (copy.root / "folder/b.txt").write_text("fault\n")
        plants.git(copy.root, "add", "--all")
        plants.git(copy.root, "commit", "--quiet", "-m", "fault")
        (copy.root / "c.txt").write_text("fault\n")
        copy.restore()
        assert sorted(tools.files(copy.root)) == [".gitignore", "a.txt", "untracked.txt"]
        assert (copy.root / "a.txt").read_text() == "changed\n"
    assert (repository / "a.txt").read_text() == "changed\n"


def test_a_removed_file_is_not_in_the_copy(repository):
    (repository / "a.txt").unlink()
    with plants.copy_of(repository) as copy:
        assert sorted(tools.files(copy.root)) == [".gitignore", "untracked.txt"]


def test_planted_faults_that_are_reported_are_no_faults_of_the_gate(repository):
    more = plants.appended("a fault at an end", "a.txt", "fault\n", "a.txt")
    alone = plants.replaced(
        "a fault in place of a text", "untracked.txt", "good", "fault", "untracked", alone=True
    )
    with plants.copy_of(repository) as copy:
        assert self_test(gate(reader, PLANT, more, alone), copy) == ([], "")
        assert (copy.root / "untracked.txt").read_text() == "good\n"


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        (blind, "words: a fault in a new file: not reported (no finding has 'new.txt')"),
        (suspicious, "words: a fault in a new file: also reported without the fault"),
    ],
)
def test_a_gate_that_is_blind_or_always_suspicious_fails_its_self_test(check, fault, repository):
    with plants.copy_of(repository) as copy:
        assert self_test(gate(check, PLANT), copy) == ([fault], "")


def test_a_gate_that_fails_at_the_fault_fails_its_self_test(repository):
    def check(root):
        return not_run("a bad file") if (root / "new.txt").exists() else checked((), "")

    with plants.copy_of(repository) as copy:
        faults, _ = self_test(gate(check, PLANT), copy)
    assert faults == ["words: a fault in a new file: did not run: a bad file"]


def test_a_gate_that_cannot_run_has_no_self_test_but_a_reason(repository):
    with plants.copy_of(repository) as copy:
        assert self_test(gate(without_tool, PLANT), copy) == ([], "reader is not installed")


def test_a_gate_that_fails_has_a_fault(repository):
    with plants.copy_of(repository) as copy:
        assert self_test(gate(faulty, PLANT), copy) == (["words: the gate failed: KeyError: 'finding'"], "")


def test_all_texts_of_a_fault_are_in_one_finding(repository):
    def check(root):
        return checked(("new.txt: other", "old.txt: S1") if (root / "new.txt").exists() else (), "")

    plant = plants.new_file("a fault", "new.txt", "", "new.txt", "S1")
    with plants.copy_of(repository) as copy:
        faults, _ = self_test(gate(check, plant), copy)
    assert faults == ["words: a fault: not reported (no finding has 'new.txt' and 'S1')"]


def test_a_plant_that_fits_nowhere_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("good")
    with pytest.raises(FileExistsError, match="needs another path than a"):
        plants.new_file("a fault", "a.txt", "").change(tmp_path)
    with pytest.raises(LookupError, match="finds no 'bad' in a"):
        plants.replaced("a fault", "a.txt", "bad", "", "x").change(tmp_path)


def test_the_report_names_commit_tool_version_result_and_time(repository):
    gates = [gate(suspicious, name="first"), gate(without_tool, name="second")]
    folder = repository / "build"
    write(folder, repository, [(one, *one.run(repository)) for one in gates])
    report = json.loads((folder / "report.json").read_text())
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert report["commit"] == head.stdout.strip()
    assert report["uncommitted_changes"] is True
    assert [one["result"] for one in report["gates"]] == [FINDINGS, NOT_RUN]
    assert report["gates"][0]["version"] == "reader 1"
    assert "new.txt" in report["gates"][0]["findings"]
    assert report["gates"][1]["reason"] == "reader is not installed"
    first, second = json.loads((folder / "report.sarif").read_text())["runs"]
    assert [found["message"]["text"] for found in first["results"]] == report["gates"][0]["findings"]
    assert (
        first["invocations"][0]["executionSuccessful"],
        second["invocations"][0]["executionSuccessful"],
    ) == (True, False)
    text = (folder / "report.md").read_text()
    assert head.stdout.strip() in text
    assert "| words | first | reader | reader 1 | 4 findings |" in text
    assert "| words | second | reader |  | NOT RUN: reader is not installed |" in text


def test_a_finding_with_a_place_has_it_in_sarif(tmp_path, repository):
    placed = gate(lambda _: checked(("a/b.py:7:1: S1 bad", "b.yml:8: bad", "no place: 7"), "reader 1"))
    write(tmp_path, repository, [(placed, *placed.run(repository))])
    results = json.loads((tmp_path / "report.sarif").read_text())["runs"][0]["results"]
    places = [found["locations"][0]["physicalLocation"] for found in results if "locations" in found]
    assert [(place["artifactLocation"]["uri"], place["region"]["startLine"]) for place in places] == [
        ("a/b.py", 7),
        ("b.yml", 8),
    ]


def test_the_report_shows_a_part_of_many_findings(tmp_path, repository):
    many = gate(lambda _: checked(map(str, range(60)), "reader 1"))
    write(tmp_path, repository, [(many, *many.run(repository))])
    assert "10 more are in report.json." in (tmp_path / "report.md").read_text()
    assert len(json.loads((tmp_path / "report.json").read_text())["gates"][0]["findings"]) == 60


def test_the_document_has_each_gate_and_each_target():
    one = gate(blind, PLANT, MAY_NOT_RUN="needs a | network")
    text = document([one], {"bandit": Target(("words",), "reads")})
    assert "1 gates with 1 planted faults" in text
    assert "| words | words | reader | fast | a fault in a new file | needs a \\| network |" in table([one])
    assert "| `make bandit` | words | reads |" in text


def test_the_summary_counts_each_state(repository):
    results = [(one, *one.run(repository)) for one in (gate(blind), gate(blind), gate(without_tool))]
    assert summary(results) == "3 gates: 2 clean, 0 findings, 1 NOT RUN"
    assert [result.state for _, result, _ in results] == [CLEAN, CLEAN, NOT_RUN]


def test_unknown_gates_are_named():
    with pytest.raises(SystemExit, match="there is no gate nothing; the gates are "):
        run.main(["nothing"])
