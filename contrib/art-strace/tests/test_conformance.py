"""The plugin keeps the contract of tracers: ART's conformance kit."""

from __future__ import annotations

import pytest

from art_core.testing import TracerContract, TracerExample


class TestStrace(TracerContract):
    @pytest.fixture
    def tracer_example(self) -> TracerExample:
        return TracerExample(plugin="art_strace.hooks")
