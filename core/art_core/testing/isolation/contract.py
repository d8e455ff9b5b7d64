"""The isolation contract, as a class of tests that a plugin's author subclasses."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from art_core.contracts import Context, Isolation, Provider
from art_core.testing import providers
from art_core.testing.driver import Driver
from art_core.testing.isolation import commands, confinement, plans, visibility
from art_core.testing.rules import Rule, apply


class IsolationContract(
    plans.RecordRules,
    plans.PlanRules,
    plans.StatusRules,
    plans.CommandRules,
    visibility.HostRules,
    visibility.MaskRules,
    visibility.MountRules,
    confinement.ProcessRules,
    confinement.PrivilegeRules,
    confinement.NetworkRules,
    confinement.TerminalRules,
    commands.CommandsRules,
):
    """What every isolation has to keep. Override `isolation_provider`:

        class TestMine(IsolationContract):
            @pytest.fixture
            def isolation_provider(self):
                return PROVIDER

    Each test is one rule, named in its failure. What the provider does not claim among its
    capabilities is skipped. Runs as root and as a plain user; do both.
    """

    @pytest.fixture
    def isolation_provider(self) -> Provider[Isolation]:
        raise NotImplementedError("override isolation_provider: return the Provider to test")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest, isolation_provider: Provider[Isolation]) -> Rule:
        return apply(request, lambda: isolation_provider.capabilities)

    @pytest.fixture
    def place(self) -> Iterator[str]:
        """A directory that the sandbox shows, being outside /tmp and homes; gone afterwards."""
        directory = tempfile.mkdtemp(prefix="art-kit-", dir="/var/tmp")
        os.chmod(directory, 0o755)
        yield directory
        shutil.rmtree(directory)

    @pytest.fixture
    def context(self, isolation_provider: Provider[Isolation], tmp_path: object) -> Context:
        return providers.context_for(isolation_provider, str(tmp_path))

    @pytest.fixture
    def sandbox(
        self, isolation_provider: Provider[Isolation], context: Context, rule: Rule, place: str
    ) -> Driver:
        return Driver(isolation_provider, context, rule, place)
