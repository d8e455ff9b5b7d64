"""The tracer contract, as a class of tests that a plugin's author subclasses."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from art_core.contracts import Provider, Tracer, TraceRequest
from art_core.errors import ArtError
from art_core.plugins import Plugins
from art_core.settings import Settings
from art_core.testing import choosing, commanding, ending, following, observing, providers
from art_core.testing.driver import Driver, Ran, Running
from art_core.testing.record import Record
from art_core.testing.rules import Rule, apply
from art_core.tracing import Plan

KNOWN_CAPABILITIES = frozenset({"jsonl", "summary", "classes", "agent", "commands"})
"""What `art_core.contracts.Tracer` lists."""
_LONGEST_FILTER = 4096
"""BPF_MAXINSNS; an instruction is eight bytes (seccomp(2))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracerExample:
    """Where a tracer is found: `plugin` is what stands in its entry point (`my_tracer.hooks`), as the
    process that traces loads it by itself. `name` is the provider's, where the plugin has several;
    `settings` are the keys of `[plugins.NAME]`."""

    plugin: str
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def provider(self) -> Provider[Tracer]:
        module, _, attribute = self.plugin.partition(":")
        found: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
        providers: list[Provider[Tracer]] = list(found.art_tracers())
        return next(provider for provider in providers if self.name in ("", provider.name))


class Traced:
    """How a traced command ended, and what was recorded."""

    def __init__(self, rule: Rule, ran: Ran, content: bytes) -> None:
        self._rule = rule
        self.ran = ran
        self.content = content

    @property
    def record(self) -> Record:
        """The record, which has to be text."""
        return Record(self._rule, self.content)

    def under(self, rule: Rule) -> Traced:
        """The same run, looked at for another rule."""
        return Traced(rule, self.ran, self.content)


_TOURS: dict[type, Traced] = {}


class Tracery:
    """Traces commands in sandboxes of the default isolation, for one rule."""

    def __init__(self, example: TracerExample, rule: Rule, place: str) -> None:
        self.rule = rule
        self.place = place
        self.example = example
        self.provider = example.provider()
        self._context = providers.context_for(self.provider, place)
        if example.settings and self.provider.settings is not None:
            self._context = self._context._replace(settings=self.provider.settings(**example.settings))
        self.tracer = self.another()
        settings = Settings()
        isolation = Plugins.load(settings, env={}).provider("isolation", settings.isolation)
        self._sandbox = Driver(isolation, providers.context_for(isolation, place), rule, place)
        self.python = self._sandbox.python
        self._runs = 0

    def another(self) -> Tracer:
        """The tracer, made once more."""
        try:
            return self.provider.create(self._context)
        except Exception as error:
            self.rule.broken(f"create() raised {error!r}")

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        try:
            return self.tracer.filters(request)
        except Exception as error:
            self.rule.broken(f"filters() of {request} raised {error!r}")

    def refusal(self, *syscalls: str) -> str:
        """What the tracer says to calls that it cannot record."""
        said = ""
        try:
            self.tracer.filters(TraceRequest(syscalls))
        except ArtError as error:
            said = str(error)
        except Exception as error:
            self.rule.broken(f"filters() of {syscalls} raised {error!r}")
        self.rule.holds(said, f"{syscalls} was accepted")
        return said

    @property
    def log(self) -> str:
        return os.path.join(self.place, f"record-{self._runs}")

    def start(
        self,
        *argv: bytes | str,
        syscalls: Sequence[str] = (),
        format: Literal["text", "jsonl"] = "text",
        summary: bool = False,
        log: str | None = None,
        commands_fd: int = -1,
    ) -> Running:
        """Start a command whose record goes to `log`, or those that come on `commands_fd`."""
        self._runs += 1
        request = TraceRequest(syscalls, format, summary)
        filters = self.filters(request)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        out = os.open(self.log if log is None else log, flags, 0o600)
        try:
            trace = self._plan(request), out
            return self._sandbox.start(*argv, trace=trace, filters=filters, commands_fd=commands_fd)
        finally:
            os.close(out)

    def _plan(self, request: TraceRequest) -> Plan:
        module, _, attribute = self.example.plugin.partition(":")
        context = self._context
        return Plan(
            module=module,
            attribute=attribute,
            provider=self.provider.name,
            settings=dict(self.example.settings),
            state_dir=context.state_dir,
            cache_dir=context.cache_dir,
            uid=context.uid,
            gid=context.gid,
            request=tuple(request),
        )

    def run(self, *argv: bytes | str, **wanted: Any) -> Traced:
        """Trace a command to its end."""
        with self.start(*argv, **wanted) as running:
            ran = running.finish()
        self.rule.holds(ran.untraced is None, f"{ran}")
        return Traced(self.rule, ran, self.written())

    def untraced(self, *argv: bytes | str) -> Ran:
        """The same without a trace."""
        return self._sandbox.run(*argv)

    def script(self, source: str, *arguments: bytes | str) -> list[bytes | str]:
        """A command that runs Python source inside."""
        return self._sandbox.script(source, *arguments)

    def written(self) -> bytes:
        """The record of the last run, as it is now."""
        with open(self.log, "rb") as file:
            return file.read()


class TracerContract(
    following.CallRules,
    following.ProcessRules,
    choosing.ChoiceRules,
    choosing.FormatRules,
    ending.EndRules,
    commanding.TracedCommandsRules,
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
            _TOURS[request.cls] = tracery.run(*tracery.script(following.TOUR))
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
            before = observing.state()
            with observing.actions() as actions:
                first = list(tracery.filters(request))
            left = observing.differences(before, observing.state())
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
