"""A tracer that is a distribution of its own takes the place of ART's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.conformance_kit import keeps_every_rule
from tests.support.places import ROOT


@pytest.mark.slow
def test_it_keeps_every_rule(root: Caller, with_strace: Path) -> None:
    """As a plain user too: tests/core/testing/test_writing_a_plugin.py types that."""
    kit = ROOT / "contrib/art-strace" / "tests/test_conformance.py"
    skipped = {"agent", "commands", "jsonl", "summary"}
    with fresh_directory(root) as place:
        assert keeps_every_rule(root, with_strace / "python", kit, place, skipped) > 25


def test_it_is_chosen_by_name(straced: Caller, workspace: Path) -> None:
    log = workspace.parent / "t.log"
    words: list[str | Path] = ["-m", workspace, "-i=false", "--tracer", "strace", "--trace-log", log]
    done = straced.art(*words, "--", "sh", "-c", "cat; mkdir made; exit 3", input=b"input")
    assert (done.returncode, done.stdout) == (3, b"input"), done.stderr
    lines = log.read_text().splitlines()
    assert re.match(r'\d+ execve\("/usr/bin/sh", \["sh", "-c", "cat; mkdir made; exit 3"\]', lines[0])
    assert any(re.search(r' mkdir\("made", 0777\) += 0$', line) for line in lines)
    assert lines[-1].endswith("+++ exited with 3 +++")
    assert (workspace / "made").is_dir()


def test_chosen_calls_go_to_standard_error(straced: Caller, workspace: Path) -> None:
    words: list[str | Path] = ["-m", workspace, "-i=false", "--tracer", "strace"]
    done = straced.art(*words, "--trace-syscalls", "mkdir", "--", "mkdir", "one")
    assert (done.returncode, done.stdout) == (0, b"")
    assert re.fullmatch(rb'\d+ +mkdir\("one", 0777\) += 0\n\d+ +\+{3} exited with 0 \+{3}\n', done.stderr)


def test_overlay_mode_is_traced_too(straced: Caller, workspace: Path) -> None:
    words: list[str | Path] = ["-m", workspace, "-d", workspace.parent / "o.db", "-i=false"]
    words += ["--tracer", "strace", "--trace-syscalls", "%file"]
    done = straced.art(*words, "--", "sh", "-c", "echo text > new; mv new newer")
    assert done.returncode == 0, done.stderr
    assert b'"new", O_WRONLY|O_CREAT|O_TRUNC, 0666' in done.stderr
    assert not (workspace / "newer").exists()


REFUSED = {
    ("--trace-format", "jsonl"): "cannot do --trace-format jsonl (capability jsonl)",
    ("--trace-summary",): "cannot do --trace-summary (capability summary)",
    ("--trace-syscalls", "agent"): "cannot do the preset agent (capability agent)",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_it_cannot_do_is_refused_by_name(
    straced: Caller, workspace: Path, options: tuple[str, ...]
) -> None:
    done = straced.art("-m", workspace, "--tracer", "strace", *options, "--", "touch", "ran")
    assert done.returncode == 125
    message = f"art: error: the tracer 'strace' {REFUSED[options]}; choose another with --tracer NAME\n"
    assert done.stderr.decode() == message
    assert not (workspace / "ran").exists()


def test_its_program_is_a_setting(straced: Caller, workspace: Path) -> None:
    other = workspace.parent / "other-strace"
    shutil.copy("/usr/bin/strace", other)
    words: list[str | Path] = ["-m", workspace, "--tracer", "strace"]
    done = straced.art(*words, "-c", f"plugins.strace.program={other}", "--trace", "--", "true")
    assert done.returncode == 0 and b"execve(" in done.stderr
    done = straced.art(*words, "-c", "plugins.strace.program=/nothing", "--trace", "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith(b"art: error: --tracer strace: there is no /nothing; apt install strace")


def test_a_call_that_this_strace_does_not_know_starts_nothing(straced: Caller, workspace: Path) -> None:
    """Its own list is newer than the strace of a stable distribution may be."""
    fake = workspace.parent / "old-strace"
    fake.write_text("#!/bin/sh\necho \"strace: invalid system call 'mseal'\" >&2\nexit 1\n")
    fake.chmod(0o755)
    words: list[str | Path] = ["-m", workspace, "--tracer", "strace", "--trace-syscalls", "mseal"]
    done = straced.art(*words, "-c", f"plugins.strace.program={fake}", "--", "touch", "ran")
    assert done.returncode == 125
    assert b"could not attach: invalid system call 'mseal'" in done.stderr
    assert not (workspace / "ran").exists()
