"""A tracer under test: commands that it traces, and what it recorded."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from art_core.config.settings import Settings
from art_core.contracts import Provider, Tracer, TraceRequest
from art_core.errors import ArtError
from art_core.loader.plugins import Plugins
from art_core.loader.recipe import Plan
from art_core.testing import providers
from art_core.testing.driver import Driver, Ran, Running
from art_core.testing.rules import Rule
from art_core.testing.tracer.record import Record


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
