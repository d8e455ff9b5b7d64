"""What the shells offer: the answer itself, and bash in person."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_cli.syntax.completion import GROUPS, SHELLS, Answer, answer, rejoined
from art_cli.syntax.options import OPTIONS, SUBCOMMANDS
from tests.support.callers import Caller
from tests.support.installed_copies import Installed


def offered(found: Answer) -> list[str]:
    return [word for word, _ in found.words]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["-m", ""], "dirs"),
        (["-m=w"], "dirs"),
        (["--mount=w"], "dirs"),
        (["trust", "-m", ""], "dirs"),
        (["--env-file", ""], "files"),
        (["--bind", "/sr"], "files"),
        (["-e", ""], "words"),
        (["x", ""], "nothing"),
        (["push", ""], "nothing"),
        (["l"], "command 0"),
        (["ls", ""], "command 0"),
        (["ls", "-"], "command 0"),
        (["ls", "-m", ""], "command 0"),
        (["-m", "ws", "ls", ""], "command 2"),
        (["-i=false", "ls", "-"], "command 1"),
        (["--", ""], "command 1"),
        (["--", "push", "-"], "command 1"),
        (["run", "--", "ls", "-"], "command 2"),
        (["run", "push", "-"], "command 1"),
        (["-m", "push", "-e", "A", "x"], "command 4"),
    ],
)
def test_what_is_offered_where(words: Sequence[str], kind: str) -> None:
    assert answer(words).kind == kind


def test_a_first_word_may_be_a_command_of_arts_own_or_a_program() -> None:
    assert answer(["pl"]) == Answer("command 0", [("plugins", SUBCOMMANDS["plugins"].help)])
    assert "doctor" in offered(answer([""]))


def test_presets_are_offered_by_name() -> None:
    for words in (["--agent", "c"], ["run", "--agent", "c"], ["agents", "c"]):
        assert {"claude", "codex"} <= set(offered(answer(words)))
    assert "--agent=claude" in offered(answer(["--agent=cl"]))


def test_a_command_with_commands_of_its_own_offers_them_once() -> None:
    assert offered(answer(["db", "-d", "x.db", "e"])) == ["export"]
    assert offered(answer(["fs", ""])) == ["cat", "cp", "ls", "mount"]
    assert answer(["fs", "ls", ""]).kind == "nothing"


@pytest.mark.parametrize("name", GROUPS)
def test_what_is_offered_is_what_there_is(name: str) -> None:
    group = import_module(f"art_cli.commands.{name}").command
    assert sorted(group.commands) == sorted(GROUPS[name])


def test_an_option_of_a_run_is_offered_with_its_help() -> None:
    assert ("--nested", "allow user namespaces, for programs with a sandbox of their own") in answer(
        ["--"]
    ).words
    assert {name for option in OPTIONS for name in option.off} <= set(offered(answer(["run", "-"])))


def test_a_command_is_offered_its_own_options_and_those_it_shares() -> None:
    assert "--forget" in offered(answer(["trust", "-"]))
    assert "--mount" in offered(answer(["trust", "-"]))
    assert "--nested" not in offered(answer(["trust", "-"]))


def test_values_with_a_choice_are_offered() -> None:
    assert offered(answer(["--network", ""])) == ["host", "none", "filtered"]
    assert offered(answer(["--network=n"])) == ["--network=none"]
    assert offered(answer(["-i=f"])) == ["-i=false"]
    assert offered(answer(["completion", ""])) == list(SHELLS)


def test_words_that_bash_takes_apart_are_joined_again() -> None:
    assert rejoined(["-m", "=", "ws", "--bind", "/a", ":", "/b", ":", "rw", "ls"]) == [
        *("-m=ws", "--bind", "/a:/b:rw", "ls")
    ]


def test_places_count_the_words_as_bash_has_them() -> None:
    words = ["--mount", "=", "ws", "--bind", "/a", ":", "/b", "ls", ""]
    assert answer(words, split_at_breaks=True).kind == "command 7"
    assert offered(answer(["--network", "=", "n"], split_at_breaks=True)) == ["none"]


@given(
    st.lists(st.sampled_from(["", "-", "--", "=", ":", "-m", "--mount=x", "ls", "push", "run", "-i", "é"]))
)
def test_there_is_always_an_answer(words: list[str]) -> None:
    assert str(answer(words)).endswith("\n")
    found = answer(words, split_at_breaks=True)
    if found.kind.startswith("command"):
        assert int(found.kind.partition(" ")[2]) <= len(words)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_its_script(plain: Caller, shell: str) -> None:
    done = plain.art("completion", shell)
    assert done.returncode == 0
    assert b"completion --answer" in done.stdout


@pytest.mark.parametrize("words", [[], ["tcsh"], ["bash", "zsh"]])
def test_completion_of_no_shell_is_a_usage_error(plain: Caller, words: list[str]) -> None:
    done = plain.art("completion", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"name one shell: bash, zsh, fish" in done.stderr


def test_the_script_of_bash_parses(plain: Caller) -> None:
    script = plain.art("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, check=True)


# --- bash itself -------------------------------------------------------------------------------


class Bash:
    """An interactive bash that has loaded the completion."""

    def __init__(self, caller: Caller, directory: Path) -> None:
        path = f"{caller.art_program.parent}:{caller.env['PATH']}"
        argv = caller.command(["bash", "--norc", "--noprofile", "-i"], {"PATH": path, "TERM": "dumb"})
        self._child = pexpect.spawn(
            argv[0], argv[1:], cwd=str(directory), encoding="utf-8", timeout=20, echo=False
        )
        # The key shows the line as it is after what the other keys did to it.
        self._say('bind -x \'"\\C-g": printf "<%s>" "$READLINE_LINE"\'; bind \'set bell-style none\'')
        self._say("bind 'set enable-bracketed-paste off'; bind 'set completion-query-items 0'")
        self._say('eval "$(art completion bash)"; echo rea""dy')
        self._child.expect("ready")

    def _say(self, line: str) -> None:
        self._child.sendline(line)

    def complete(self, line: str) -> str:
        """What Tab makes of a line."""
        self._child.send(f"\x15{line}\t\x07")
        self._child.expect(re.compile(r"<(art[^>]*)>"))
        return str(self._child.match[1])

    def close(self) -> None:
        self._child.close(force=True)


@pytest.fixture
def bash(plain: Caller, installed: Installed) -> Iterator[Bash]:
    directory = plain.place / "completion"
    for name in ("sources", "deep/er"):
        plain.run(["mkdir", "-p", directory / name])
    plain.run(["touch", directory / "some-file"])
    shell = Bash(plain, directory)
    yield shell
    shell.close()
    plain.run(["rm", "-r", directory])


def test_bash_completes_art(bash: Bash) -> None:
    assert bash.complete("art plug") == "art plugins "
    assert bash.complete("art --nest") == "art --nested "
    assert bash.complete("art trust --forg") == "art trust --forget "
    assert bash.complete("art -m so") == "art -m sources/"
    assert bash.complete("art --mount=de") == "art --mount=deep/"
    assert bash.complete("art --network n") == "art --network none "
    assert bash.complete("art --network=n") == "art --network=none "
    assert bash.complete("art completion f") == "art completion fish "


def test_bash_leaves_the_words_of_the_command_alone(bash: Bash) -> None:
    assert bash.complete("art -m sources -- ls --nest") == "art -m sources -- ls --nest"
    assert bash.complete("art ls plug") == "art ls plug"
    assert bash.complete("art -- cat some") == "art -- cat some-file "
    assert bash.complete("art --mount=sources cat some") == "art --mount=sources cat some-file "
    assert bash.complete("art -i=false sha256s") == "art -i=false sha256sum "
