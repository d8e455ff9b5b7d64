"""Callers on a machine that stands on a small internet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.network_machine import Internet, Machine, small_internet
from tests.support.places import Places


@pytest.fixture(scope="session")
def internet(places: Places) -> Iterator[Internet]:
    with small_internet(places) as found:
        yield found


@pytest.fixture
def machine(internet: Internet, caller: Caller, workspace: Path) -> Machine:
    return Machine(internet, caller, workspace)


@pytest.fixture
def plain_machine(internet: Internet, plain: Caller) -> Iterator[Machine]:
    """For what is the same for every caller."""
    with fresh_directory(plain) as workspace:
        yield Machine(internet, plain, workspace)


@pytest.fixture(params=["plain", "mapped", "root"])
def anybody(
    request: pytest.FixtureRequest, internet: Internet, root: Caller, plain: Caller
) -> Iterator[Machine]:
    """A plain user, root as the ordinary user that it is inside, and root that keeps its uid."""
    caller = plain if request.param == "plain" else root
    variables = {} if request.param == "plain" else {"ART_ROOT_AS": request.param}
    with fresh_directory(caller) as workspace:
        yield Machine(internet, caller, workspace, variables=variables)
