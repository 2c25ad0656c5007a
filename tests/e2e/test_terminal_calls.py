"""`call`, `prompt` and `read` at a terminal and without one, with servers of both eras, shared processes and the aggregate."""

import json
import subprocess
import time

import pytest

from ..support.bridge_process import MODERN, PROGRAM
from ..support.daemon_clients import example
from ..support.daemon_process import daemon
from ..support.terminal import CTRL_C, CTRL_D, on_terminal

SDK = {"command": MODERN}
SERVERS = {
    "old": example(),
    "shared": example(share="server"),
    "new": SDK,
    "sdk-old": {**SDK, "era": "legacy"},
}
ASK = {
    "old": ("ask", "question=why?"),
    "shared": ("ask", "question=why?"),
    "aggregate": ("old__ask", "question=why?"),
    "new": ("test_input_required_result_elicitation",),
    "sdk-old": ("test_elicitation", "message=why?"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    aggregate = {"servers": ["old", "new"]}
    with daemon(tmp_path_factory.mktemp("calls"), SERVERS, aggregate=aggregate) as found:
        yield found


def terminal(running, *words, **more):
    variables = {**running.variables, "TERM": "xterm", "NO_COLOR": "1"}
    return on_terminal([PROGRAM, *words, "--config", str(running.config)], variables, **more)


def in_flight(running, name):
    return next(one["in_flight"] for one in running.status()["servers"] if one["name"] == name)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("server", ASK)
def test_the_user_answers_a_question_at_the_terminal(running, server):
    # An earlier command must not make it unclear whose question it is.
    running.do("call", "old", "echo", "text=x")
    with terminal(running, "call", server, *ASK[server]) as session:
        session.expect("requests input:")
        session.expect("): ")
        session.enter("because")
        session.expect("ancel: ")
        session.enter("y")
        assert session.to_the_end() == 0
        assert "because" in session.text.rpartition("ancel: ")[2]


@pytest.mark.parametrize("server", ASK)
def test_without_a_terminal_a_question_is_declined_with_a_notice(running, server):
    done = running.do("call", server, *ASK[server], check=False)
    assert (
        f"mcp-bridge: {server} has requested input, which was declined, because stdin or stderr"
        in done.stderr
    )


def test_the_end_of_the_input_declines(running):
    with terminal(running, "call", "old", "ask", "question=why?") as session:
        session.expect("required): ")
        session.type(CTRL_D)
        assert session.to_the_end() == 0
        assert "decline: " in session.text


def test_stdout_has_the_result_only(running, tmp_path):
    with terminal(running, "call", "old", "ask", "question=why?", stdout=tmp_path / "out") as session:
        session.expect("required): ")
        session.enter("because")
        session.expect("ancel: ")
        session.enter("y")
        assert session.to_the_end() == 0
    assert (tmp_path / "out").read_text() == "accept: because\n"


@pytest.mark.parametrize("server", ["old", "shared", "new"])
def test_ctrl_c_at_a_question_ends_the_call_at_the_server(running, server):
    with terminal(running, "call", server, *ASK[server]) as session:
        session.expect("required): ")
        session.type(CTRL_C)
        assert session.to_the_end() == 130
    wait_for(lambda: not in_flight(running, server))
    # The server received the cancellation and is not waiting for an answer.
    if server != "new":
        assert running.do("call", server, "echo", "text=x").stdout == "x\n"


@pytest.mark.parametrize("server", ["old", "shared", "aggregate"])
def test_ctrl_c_cancels_a_call_at_the_server(running, server):
    tool = "old__slow" if server == "aggregate" else "slow"
    with (
        running.following("tap", "shared" if server == "shared" else "old") as lines,
        terminal(running, "call", server, tool, "seconds=60", "steps=600") as session,
    ):
        session.expect("3/600")
        wait_for(lambda: any("notifications/progress" in line for line in lines))
        session.type(CTRL_C)
        assert session.to_the_end() == 130
        wait_for(lambda: any("notifications/cancelled" in line for line in lines))
    wait_for(lambda: not in_flight(running, server))


def test_progress_is_one_line_of_a_terminal_and_is_erased(running):
    with terminal(running, "call", "old", "slow", "seconds=0.3", "steps=3") as session:
        assert session.to_the_end() == 0
    *written, result = session.text.split("\r\x1b[K")
    assert [text for text in written if text] == ["0/3", "1/3", "2/3", "3/3"]
    assert result == "done in 0.3 s\r\n"


@pytest.mark.parametrize(("server", "tool"), [("old", "log"), ("new", "test_logging_tool")])
def test_log_messages_of_a_server_are_shown_on_a_terminal(running, server, tool):
    words = ("call", server, tool, *(("text=hello",) if tool == "log" else ()))
    text = "hello" if tool == "log" else "test_logging_tool ran"
    with terminal(running, *words) as session:
        assert session.to_the_end() == 0
        assert f": {text}\r\n" in session.text
    assert text not in running.do(*words).stderr
    assert f": {text}\n" in running.do(*words, "--log-level", "debug").stderr
    with terminal(running, *words, "--log-level", "none") as session:
        assert session.to_the_end() == 0
        assert f": {text}\r\n" not in session.text


def test_arguments_have_the_types_of_the_schema(running, tmp_path):
    assert running.do("call", "old", "add", "a=1", "b=2.5").stdout == "3.5\n"
    assert running.do("call", "old", "echo", "text=1").stdout == "1\n"
    (tmp_path / "f").write_text("from a file")
    assert running.do("call", "old", "echo", f"text=@{tmp_path / 'f'}").stdout == "from a file\n"
    assert running.do("call", "old", "echo", '{"text": "a"}', "text=b").stdout == "b\n"
    piped = running.shell('echo \'{"text": "piped"}\' | "$@"', "call", "old", "echo", "-")
    assert piped.stdout == "piped\n"


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (
            ("call", "old", "add", "a=x"),
            64,
            "ARGUMENTS: a='x': must be a number; a:=JSON sends any other value",
        ),
        (("call", "old", "echo", "x"), 64, "is not KEY=VALUE"),
        (("call", "old", "echo", "text=@/missing"), 64, "cannot read /missing: No such file or directory"),
        (("call", "old", "echo"), 1, "required arguments that were not given: text"),
        (("call", "old", "ecko"), 1, "old has no tool 'ecko'; did you mean 'echo'?"),
        (
            ("call", "od", "echo"),
            1,
            "there is no server 'od'; there are: old, shared, new, sdk-old, aggregate",
        ),
        (("call", "old", "think", "prompt=x"), 1, "sampling"),
        (
            ("call", "new", "test_input_required_result_sampling"),
            1,
            "the answer of a language model (sampling)",
        ),
        (("call", "new", "test_input_required_result_list_roots"), 1, "the directories of a client (roots)"),
        (("prompt", "old", "great"), 1, "old has no prompt 'great'; did you mean 'greet'?"),
        (("prompt", "old", "greet", "name:=5"), 64, "must be a string"),
        (("read", "old", "x:y"), 1, "there is no resource x:y"),
        (("call", "old", "echo", "text=x", "--log-level", "loud"), 64, "must be none or one of debug"),
        (("read", "a b\n/../x", "x:y"), 1, "there is no server 'a b\\n/../x'"),
    ],
)
def test_an_error_names_what_is_wrong(running, words, code, reason):
    done = running.do(*words, check=False)
    assert (done.returncode, reason in done.stderr + done.stdout) == (code, True), done.stderr + done.stdout


def test_an_error_of_a_tool_is_exit_code_1_also_as_json(running):
    assert running.do("call", "new", "test_error_handling", check=False).returncode == 1
    done = running.do("call", "new", "test_error_handling", "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["isError"]) == (1, True)


def test_binary_content_is_named_and_can_be_written(running, tmp_path):
    done = running.do("call", "new", "test_image_content")
    assert done.stdout == "[image: image/png, 70 B]\n"
    running.do("call", "new", "test_image_content", "--output", str(tmp_path / "i.png"))
    running.do("read", "new", "test://static-binary", "--output", str(tmp_path / "r.png"))
    assert (tmp_path / "i.png").read_bytes()[:4] == (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"
    with subprocess.Popen(
        [PROGRAM, "read", "new", "test://static-binary", "--output", "-", "--config", str(running.config)],
        env=running.variables,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.read() == (tmp_path / "r.png").read_bytes()


@pytest.mark.parametrize("server", ["old", "new", "aggregate"])
def test_prompts_and_resources_are_listed_and_read(running, server):
    listed = running.do("prompts", server).stdout
    prompts = json.loads(running.do("prompts", server, "--json").stdout)
    assert listed.splitlines()[0].split() == ["prompt", "arguments", "description"]
    assert {line.split()[0] for line in listed.splitlines()[1:]} == {one["name"] for one in prompts}
    found = json.loads(running.do("resources", server, "--json").stdout)
    shown = running.do("resources", server).stdout
    assert found["resources"]
    assert found["resourceTemplates"]
    for one in (*found["resources"], *found["resourceTemplates"]):
        assert (one.get("uri") or one["uriTemplate"]) in shown
    tools = json.loads(running.do("tools", server, "--json").stdout)
    assert all(tool["name"] in running.do("tools", server).stdout for tool in tools[:1])
    if server != "new":
        assert running.do("read", server, "example://square/7").stdout == "49\n"
        name = "greet" if server == "old" else next(one["name"] for one in prompts if "greet" in one["name"])
        assert running.do("prompt", server, name, "name=5").stdout == "user:\nSay hello to 5.\n"
    else:
        done = running.do("prompt", server, "test_prompt_with_image", "--json")
        assert json.loads(done.stdout)["messages"][0]["content"]["type"] == "image"
        with terminal(running, "prompt", server, "test_input_required_result_prompt") as session:
            session.expect("required): ")
            session.enter("tests")
            session.expect("ancel: ")
            session.enter("y")
            assert session.to_the_end() == 0
            assert "The context is: tests" in session.text
