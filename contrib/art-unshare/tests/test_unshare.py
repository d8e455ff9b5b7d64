"""The plugin keeps the contract of isolations: ART's conformance kit."""

from __future__ import annotations

import pytest

from art_core.contracts import Isolation, Provider
from art_core.testing import IsolationContract
from art_unshare.hooks import art_isolations


class TestUnshare(IsolationContract):
    @pytest.fixture
    def isolation_provider(self) -> Provider[Isolation]:
        (provider,) = art_isolations()
        return provider
