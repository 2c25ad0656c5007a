"""The commands of the recorded session, in order, with the text above each."""

from typing import NamedTuple

# Of the document. The recorder types the path of its own home directory.
HOME = "/home/you"
WHEEL = "mcpbridged-0.1.0-py3-none-any.whl"
SDK = "mcp==2.3.0"


class Step(NamedTuple):
    """A command that is typed, and ends with `status`. With `until` it runs in the second terminal, and prints this text."""

    text: str
    command: str
    status: int = 0
    until: str = ""


FIRST = (
    Step("The home directory has the wheel and some files for this session, and no configuration.", "ls -A"),
    Step("", f"pipx install --quiet ./{WHEEL}"),
    Step("The command alone prints what to do.", "mcp-bridge", 64),
    Step("", "mcp-bridge init"),
    Step("", "mcp-bridge add example -- python3 ~/example.py"),
    Step("", "mcp-bridge config check"),
    Step("In a second terminal:", "mcp-bridge serve", until="ready on http"),
    Step("In the first terminal again:", "mcp-bridge status"),
    Step("", "mcp-bridge tools example"),
    Step("", "mcp-bridge call example echo text=hi"),
    Step("The line for a client:", "mcp-bridge client-config claude-code example"),
    Step("A client of the official Python SDK, which runs `mcp-bridge connect example`:", "cat client.py"),
    Step("", f"python3 -m venv sdk && sdk/bin/pip install --quiet {SDK}"),
    Step("", "sdk/bin/python client.py"),
)

BROKEN = (
    Step("The first server has a misspelt program.", "mcp-bridge add search -- pyhton3 ~/example.py"),
    Step(
        "The second exits at its start with a stack trace, because it needs a key.",
        "mcp-bridge add weather -- python3 ~/weather.py",
    ),
    Step(
        "The third prints text on stdout and does not respond, because it serves HTTP.",
        "mcp-bridge add notes -- python3 ~/notes.py",
    ),
    Step("", "mcp-bridge status"),
    Step("A server is started by the first request.", "mcp-bridge tools weather", 1),
    Step("", "mcp-bridge logs weather -n 9"),
    Step("`doctor` sends a request to each server, and prints the problems first.", "mcp-bridge doctor", 1),
    Step("Now `status` has all three.", "mcp-bridge status"),
    Step("", "mcp-bridge logs notes"),
    Step(
        "The lines of `doctor` are pasted into the file with `mcp-bridge edit`, which checks the file and lets the daemon reload "
        "it. In this recording the editor is sed.",
        """EDITOR="sed -i 's/pyhton3/python3/'" mcp-bridge edit""",
    ),
    Step("", "mcp-bridge call search echo text=found"),
    Step("", "echo a-key | install -m 600 /dev/stdin ~/.config/mcp-bridge/weather_api_key"),
    Step(
        "",
        "cat >fix.toml <<'END'\nsecrets.WEATHER_API_KEY = \"~/.config/mcp-bridge/weather_api_key\"\nEND",
    ),
    Step("", """EDITOR="sed -i '/servers.weather/r fix.toml'" mcp-bridge edit"""),
    Step("", "mcp-bridge call weather echo text=sunny"),
    Step("", f'cat >fix.toml <<\'END\'\nargs = ["{HOME}/notes.py", "--transport", "stdio"]\nEND'),
    Step("", """EDITOR="sed -i -e '/notes.py/{r fix.toml' -e 'd}'" mcp-bridge edit"""),
    Step("", "mcp-bridge call notes echo text=noted"),
    Step("", "mcp-bridge doctor"),
    Step("", "mcp-bridge status"),
)

SESSIONS = (("The first five minutes", FIRST), ("Three broken servers", BROKEN))
# Columns of the terminals.
WIDTHS = (80, 120)


def typed(step: Step) -> list[str]:
    """Return the lines of a command as the terminal shows them, after the prompts of the shell."""
    first, *others = step.command.split("\n")
    return [f"$ {first}", *(f"> {line}" for line in others)]
