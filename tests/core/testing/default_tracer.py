"""The conformance kit on ART's own tracer, as an author of a plugin would use it.

Not collected with ART's tests: test_default_plugins.py runs it with an installed wheel.
"""

from __future__ import annotations

import pytest

from art_core.testing import TracerContract, TracerExample


class TestPtrace(TracerContract):
    @pytest.fixture
    def tracer_example(self) -> TracerExample:
        return TracerExample(plugin="art_ptrace.hooks")
