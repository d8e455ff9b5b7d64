"""A rule of a contract, as a test of the kit states it, and how its breach is told.

Each test is one rule: its name without `test_` names the rule, its docstring says it. So what the
kit demands, what a failure prints and what docs/conformance.md lists are one text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import pytest

_Function = TypeVar("_Function", bound=Callable[..., Any])
_CAPABILITIES = "art_capability"


class Rule:
    """One rule, while its test runs."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def holds(self, condition: object, seen: object) -> None:
        """Fail the test unless `condition`; `seen` says what was found instead."""
        if not condition:
            self.broken(seen)

    def equals(self, found: object, expected: object, what: str = "") -> None:
        if found != expected:
            self.broken(f"{what + ': ' if what else ''}{found!r} instead of {expected!r}")

    def broken(self, seen: object) -> NoReturn:
        """Fail the test: the rule is broken, as `seen` shows."""
        pytest.fail(f"rule {self.name}: {self.text}\nbut: {seen}", pytrace=False)


def requires(*capabilities: str) -> Callable[[_Function], _Function]:
    """The rule is held only against providers that claim all of the capabilities."""

    def mark(function: _Function) -> _Function:
        setattr(function, _CAPABILITIES, capabilities)
        return function

    return mark


def capabilities_of(function: Callable[..., Any]) -> Sequence[str]:
    """What `requires` said; none where it was not used."""
    found: Sequence[str] = getattr(function, _CAPABILITIES, ())
    return found


def rule_of(function: Callable[..., Any]) -> Rule:
    """The rule that a test function states."""
    name = function.__name__.removeprefix("test_").replace("_", "-")
    return Rule(name, " ".join(inspect.getdoc(function).split()) if function.__doc__ else "")  # type: ignore[union-attr]


def rules(contract: type) -> dict[str, tuple[str, Sequence[str]]]:
    """The rules of a contract's test class, by name: what each demands, and the capabilities it needs."""
    functions = (getattr(contract, name) for name in dir(contract) if name.startswith("test_"))
    return {
        (rule := rule_of(function)).name: (rule.text, capabilities_of(function)) for function in functions
    }


def apply(request: pytest.FixtureRequest, capabilities: Callable[[], frozenset[str]]) -> Rule:
    """The rule of the test that asks; skips it when the provider lacks what the rule requires."""
    for capability in capabilities_of(request.function):
        if capability not in capabilities():
            pytest.skip(f"optional capability not claimed: {capability}")
    return rule_of(request.function)
