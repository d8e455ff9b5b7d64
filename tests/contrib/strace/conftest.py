"""ART with the plugin of contrib/art-strace, each from its own wheel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.installed_copies import Installed, with_contrib


@pytest.fixture(scope="session")
def with_strace(installed: Installed) -> Path:
    """The `bin` of a virtual environment with both, and pytest; ART's extra `trace` is not in it."""
    return with_contrib(installed, "strace", "pytest")


@pytest.fixture
def straced(caller: Caller, with_strace: Path) -> Caller:
    """Root, then a plain user, who call that `art`."""
    return replace(caller, art_program=with_strace / "art")
