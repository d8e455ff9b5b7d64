"""What the help shows."""

from __future__ import annotations

import pytest

from art_cli.syntax.help import overview, page_of_run
from art_cli.syntax.options import BY_NAME, SUBCOMMANDS
from tests.support.callers import Caller

READY = sorted(SUBCOMMANDS)


def test_the_page_of_a_run_shows_every_option() -> None:
    page = page_of_run()
    assert [name for name in BY_NAME if name not in page] == []


def test_the_overview_shows_every_command() -> None:
    page = overview()
    assert [name for name in SUBCOMMANDS if name not in page] == []


def test_the_common_options_come_first() -> None:
    page = page_of_run()
    order = [
        "--mount",
        "--db",
        "--agent",
        "--env NAME",
        "--bind",
        "--seed",
        "--network",
        "--memory",
        "--trace ",
    ]
    assert sorted(order, key=page.index) == order
    assert len(overview().splitlines()) < 60


@pytest.mark.parametrize("columns", ["", "wide", "20", "80", "500"])
def test_help_fits_the_terminal_when_that_is_possible(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    widest = max(map(len, (overview() + page_of_run()).splitlines()))
    assert widest <= 100


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-m", "ws", "--help"]])
def test_help_needs_no_sandbox(plain: Caller, words: list[str]) -> None:
    done = plain.art(*words, env={"PATH": "/nowhere"})
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: art [OPTIONS]")
    assert done.stderr == b""


def test_run_help_is_the_long_page(plain: Caller) -> None:
    assert b"--no-protect" in plain.art("run", "--help").stdout


@pytest.mark.parametrize("name", [name for name in READY if name != "run"])
def test_each_command_has_help_wherever_it_is_asked(plain: Caller, name: str) -> None:
    after, before = plain.art(name, "-h"), plain.art("--help", name)
    assert after.stdout == before.stdout
    assert after.stdout.startswith(f"Usage: art {name}".encode())
    assert after.returncode == 0


def test_version_names_the_program_and_its_version(plain: Caller) -> None:
    done = plain.art("--version")
    assert done.stdout.startswith(b"art 0.")
    assert done.stdout.count(b"\n") == 1
