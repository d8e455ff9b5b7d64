"""A caller with a home of its own for each test, and a workspace with a database beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.lenders import Lender


@pytest.fixture
def lender(caller: Caller) -> Iterator[Lender]:
    with fresh_directory(caller) as workspace:
        yield Lender(caller, workspace.parent)


@pytest.fixture(params=[False, True], ids=["direct", "overlay"])
def kept(request: pytest.FixtureRequest) -> bool:
    """Without and with a database."""
    value: bool = request.param
    return value
