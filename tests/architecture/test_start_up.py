"""What a start imports: imports are what a start costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.installed_copies import Installed

NEVER = {"trio", "h11", "apsw", "ptrace", "rich"}
"""Libraries of the optional parts, which neither a run nor the help needs."""
NOT_IN_A_RUN = NEVER | {
    "click",
    "pluggy",
    "inspect",
    "dataclasses",
    "importlib.metadata",
    "asyncio",
    "ipaddress",
    "tomllib",
    "logging",
    "art_core.agents.presets",
    "art_core.agents.provision",
    "art_core.lending.lender",
    "art_core.lending.loans",
}
OF_A_PRESET = {"tomllib", "art_core.agents.presets", "art_core.agents.provision", "art_core.lending.loans"}


@pytest.fixture(scope="session")
def decoys(installed: Installed) -> Path:
    """Empty modules with the names that are not to be imported, so that an attempt would succeed."""
    place = installed.bin_dir.parent / "decoys"
    place.mkdir(exist_ok=True)
    for name in NEVER:
        (place / f"{name}.py").write_text("")
    return place


def imported(caller: Caller, installed: Installed, decoys: Path, workspace: Path, *args: str) -> set[str]:
    """The modules that `art ARGS` imports, in all of its processes."""
    argv: list[str | bytes | Path] = [installed.python, "-X", "importtime", installed.art, *args]
    done = caller.run(argv, cwd=workspace, env={"PYTHONPATH": str(decoys)})
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.rpartition("|") for line in done.stderr.decode().splitlines()]
    names = {name.strip() for head, _, name in lines if head.startswith("import time:")}
    assert "art_cli.main" in names
    return names


def test_the_help_imports_no_library_of_an_optional_part(
    plain: Caller, installed: Installed, decoys: Path
) -> None:
    assert imported(plain, installed, decoys, plain.place, "--help") & NEVER == set()


def test_a_run_imports_no_click_and_no_library_of_an_optional_part(
    caller: Caller, installed: Installed, decoys: Path, workspace: Path
) -> None:
    names = imported(caller, installed, decoys, workspace, "-i=false", "--", "true")
    assert names & NOT_IN_A_RUN == set()


def test_a_run_with_a_preset_imports_what_reads_it_and_no_more(
    caller: Caller, installed: Installed, decoys: Path, workspace: Path
) -> None:
    names = imported(caller, installed, decoys, workspace, "-i=false", "--agent", "tools", "--", "true")
    assert names & NOT_IN_A_RUN == OF_A_PRESET


def test_the_decoys_would_be_seen(plain: Caller, installed: Installed, decoys: Path) -> None:
    argv: list[str | bytes | Path] = [installed.python, "-X", "importtime", "-c", "import trio, art_cli"]
    done = plain.run(argv, env={"PYTHONPATH": str(decoys)})
    assert b"| trio" in done.stderr
