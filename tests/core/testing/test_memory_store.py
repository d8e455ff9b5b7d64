"""A second store keeps the contract, on the same file system library."""

from __future__ import annotations

import pytest

from art_core.testing import StoreContract, StoreExample
from tests.core.testing.memory_store import provider


class TestMemory(StoreContract):
    @pytest.fixture
    def store_example(self) -> StoreExample:
        return StoreExample(provider=provider(), locator=lambda place: f"memory:{place}")
