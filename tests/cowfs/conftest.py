"""A branch mounted without a sandbox: the real kernel, the real server, in a namespace of its own."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench import Bench, crowd, forked_servers


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    """Servers have what a test changed in this process."""
    with forked_servers():
        yield


@pytest.fixture(params=["one layer", "layers", "crowded", "layers, crowded"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A workspace and its database, with a chain of one layer, or of one more at each new mount; with
    room in memory for all of it or for hardly anything."""
    if "crowded" in request.param:
        crowd(monkeypatch)
    made = Bench(tmp_path, 5 if "layers" in request.param else 1)
    yield made
    made.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Bench]:
    """With everything in memory that the kernel knows of."""
    with contextlib.closing(Bench(tmp_path)) as made:
        yield made
