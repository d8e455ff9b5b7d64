"""The table of options, and the names of ART's commands."""

from __future__ import annotations

from collections import Counter

from art_cli.run.run import sandbox_options
from art_cli.syntax.argv import split
from art_cli.syntax.completion import OWN_OPTIONS
from art_cli.syntax.options import BY_DEST, GROUPS, OPTIONS, SUBCOMMANDS
from art_core.config.options import Options
from tests.support.everyday_programs import programs


def test_no_name_is_there_twice() -> None:
    names = Counter(name for option in OPTIONS for name in (*option.names, *option.off))
    assert names.most_common(1)[0][1] == 1
    assert len(BY_DEST) == len(OPTIONS)


def test_every_option_has_a_name_a_group_and_one_line_of_help() -> None:
    assert sum(len(group) for group in GROUPS.values()) == len(OPTIONS)
    for option in OPTIONS:
        assert option.names or option.off
        assert option.help and "\n" not in option.help and not option.help.endswith(".")


def test_an_option_with_a_value_has_no_name_that_switches_it_off() -> None:
    assert not [option for option in OPTIONS if option.metavar and option.off]


def test_what_commands_share_stands_in_the_table() -> None:
    for command in SUBCOMMANDS.values():
        assert command.shared <= set(BY_DEST)
    assert set(OWN_OPTIONS) <= set(SUBCOMMANDS)


def test_no_command_but_diff_has_the_name_of_a_program_that_all_have() -> None:
    assert programs() & set(SUBCOMMANDS) == {"diff"}


def test_everything_a_sandbox_can_be_asked_has_an_option() -> None:
    argv = ["--trace", "--trust-binds"]
    for option in OPTIONS:
        if option.metavar:
            argv += [option.names[0], option.choices[0] if option.choices else "x"]
        else:
            argv.append((*option.names, *option.off)[0])
    asked = set(sandbox_options(split(argv).options))
    assert asked | {"trust"} == set(Options.__annotations__)


def test_options_of_a_trace_imply_it_unless_it_is_switched_off() -> None:
    assert sandbox_options({"trace_log": "t.log"})["trace"] is True
    assert sandbox_options({"trace_log": "t.log", "trace": False})["trace"] is False
    assert sandbox_options({"trace_summary": False})["trace"] is False
