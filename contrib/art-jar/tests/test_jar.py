"""The plugin keeps the contracts of stores and of what a file system is made over: ART's conformance kit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from art_core.testing import StoreContract, StoreExample
from art_fusefs.testing import BackendContract, BackendExample
from art_jar.backend import JarBackend
from art_jar.hooks import art_stores


class TestBackend(BackendContract):
    @pytest.fixture
    def backend_example(self) -> BackendExample:
        @contextmanager
        def opened(host: str, place: str) -> Iterator[JarBackend]:
            backend = JarBackend(f"{place}/main.json", b"ws", host.encode())
            yield backend
            backend.save(ending=True)

        return BackendExample(open=opened)


class TestJar(StoreContract):
    @pytest.fixture
    def store_example(self) -> StoreExample:
        (provider,) = art_stores()
        return StoreExample(provider=provider, locator=lambda place: f"{place}/home.jar")
