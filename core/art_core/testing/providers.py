"""What holds for the `Provider` record of every contract."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from art_core.contracts import CONTRACT_VERSIONS, Context, Provider, Reason
from art_core.loader.plugin_settings import defaults_of
from art_core.testing.rules import Rule

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def context_for(provider: Provider[Any], directory: str) -> Context:
    """What core hands to `create` and `probe`: default settings, directories that do not exist yet."""
    return Context(
        settings=None if provider.settings is None else provider.settings(),
        state_dir=os.path.join(directory, "state", provider.name),
        cache_dir=os.path.join(directory, "cache", provider.name),
        uid=os.getuid(),
        gid=os.getgid(),
    )


def check_record(rule: Rule, provider: Provider[Any], kind: str, capabilities: frozenset[str] | None) -> None:
    """Hold the record to its fields; `capabilities` are those that core knows for this kind."""
    rule.holds(isinstance(provider, Provider), f"{provider!r} is not a Provider")
    name, summary = provider.name, provider.summary
    rule.holds(isinstance(name, str) and _NAME.fullmatch(name), f"the name is {name!r}")
    rule.holds(
        isinstance(summary, str) and summary.strip() and "\n" not in summary, f"the summary is {summary!r}"
    )
    rule.holds(
        provider.contract == CONTRACT_VERSIONS[kind],
        f"the contract is {provider.contract!r}, this core speaks {CONTRACT_VERSIONS[kind]}",
    )
    rule.holds(
        isinstance(provider.capabilities, frozenset), f"the capabilities are {provider.capabilities!r}"
    )
    if capabilities is not None:
        unknown = sorted(provider.capabilities - capabilities)
        rule.holds(not unknown, f"core asks for no capability {unknown}; it knows {sorted(capabilities)}")


def check_settings(rule: Rule, provider: Provider[Any]) -> None:
    """Hold `Provider.settings` to what core does with it."""
    settings = provider.settings
    if settings is None:
        return
    try:
        keys = defaults_of(settings)
        first, second = settings(), settings()
    except Exception as error:
        rule.broken(
            f"settings {settings!r} is no NamedTuple or dataclass whose keys have defaults: {error!r}"
        )
    rule.equals(first, second, f"two {settings.__name__}()")
    for key in keys:
        try:
            setattr(first, key, getattr(first, key))
        except AttributeError:
            continue
        rule.broken(f"{settings.__name__}.{key} can be assigned: the settings are not frozen")


def check_probe(rule: Rule, provider: Provider[Any], directory: str) -> None:
    """Hold `probe` to its promise, also where its directories can never be made."""
    for reason in probe(rule, provider, context_for(provider, directory)):
        rule.broken(f"it cannot work here, so the kit cannot be run here: {reason.what} ({reason.cure})")
    obstacle = os.path.join(directory, "obstacle")
    with open(obstacle, "w"):
        pass
    probe(rule, provider, context_for(provider, obstacle))


def probe(rule: Rule, provider: Provider[Any], context: Context) -> Sequence[Reason]:
    try:
        reasons = provider.probe(context)
    except Exception as error:
        rule.broken(f"probe raised {error!r}")
    rule.holds(isinstance(reasons, Sequence), f"probe returned {reasons!r}")
    for reason in reasons:
        rule.holds(
            isinstance(reason, Reason) and reason.what.strip() and reason.cure.strip(),
            f"probe returned {reason!r}",
        )
    return reasons
