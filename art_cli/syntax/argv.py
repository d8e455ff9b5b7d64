"""Splitting a command line into ART's options and the words of the command.

One pure function, without a library: a run must start fast, and general parsers were seen to
take options of the command for their own, and the command `push` in `art -- push` for theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from art_cli.syntax.options import BY_NAME, RUN, SUBCOMMANDS, Option
from art_core.errors import UsageError

Value = bool | str | list[str]

BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""How a boolean may be written after `=`: the spellings of Go's strconv.ParseBool."""


_ASK_FOR_A_TRACE = ("trace_log", "trace_syscalls", "trace_format", "trace_summary")


class Split(NamedTuple):
    """A command line in its parts.

    `options` are ART's by `Option.dest`, only those that were given: a bool, a str, or a list of
    str. `words` are the command and its arguments, or the arguments of the `subcommand`, which is
    None or `run` for a run.
    """

    options: Mapping[str, Value]
    words: Sequence[str]
    subcommand: str | None = None

    @property
    def traced(self) -> bool:
        """Whether a run records system calls: it was asked for, or how."""
        asked = any(self.options.get(dest) for dest in _ASK_FOR_A_TRACE)
        return bool(self.options.get("trace", asked))


class Given(NamedTuple):
    """One option as it was written: `words` words of the command line, the `value` among them."""

    option: Option
    name: str
    value: bool | str
    words: int


def split(argv: Sequence[str]) -> Split:
    """Split the words after `art`. Raises UsageError."""
    options: dict[str, Value] = {}
    given: list[Given] = []
    spelled_out: str | None = None
    at = 0
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return Split(options, argv[at + 1 :], spelled_out)
        if not is_option(word):
            if spelled_out or word not in SUBCOMMANDS:
                return Split(options, argv[at:], spelled_out)
            if word != RUN:
                return _of_subcommand(word, given, argv[at + 1 :])
            spelled_out = RUN
            at += 1
            continue
        one = read_option(argv, at)
        given.append(one)
        _keep(options, one)
        at += one.words
    return Split(options, [], spelled_out)


def is_option(word: str) -> bool:
    """Whether a word before the command is one of ART's options; `-` and an empty word are not."""
    return len(word) > 1 and word.startswith("-")


def read_option(argv: Sequence[str], at: int) -> Given:
    """The option at `argv[at]`: `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-n=VALUE`, `-nVALUE`."""
    word = argv[at]
    name, equals, value = word.partition("=")
    if not word.startswith("--") and name not in BY_NAME and len(name) > 2:
        name, equals, value = word[:2], "=", word[2:]
        if name not in BY_NAME or BY_NAME[name].flag:
            raise _unknown(word)
    option = BY_NAME.get(name)
    if option is None:
        raise _unknown(name)
    if option.flag:
        on = _boolean(name, value) if equals else True
        return Given(option, name, on is (name in option.names), 1)
    if equals:
        return Given(option, name, _checked(option, name, value), 1)
    if at + 1 == len(argv):
        raise UsageError(f"{name} needs a value: {name} {option.metavar}")
    return Given(option, name, _checked(option, name, argv[at + 1]), 2)


def _keep(options: dict[str, Value], given: Given) -> None:
    dest = given.option.dest
    if given.option.many:
        kept = options.setdefault(dest, [])
        assert isinstance(kept, list) and isinstance(given.value, str)
        kept.append(given.value)
    else:
        options[dest] = given.value


def _boolean(name: str, value: str) -> bool:
    if value not in BOOLEANS:
        raise UsageError(f"{name}={value}: after = stands true or false")
    return BOOLEANS[value]


def _checked(option: Option, name: str, value: str) -> str:
    if not value:
        raise UsageError(f"{name} has an empty value: {name} {option.metavar}")
    if option.choices and value not in option.choices:
        raise UsageError(f"{name} {value}: choose {' or '.join(option.choices)}")
    return value


def _unknown(word: str) -> UsageError:
    near = nearest(word, BY_NAME)
    hint = f"did you mean {near}?" if near else "`art run --help` lists all options"
    return UsageError(f"unknown option {word}; {hint}")


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known name that looks most like `word`."""
    import difflib

    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def _of_subcommand(name: str, given: Sequence[Given], rest: Sequence[str]) -> Split:
    """`art -m ws push` is `art push -m ws`: options go behind the name of the command."""
    options: dict[str, Value] = {}
    moved: list[str] = []
    for one in given:
        dest = one.option.dest
        if dest == "version":
            _keep(options, one)
        elif dest == "help" or dest in SUBCOMMANDS[name].shared:
            moved += rewritten(one)
        else:
            raise UsageError(
                f"{one.name} is an option of a run, and `{name}` is a command of ART's own; "
                f"to run a program called {name}: art -- {name}"
            )
    return Split(options, [*moved, *rest], name)


def rewritten(given: Given) -> list[str]:
    """The option in the one spelling that every parser understands."""
    option, value = given.option, given.value
    if isinstance(value, str):
        return [option.names[-1], value]
    names = option.names if value else option.off
    return [names[-1]] if names else []
