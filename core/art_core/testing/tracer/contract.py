"""The tracer contract, as a class of tests that a plugin's author subclasses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest

from art_core.contracts import TraceRequest
from art_core.testing import leftovers, providers
from art_core.testing.rules import Rule, apply
from art_core.testing.tracer import commands, endings, processes, selection
from art_core.testing.tracer.case import Traced, TracerExample, Tracery

KNOWN_CAPABILITIES = frozenset({"jsonl", "summary", "classes", "agent", "commands"})
"""What `art_core.contracts.Tracer` lists."""
_LONGEST_FILTER = 4096
"""BPF_MAXINSNS; an instruction is eight bytes (seccomp(2))."""


_TOURS: dict[type, Traced] = {}


class TracerContract(
    processes.CallRules,
    processes.ProcessRules,
    selection.ChoiceRules,
    selection.FormatRules,
    endings.EndRules,
    commands.TracedCommandsRules,
):
    """What every tracer has to keep. Override `tracer_example`:

        class TestMine(TracerContract):
            @pytest.fixture
            def tracer_example(self):
                return TracerExample(plugin="my_tracer.hooks")

    Each test is one rule, named in its failure. What the provider does not claim among its
    capabilities is skipped. Runs as root and as a plain user; do both.
    """

    @pytest.fixture
    def tracer_example(self) -> TracerExample:
        raise NotImplementedError("override tracer_example: return a TracerExample")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest, tracer_example: TracerExample) -> Rule:
        return apply(request, lambda: tracer_example.provider().capabilities)

    @pytest.fixture
    def place(self) -> Iterator[str]:
        """A directory of the kit's, outside /tmp and homes; gone afterwards."""
        directory = tempfile.mkdtemp(prefix="art-kit-", dir="/var/tmp")
        yield directory
        shutil.rmtree(directory)

    @pytest.fixture
    def tracery(self, tracer_example: TracerExample, rule: Rule, place: str) -> Tracery:
        return Tracery(tracer_example, rule, place)

    @pytest.fixture
    def tour(self, request: pytest.FixtureRequest, tracery: Tracery, rule: Rule) -> Traced:
        """A command that does all that the rules of a record ask for, traced once for all of them."""
        if request.cls not in _TOURS:
            _TOURS[request.cls] = tracery.run(*tracery.script(processes.TOUR))
        return _TOURS[request.cls].under(rule)

    def test_record(self, tracer_example: TracerExample, rule: Rule) -> None:
        """The provider's record has a plain name, a summary of one line, this core's contract
        version, and claims only capabilities that core knows."""
        providers.check_record(rule, tracer_example.provider(), "tracer", KNOWN_CAPABILITIES)

    def test_settings(self, tracer_example: TracerExample, rule: Rule) -> None:
        """Its settings are None, or a frozen record (NamedTuple or dataclass) of keys with defaults."""
        providers.check_settings(rule, tracer_example.provider())

    def test_probe(self, tracer_example: TracerExample, rule: Rule, place: str) -> None:
        """The probe never raises, and returns the reasons why the tracer cannot work on this host,
        each with its cure: none where the kit is run."""
        providers.check_probe(rule, tracer_example.provider(), place)

    def test_filters_are_pure(self, tracery: Tracery, rule: Rule) -> None:
        """filters() starts nothing, opens nothing that stays open, changes nothing, and gives equal
        programs for equal requests, also from another instance."""
        other = tracery.another()
        for request in (TraceRequest(), TraceRequest(("openat", "connect"))):
            before = leftovers.state()
            with leftovers.actions() as actions:
                first = list(tracery.filters(request))
            left = leftovers.differences(before, leftovers.state())
            rule.holds(not actions, f"filters() did this: {actions}")
            rule.holds(not left, f"after filters() {left}")
            rule.equals(list(tracery.filters(request)), first, "a second filters()")
            rule.equals(list(other.filters(request)), first, "the filters() of another instance")

    def test_filters_form(self, tracery: Tracery, rule: Rule) -> None:
        """A filter is bytes: one to 4096 instructions of eight bytes (seccomp(2))."""
        for program in tracery.filters(TraceRequest(("openat",))):
            rule.holds(isinstance(program, bytes), f"a filter is a {type(program).__name__}")
            rule.holds(
                len(program) % 8 == 0 and 0 < len(program) // 8 <= _LONGEST_FILTER,
                f"a filter has {len(program)} bytes",
            )
