"""Callers who may make control groups, and callers who may not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.host import cgroups
from tests.support.callers import Caller, fresh_directory
from tests.support.limited_callers import Limited, remove_group
from tests.support.places import Places, locked


@pytest.fixture(params=["root", "plain"])
def grouped(request: pytest.FixtureRequest, places: Places) -> Iterator[Limited]:
    """Root, and a plain user to whom groups were delegated: both may make control groups."""
    if os.geteuid() != 0:
        pytest.fail(
            "this test delegates control groups; run the tests as root: sudo make test", pytrace=False
        )
    found = cgroups.find()
    if not all(found.holds(limit) for limit in cgroups.CONTROLLERS):
        pytest.fail("this test needs control groups for memory, pids and cpu", pytrace=False)
    caller: Caller = request.getfixturevalue(request.param)
    with fresh_directory(caller) as workspace, contextlib.ExitStack() as removing:
        if request.param == "root":
            # Root's groups are made where those of the other workers' root are.
            removing.enter_context(locked(places.install / "groups"))
            yield Limited(caller, workspace, (), [*{Path(above) for above in found.groups.values()}])
            return
        joins, above = [], []
        for directory in sorted(set(found.groups.values())):
            delegated = Path(directory, f"test-{os.getpid()}")
            delegated.mkdir()
            removing.callback(remove_group, delegated)
            above.append(delegated)
            joins.append(delegated)
            if found.version == 2:
                Path(directory, "cgroup.subtree_control").write_text("+memory +pids +cpu")
                joins[-1] = delegated / "session"
                joins[-1].mkdir()
                removing.callback(remove_group, joins[-1])
            for path in (*delegated.rglob("*"), delegated):
                if path.is_dir() or path.name in ("cgroup.procs", "cgroup.subtree_control"):
                    os.chown(path, caller.uid, caller.gid)
        yield Limited(caller, workspace, joins, above)


@pytest.fixture
def ungrouped(plain: Caller) -> Iterator[Limited]:
    """A plain user who may make no control group."""
    with fresh_directory(plain) as workspace:
        yield Limited(plain, workspace, (), ())


@pytest.fixture
def limited(caller: Caller, workspace: Path) -> Limited:
    """Every caller, for limits that need no group."""
    return Limited(caller, workspace, (), ())
