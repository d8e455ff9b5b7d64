"""A second backend keeps the file system's contract, and a broken one is caught."""

from __future__ import annotations

import pytest

from art_fusefs.testing import BackendContract, BackendExample
from tests.core.testing.broken_backends import example
from tests.core.testing.memory_store import MemoryBackend


class TestMemory(BackendContract):
    @pytest.fixture
    def backend_example(self) -> BackendExample:
        return example(MemoryBackend)
