"""The plugin keeps the contract of stores: ART's conformance kit."""

from __future__ import annotations

import pytest

from art_core.testing import StoreContract, StoreExample
from art_overlayfs.hooks import art_stores


class TestOverlayfs(StoreContract):
    @pytest.fixture
    def store_example(self) -> StoreExample:
        (provider,) = art_stores()
        return StoreExample(provider=provider, locator=lambda place: f"{place}/home.db")
