"""ART below another sandbox: of its own, and of unshare(1)."""

from __future__ import annotations

from pathlib import Path

from tests.support.callers import Caller
from tests.support.installed_copies import Installed


def test_in_a_nested_sandbox_of_its_own(caller: Caller, workspace: Path, installed: Installed) -> None:
    venv = installed.bin_dir.parent
    options = ["-m", str(workspace), "--bind", f"{venv}:{venv}", "--trust-binds"]
    inner = [str(installed.art), "--", "sh", "-c", "echo $HOME; touch made"]
    done = caller.art(*options, "--nested", "--", *inner)
    assert (done.returncode, done.stdout) == (0, b"/home/agent\n"), done
    assert (workspace / "made").exists()
    refused = caller.art(*options, "--", *inner)
    assert refused.returncode == 125
    assert b"start it with --nested" in refused.stderr
    kept = caller.art(*options, "--nested", "--", str(installed.art), "-d", "/tmp/x.db", "--", "true")
    assert kept.returncode == 125
    assert b"/dev/fuse is not there: run it outside of this sandbox of ART" in kept.stderr


def test_in_a_user_namespace_where_it_is_root(caller: Caller, workspace: Path, installed: Installed) -> None:
    for options in ([], ["-d", f"{workspace}.db"]):
        art = [str(installed.art), "-m", str(workspace), *options]
        done = caller.run(["unshare", "-Ur", *art, "--", "sh", "-c", "id -u; touch made"])
        assert (done.returncode, done.stdout) == (0, b"1000\n"), done
    assert (workspace / "made").stat().st_uid == caller.uid
