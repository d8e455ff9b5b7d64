"""Budgets of the tests by random work: a small one of each test's own, and `fuzz`, many times as large. A
machine of states takes twice as many steps at a time there, and half as many examples for that."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

FUZZ = "fuzz"
TIMES = int(os.environ.get("FUZZ_TIMES", "25"))
"""How many times as much as in `make test`: an hour in all on two cores."""
LONGER = 2

settings.register_profile(FUZZ, max_examples=100 * TIMES, deadline=None, print_blob=True)


def scale(items: list[pytest.Item]) -> None:
    """Give tests with settings of their own the budget of `fuzz` as well."""
    scaled: set[object] = set()
    for item in items:
        test = getattr(item, "obj", None)
        machine = getattr(getattr(test, "__self__", None), "settings", None)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        item.add_marker(pytest.mark.timeout(0), append=False)
        if isinstance(machine, settings) and type(test.__self__) not in scaled:  # type: ignore[union-attr]
            kind = type(test.__self__)  # type: ignore[union-attr]
            longer = machine.stateful_step_count * LONGER
            kind.settings = settings(_larger(machine, TIMES / LONGER), stateful_step_count=longer)
            scaled.add(kind)
        elif isinstance(own, settings):
            bare = getattr(test, "__func__", test)
            if bare not in scaled:
                bare._hypothesis_internal_use_settings = _larger(own)  # type: ignore[union-attr]
                scaled.add(bare)


def _larger(own: settings, times: float = TIMES) -> settings:
    number = max(round(own.max_examples * times), 1)
    return settings(own, max_examples=number, derandomize=False, deadline=None, print_blob=True)


def is_fuzz(config: pytest.Config) -> bool:
    return bool(config.getoption("--hypothesis-profile", None) == FUZZ)
