"""What a traced run needs: the tracer, its filters, and the file that the record goes to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from art_core.contracts import Mount, Tracer, TraceRequest
from art_core.errors import ArtError, PluginError
from art_core.host.tree import within
from art_core.loader.plugins import Plugins

if TYPE_CHECKING:
    from art_core.launch.client import Launcher


class TraceOptions(NamedTuple):
    """What a caller may ask of a trace; the command line's options of the same names."""

    tracer: str
    log: str | None = None
    syscalls: Sequence[str] = ()
    format: Literal["text", "jsonl"] = "text"
    summary: bool = False


class Recording:
    """The trace of one sandbox's commands, and how the `launcher` of the first is to trace. `close` lets go
    of the log."""

    def __init__(self, plugins: Plugins, wanted: TraceOptions, launcher: Launcher | None = None) -> None:
        self._plugins = plugins
        self._name = wanted.tracer
        self.log = None if wanted.log is None else os.path.realpath(wanted.log)
        self._typed = wanted.log
        self._fd = -1
        self._request = TraceRequest(wanted.syscalls, wanted.format, wanted.summary)
        self._require_capabilities()
        self.plan = plugins.tracing_plan(wanted.tracer, self._request)
        if launcher is not None:  # It loads the tracer while the run is planned.
            launcher.trace(self.plan)
        tracer: Tracer = plugins.create("tracer", wanted.tracer)
        with plugins.guard("tracer", wanted.tracer):
            self.filters: Sequence[bytes] = tracer.filters(self._request)

    def _require_capabilities(self) -> None:
        """Refuse by name what the tracer cannot do."""
        request = self._request
        needed = {
            "jsonl": request.format == "jsonl" and "--trace-format jsonl",
            "summary": request.summary and "--trace-summary",
            "classes": next((word for word in request.syscalls if word.startswith("%")), ""),
            "agent": "agent" in request.syscalls and "the preset agent",
        }
        self.require({capability: what for capability, what in needed.items() if what})

    def require(self, needed: Mapping[str, str]) -> None:
        """Raises PluginError for what is needed, by capability, and the tracer lacks."""
        provider = self._plugins.provider("tracer", self._name)
        for capability, what in needed.items():
            if capability not in provider.capabilities:
                raise PluginError(
                    f"the tracer {provider.name!r} cannot do {what} (capability {capability}); "
                    "choose another with --tracer NAME"
                )

    def check_log(self, workspace: Iterable[str], mounts: Iterable[Mount]) -> None:
        """Refuse a log that the command could write to, or see as a file of its own."""
        if self.log is None:
            return
        tops = [(top, "the workspace") for top in workspace]
        tops += [(mount.source, f"{mount.source}, which is writable inside") for mount in mounts]
        for top, what in tops:
            if within(self.log, top):
                name = os.path.basename(self.log)
                raise ArtError(
                    f"--trace-log {self._typed}: it lies in {what}; a record has to be out of the command's "
                    f"reach: --trace-log {_elsewhere(name, [top for top, _ in tops])}"
                )

    def open(self) -> int | None:
        """A descriptor of the log, opened once; None for standard error."""
        if self.log is None:
            return None
        if self._fd < 0:
            self._fd = _open(self.log, self._typed or "")
        return self._fd

    def failure(self, untraced: tuple[str, bool]) -> str:
        """What it means that a tracer ended before its command (`launcher.Outcome.untraced`)."""
        message, plugin = untraced
        if plugin:
            try:
                with self._plugins.guard("tracer", self._name):
                    raise RuntimeError(message)
            except PluginError as error:
                return str(error).replace("RuntimeError: ", "")
        return f"{message}; the command was ended with it, nothing runs untraced"

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def wanted(options: Any, tracer: str) -> TraceOptions:
    """The part of `options.Options` that is about the trace."""
    return TraceOptions(
        options.tracer or tracer,
        options.trace_log,
        options.trace_syscalls,
        options.trace_format,
        options.trace_summary,
    )


def _elsewhere(name: str, tops: Sequence[str]) -> str:
    """A path for the log that lies in none of the directories."""
    for directory in (os.path.dirname(os.path.abspath(tops[0])), os.path.expanduser("~"), "/var/tmp", "/tmp"):
        if not any(within(directory, top) for top in tops) and os.access(directory, os.W_OK):
            return os.path.join(directory, name)
    return os.path.join("/tmp", name)


def _open(path: str, typed: str) -> int:
    """Open for appending; a pipe or a device is taken as it is. The name itself is no link any more."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        why = "it is a pipe that nobody reads, or a socket" if error.errno == errno.ENXIO else error.strerror
        raise ArtError(f"--trace-log {typed}: it cannot be opened: {why}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.set_blocking(fd, True)
    return fd
