"""A traced run, and the programs that are traced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.places import Places
from tests.support.traced_runs import Tracing, compiled


@pytest.fixture
def traced(caller: Caller, workspace: Path) -> Tracing:
    """Traced runs of root, then of a plain user."""
    return Tracing(caller, workspace)


@pytest.fixture
def traced_plain(plain: Caller) -> Iterator[Tracing]:
    """Traced runs of a plain user alone."""
    with fresh_directory(plain) as workspace:
        yield Tracing(plain, workspace)


@pytest.fixture(scope="session")
def exerciser(places: Places) -> Path:
    return compiled(places, "exerciser", "-static", "-pthread")


@pytest.fixture(scope="session")
def escaper(places: Places) -> Path:
    return compiled(places, "escaper", "-static", "-pthread")
