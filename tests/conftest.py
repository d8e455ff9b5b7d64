"""Budgets of the tests by random work: a small one of each test's own, and `fuzz`, many times as large."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

FUZZ = "fuzz"
TIMES = int(os.environ.get("FUZZ_TIMES", "25"))
"""How many times as many examples: an hour in all on two cores."""

settings.register_profile(FUZZ, max_examples=100 * TIMES, deadline=None, print_blob=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`--hypothesis-profile=fuzz` holds for tests with settings of their own as well."""
    if config.getoption("--hypothesis-profile", None) != FUZZ:
        return
    scaled: set[object] = set()
    for item in items:
        test = getattr(item, "obj", None)
        machine = getattr(getattr(test, "__self__", None), "settings", None)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        item.add_marker(pytest.mark.timeout(0), append=False)
        if isinstance(machine, settings) and type(test.__self__) not in scaled:  # type: ignore[union-attr]
            kind = type(test.__self__)  # type: ignore[union-attr]
            kind.settings = _larger(machine)
            scaled.add(kind)
        elif isinstance(own, settings):
            bare = getattr(test, "__func__", test)
            if bare not in scaled:
                bare._hypothesis_internal_use_settings = _larger(own)  # type: ignore[union-attr]
                scaled.add(bare)


def _larger(own: settings) -> settings:
    number = max(own.max_examples * TIMES, 1)
    return settings(own, max_examples=number, derandomize=False, deadline=None, print_blob=True)
