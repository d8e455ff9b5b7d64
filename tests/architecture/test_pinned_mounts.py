"""No path is mounted: whoever can write to what is above it would say what it leads to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from art_core.config.options import Options
from art_core.config.settings import Settings
from art_core.contracts import Mount, Origin
from art_core.errors import IsolationError
from art_core.plan.preparation import Preparation
from tests.support.places import ROOT
from tests.support.sources import PARTS, modules


def test_only_the_planning_makes_runs() -> None:
    """So what it asks of every mount holds for all that an isolation is given."""
    made = [
        str(path.relative_to(ROOT))
        for part in PARTS
        for path in modules(part)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Run", "contracts.Run")
    ]
    assert sorted(set(made)) == ["core/art_core/plan/build_run.py", "core/art_core/testing/driver.py"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the caller's, with what presets and options show of it."""
    for name in ("home/tools/bin", "home/ws/.git/hooks", "shown"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home/ws/.git/config").write_text("")
    (tmp_path / "home/ws/.art/config").mkdir(parents=True)
    (tmp_path / "home/shared").write_text("")
    asked = '{"binds": [{"host": ".", "guest": "/opt/again"}]}'
    (tmp_path / "home/ws/.art/config/binds.json").write_text(asked)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_mount_of_a_plan_has_a_descriptor(home: Path) -> None:
    """The workspace and its other places, what protects it, binds, exposed directories, shares, and what
    the sandbox cannot do without; devices lie in /dev, where no sandbox and no user writes."""
    options = Options(
        workspace=str(home / "ws"),
        binds=[f"{home.parent}/shown:/opt/shown"],
        expose=[str(home / "tools")],
        shares=[str(home / "shared")],
        trust="trust",
    )
    preparation = Preparation(options, Settings())
    try:
        preparation.settle()
        mounts = preparation.mounts
        assert {"/opt/shown", "/opt/again", "/home/agent/ws", "/home/agent/ws/.git/hooks"} <= {
            mount.guest for mount in mounts
        }
        assert [mount.guest for mount in mounts if mount.fd < 0 and not mount.device] == []
    finally:
        preparation.close()


def test_a_mount_without_one_ends_the_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_path(workspace: object, guest: str) -> Mount:
        return Mount(source=str(home), guest=guest, origin=Origin("a path"))

    monkeypatch.setattr("art_core.view.mounts.of_workspace", by_path)
    monkeypatch.setattr("art_core.view.mounts._check_mount_point", lambda mount, shown: None)
    preparation = Preparation(Options(workspace=str(home / "ws"), trust="trust"), Settings())
    try:
        with pytest.raises(IsolationError, match=r"a path: .* was not opened before it is mounted"):
            preparation.settle()
    finally:
        preparation.close()
