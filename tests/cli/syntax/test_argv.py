"""Splitting a command line: what is ART's, what is the command's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_cli.syntax.argv import BOOLEANS, Split, split
from art_cli.syntax.options import BY_NAME, OPTIONS, RUN, SUBCOMMANDS, Option
from art_core.errors import UsageError

COMMANDS_WITHOUT_RUN = sorted(set(SUBCOMMANDS) - {RUN})


@pytest.mark.parametrize(
    ("argv", "options", "words"),
    [
        ([], {}, []),
        (["--"], {}, []),
        (["ls"], {}, ["ls"]),
        (["--", "ls"], {}, ["ls"]),
        (["--", "push"], {}, ["push"]),
        (["--", "--", "push"], {}, ["--", "push"]),
        (["ls", "-m", "ws"], {}, ["ls", "-m", "ws"]),
        (["ls", "--", "x"], {}, ["ls", "--", "x"]),
        (["-"], {}, ["-"]),
        (["-m", "ws", "-"], {"mount": "ws"}, ["-"]),
        ([""], {}, [""]),
        (["", "push"], {}, ["", "push"]),
        (["-m", "ws", "ls"], {"mount": "ws"}, ["ls"]),
        (["-m=ws", "ls"], {"mount": "ws"}, ["ls"]),
        (["-mws", "ls"], {"mount": "ws"}, ["ls"]),
        (["--mount=ws", "ls"], {"mount": "ws"}, ["ls"]),
        (["--mount", "ws", "ls"], {"mount": "ws"}, ["ls"]),
        (["-m=a=b"], {"mount": "a=b"}, []),
        (["-m", "--", "ls"], {"mount": "--"}, ["ls"]),
        (["-m", "push", "ls"], {"mount": "push"}, ["ls"]),
        (["-m", "a", "-m", "b"], {"mount": "b"}, []),
        (["-d=x.db"], {"database": "x.db"}, []),
        (["-e", "A=1", "-e", "B", "--env=C="], {"env": ["A=1", "B", "C="]}, []),
        (["-i"], {"interactive": True}, []),
        (["--no-interactive"], {"interactive": False}, []),
        (["--no-interactive=false"], {"interactive": True}, []),
        (["-i", "false"], {"interactive": True}, ["false"]),
        (["--trace", "--trace-log", "t.log"], {"trace": True, "trace_log": "t.log"}, []),
        (["--no-masks", "--no-alias"], {"masks": False, "alias": False}, []),
        (["--network", "none"], {"network": "none"}, []),
        (["-c=plugins.bwrap.tmp_size=1G"], {"overrides": ["plugins.bwrap.tmp_size=1G"]}, []),
    ],
)
def test_what_belongs_to_whom(argv: Sequence[str], options: dict[str, Any], words: list[str]) -> None:
    assert split(argv) == Split(options, words)


@pytest.mark.parametrize(
    ("line", "options", "words"),
    [
        ("-d ws.db -- python script.py", {"database": "ws.db"}, ["python", "script.py"]),
        (
            "-d ws.db -i=false -- make build",
            {"database": "ws.db", "interactive": False},
            ["make", "build"],
        ),
        ("--trace --trace-log t.log", {"trace": True, "trace_log": "t.log"}, []),
        ("--trace --trace-syscalls openat,read", {"trace": True, "trace_syscalls": "openat,read"}, []),
    ],
)
def test_command_lines_of_existing_scripts_work_as_written(
    line: str, options: dict[str, Any], words: list[str]
) -> None:
    assert split(["-m", "ws/", *line.split()]) == Split({"mount": "ws/", **options}, words)


@pytest.mark.parametrize("spelling", BOOLEANS)
@pytest.mark.parametrize(("name", "dest"), [("-i", "interactive"), ("--interactive", "interactive")])
def test_booleans_may_be_spelled_as_go_spells_them(name: str, dest: str, spelling: str) -> None:
    assert split([f"{name}={spelling}"]).options == {dest: BOOLEANS[spelling]}


def test_go_knows_twelve_spellings() -> None:
    assert " ".join(BOOLEANS) == "1 t T true TRUE True 0 f F false FALSE False"


def test_run_spelled_out_is_the_same() -> None:
    assert split(["-m", "ws", "run", "-i=false", "--", "ls"]) == Split(
        {"mount": "ws", "interactive": False}, ["ls"], RUN
    )


@pytest.mark.parametrize("name", [*COMMANDS_WITHOUT_RUN, RUN])
def test_the_word_after_run_is_a_program_whatever_its_name(name: str) -> None:
    assert split([RUN, name, "-x"]) == Split({}, [name, "-x"], RUN)


@pytest.mark.parametrize("name", COMMANDS_WITHOUT_RUN)
def test_a_command_of_arts_own_gets_all_that_follows_it(name: str) -> None:
    assert split([name, "-m=ws", "--", "-x"]) == Split({}, ["-m=ws", "--", "-x"], name)


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_two_dashes_make_every_name_a_program(name: str) -> None:
    assert split(["--", name]) == Split({}, [name])


def test_options_that_both_know_go_behind_the_name_of_the_command() -> None:
    assert split(["-m", "ws", "-d=x.db", "push", "-v"]) == Split(
        {}, ["--mount", "ws", "--db", "x.db", "-v"], "push"
    )


def test_help_before_a_command_is_help_of_that_command() -> None:
    assert split(["-h", "doctor"]) == Split({}, ["--help"], "doctor")


@pytest.mark.parametrize("name", COMMANDS_WITHOUT_RUN)
def test_an_option_that_only_a_run_knows_shows_how_to_run_a_program_of_that_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"--nested is an option of a run.*: art -- {name}$"):
        split(["--nested", name])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--moutn", "ws"], "unknown option --moutn; did you mean --mount?"),
        (["--nestde=true"], "unknown option --nestde; did you mean --nested?"),
        (["-Z"], "unknown option -Z; `art run --help` lists all options"),
        (["-it", "sh"], "unknown option -it"),
        (["-m"], "-m needs a value: -m DIR"),
        (["--bind"], "--bind needs a value: --bind HOST:GUEST[:ro|rw]"),
        (["-m="], "-m has an empty value: -m DIR"),
        (["-m", ""], "-m has an empty value: -m DIR"),
        (["-i=maybe"], "-i=maybe: after = stands true or false"),
        (["-i="], "-i=: after = stands true or false"),
        (["--network", "some"], "--network some: choose host or none or filtered"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_says_what_to_write(argv: Sequence[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        split(argv)
    assert message in str(raised.value)
    assert raised.value.status == 2


# --- properties --------------------------------------------------------------------------------

WORD = st.binary(max_size=6).map(lambda word: os.fsdecode(word.replace(b"\0", b"0")))
VALUE = WORD.filter(bool)
RUN_OPTIONS = [option for option in OPTIONS if not option.choices]


@st.composite
def written(draw: st.DrawFn) -> tuple[list[str], tuple[Option, Any]]:
    """An option as somebody may write it, and what it means."""
    option = draw(st.sampled_from(RUN_OPTIONS))
    name = draw(st.sampled_from((*option.names, *option.off)))
    if option.flag:
        on = draw(st.booleans())
        means = on is (name in option.names)
        spelled = draw(st.sampled_from([word for word, value in BOOLEANS.items() if value is on]))
        bare = on and draw(st.booleans())
        return [name if bare else f"{name}={spelled}"], (option, means)
    value = draw(VALUE)
    return draw(st.sampled_from([[name, value], [f"{name}={value}"]])), (option, value)


@given(st.lists(written(), max_size=5), st.lists(WORD))
def test_no_word_is_lost_or_reordered(given_options: list[Any], command: list[str]) -> None:
    argv = [word for words, _ in given_options for word in words]
    found = split([*argv, "--", *command])
    assert found.words == command
    expected: dict[str, Any] = {}
    for _, (option, value) in given_options:
        if option.many:
            expected.setdefault(option.dest, []).append(value)
        else:
            expected[option.dest] = value
    assert found.options == expected


@given(st.lists(st.one_of(WORD, st.sampled_from([*BY_NAME, *SUBCOMMANDS, "--", "-", "=", "-m=x"]))))
def test_any_line_is_split_or_refused_and_its_command_is_its_end(argv: list[str]) -> None:
    try:
        found = split(argv)
    except UsageError as error:
        assert "\n" not in str(error) or any("\n" in word for word in argv)
        return
    if found.subcommand in (None, RUN):
        assert list(found.words) == argv[len(argv) - len(found.words) :]
    else:
        places = [at for at, word in enumerate(argv) if word == found.subcommand]
        assert any(found.words[-len(argv[at + 1 :]) or len(found.words) :] == argv[at + 1 :] for at in places)
