"""Generate completion scripts from the grammar of the command line. Pure."""

import argparse
import shlex
from collections.abc import Callable, Iterable
from typing import Final, cast

# The kinds of names that an argument may take (complete_names).
SERVERS: Final = "servers"
TOOLS: Final = "tools"
TOKENS: Final = "tokens"
TOPICS: Final = "commands"
# By the destination of an argument; that of `token` depends on its action.
_KINDS: Final = {
    "server": SERVERS,
    "servers": SERVERS,
    "tool": TOOLS,
    "token_name": TOKENS,
    "topic": TOPICS,
}
_FISH_NAMES: Final = "(mcp-bridge __complete (commandline -opc)[2..] 2>/dev/null)"


def kind_of(command: str, action: argparse.Action) -> str:
    """Return the kind of names that an argument of a command takes; empty if it takes none."""
    return TOKENS if (command, action.dest) == ("token", "name") else _KINDS.get(action.dest, "")


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse has no public access


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [
        option
        for action in _actions(parser)
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
    ]


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in _actions(parser):
        choices: object = action.choices
        if isinstance(choices, dict):
            return cast("dict[str, argparse.ArgumentParser]", choices)
    return {}


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the choices of the arguments of a command, and its options."""
    choices = [
        str(choice)
        for action in _actions(parser)
        if not action.option_strings and action.choices
        for choice in action.choices
    ]
    return [*choices, *_options(parser)]


def _values(parsers: Iterable[argparse.ArgumentParser]) -> dict[str, list[str]]:
    """Return the choices of each option that takes a value; empty for free text and for files."""
    return {
        option: [str(choice) for choice in action.choices or ()]
        for parser in parsers
        for action in _actions(parser)
        if action.nargs != 0 and action.help != argparse.SUPPRESS
        for option in action.option_strings
    }


def _by_choices(values: dict[str, list[str]]) -> dict[tuple[str, ...], list[str]]:
    """Return the options by their choices."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for option, choices in values.items():
        groups.setdefault(tuple(choices), []).append(option)
    return groups


def _named(parsers: dict[str, argparse.ArgumentParser]) -> list[str]:
    """Return the commands that take the name of a server, a tool, a token or a command."""
    return [
        name for name, parser in parsers.items() if any(kind_of(name, action) for action in _actions(parser))
    ]


def _bash(
    commands: dict[str, list[str]], options: list[str], values: dict[str, list[str]], named: list[str]
) -> str:
    cases = "\n".join(
        f"    {name}) words={shlex.quote(' '.join(words))} ;;" for name, words in commands.items()
    )
    after = "\n".join(
        f"    {'|'.join(group)}) words={shlex.quote(' '.join(choices))} ;;"
        for choices, group in _by_choices(values).items()
    )
    return f"""\
_mcp_bridge() {{
  local words
  case ${{COMP_WORDS[1]}} in
{cases}
    *) words={shlex.quote(" ".join([*commands, *options]))} ;;
  esac
  [ "$COMP_CWORD" = 1 ] && words={shlex.quote(" ".join([*commands, *options]))}
  case ${{COMP_WORDS[COMP_CWORD - 1]}} in
{after}
  esac
  case ${{COMP_WORDS[1]}} in
    {"|".join(named)})
      # Names have no character that compgen expands.
      [[ $COMP_CWORD = 1 || ${{COMP_WORDS[COMP_CWORD]}} = -* ]] ||
        words+=" $("${{COMP_WORDS[0]}}" __complete "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -o default -F _mcp_bridge mcp-bridge"""


def _zsh(
    commands: dict[str, list[str]], options: list[str], values: dict[str, list[str]], named: list[str]
) -> str:
    cases = "\n".join(
        f"    {name}) compadd -- {' '.join(map(shlex.quote, words))} ;;" for name, words in commands.items()
    )
    after = "\n".join(
        f"    {'|'.join(group)}) {' '.join(['compadd', '--', *choices]) if choices else '_files'}; return ;;"
        for choices, group in _by_choices(values).items()
    )
    return f"""\
#compdef mcp-bridge
_mcp_bridge() {{
  if (( CURRENT == 2 )); then
    compadd -- {" ".join(map(shlex.quote, [*commands, *options]))}
    return
  fi
  case ${{words[2]}} in
    {"|".join(named)})
      [[ ${{words[CURRENT]}} == -* ]] ||
        compadd -- ${{(f)"$(${{words[1]}} __complete ${{words[2,CURRENT-1]}} 2>/dev/null)"}} ;;
  esac
  case ${{words[CURRENT - 1]}} in
{after}
  esac
  case ${{words[2]}} in
{cases}
    *) compadd -- {" ".join(map(shlex.quote, options))}; _files ;;
  esac
}}
compdef _mcp_bridge mcp-bridge"""


def _fish(
    commands: dict[str, list[str]], options: list[str], values: dict[str, list[str]], named: list[str]
) -> str:
    lines = [f"complete -c mcp-bridge -n __fish_use_subcommand -a {name}" for name in commands]
    lines += [_fish_option("__fish_use_subcommand", option, values) for option in options]
    for name, words in commands.items():
        seen = f"'__fish_seen_subcommand_from {name}'"
        lines += [
            _fish_option(seen, word, values)
            if word.startswith("-")
            else f"complete -c mcp-bridge -n {seen} -a {word}"
            for word in words
        ]
    lines.append(
        f"complete -c mcp-bridge -n '__fish_seen_subcommand_from {' '.join(named)}' -a {shlex.quote(_FISH_NAMES)}"
    )
    return "\n".join(lines)


def _fish_option(when: str, option: str, values: dict[str, list[str]]) -> str:
    kind = "-l" if option.startswith("--") else "-s"
    choices = " ".join(values.get(option, ()))
    more = f" -x -a {shlex.quote(choices)}" if choices else " -r" if option in values else ""
    return f"complete -c mcp-bridge -n {when} {kind} {option.lstrip('-')}{more}"


_Form = Callable[[dict[str, list[str]], list[str], dict[str, list[str]], list[str]], str]
_FORMS: Final[dict[str, _Form]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
SHELLS: Final = tuple(_FORMS)


def completion_script(shell: str, commands: argparse.ArgumentParser, options: argparse.ArgumentParser) -> str:
    """Return the script for one of SHELLS, from the grammars of the commands and of the wrapper."""
    parsers = _commands(commands)
    words = {name: _words(parser) for name, parser in parsers.items()}
    values = _values([options, *parsers.values()])
    if shell == "fish":
        # The other shells add the names at every position.
        values |= {
            option: [_FISH_NAMES]
            for name, parser in parsers.items()
            for action in _actions(parser)
            if kind_of(name, action)
            for option in action.option_strings
        }
    return _FORMS[shell](words, _options(options), values, _named(parsers))
