"""The mount source contract, as a class of tests that a plugin's author subclasses."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from art_core.contracts import Mount, MountSet, MountSource, Provider, Workspace
from art_core.errors import ArtError
from art_core.testing import leftovers, providers
from art_core.testing.rules import Rule, apply

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSourceExample:
    """A provider, and enough of its language for the kit to speak it.

    `file` is what the source reads, relative to the workspace; `asks` and `asks_else` are two
    different contents of it that each ask for at least one mount, `malformed` contents that it
    must refuse, by a word for what is wrong with them. `beside` are further files of the workspace
    that the requests need, by relative path.
    """

    provider: Provider[MountSource]
    file: str
    asks: bytes
    asks_else: bytes
    malformed: Mapping[str, bytes]
    beside: Mapping[str, bytes] = field(default_factory=dict)


class AskedWorkspace:
    """A workspace that a source is asked about."""

    def __init__(self, example: MountSourceExample, rule: Rule, top: str, state: str) -> None:
        self.rule = rule
        self.example = example
        self.top = top
        self.file = os.path.join(top, example.file)
        context = providers.context_for(example.provider, state)
        self.source = example.provider.create(context)
        self._closing = ExitStack()
        os.makedirs(top)
        for name, content in example.beside.items():
            self.write(os.path.join(top, name), content)
        fd = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._closing.callback(os.close, fd)
        real = os.path.realpath(top)
        self.workspace = Workspace(name=os.path.basename(top), path=top, real=real, fd=fd)

    def close(self) -> None:
        self._closing.close()

    def write(self, path: str, content: bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def request(self, content: bytes) -> None:
        self.write(self.file, content)

    def load(self) -> MountSet:
        """What the source says now; it must say something."""
        said = self.say()
        if isinstance(said, ArtError):
            self.rule.broken(f"load() refused: {said}")
        return said

    def say(self) -> MountSet | ArtError:
        """What the source answers: mounts, or a refusal that is fit for a user."""
        try:
            said = self.source.load(self.workspace)
        except ArtError as error:
            message = str(error).replace(self.top, "")
            self.rule.holds(message.strip() and "\n" not in message, f"the refusal is {message!r}")
            return error
        except Exception as error:
            self.rule.broken(f"load() raised {error!r}")
        self.rule.holds(isinstance(said, MountSet), f"load() returned {said!r}")
        return said._replace(mounts=[self._taken(mount) for mount in said.mounts])

    def _taken(self, mount: Mount) -> Mount:
        """The mount without its descriptor, which is the core's from now on."""
        self.rule.holds(isinstance(mount, Mount), f"{mount!r} is not a Mount")
        if mount.fd < 0:
            return mount
        try:
            flags = fcntl.fcntl(mount.fd, fcntl.F_GETFL)
            pinned = os.readlink(f"/proc/self/fd/{mount.fd}")
        except OSError as error:
            self.rule.broken(f"the descriptor {mount.fd} of {mount.source}: {error}")
        os.close(mount.fd)
        self.rule.holds(flags & os.O_PATH, f"the descriptor of {mount.source} was not opened with O_PATH")
        self.rule.equals(pinned, mount.source, "what the descriptor pins")
        return mount._replace(fd=-1)

    def refused(self, what: str) -> None:
        """Hold the source to refusing, with the file named."""
        said = self.say()
        if not isinstance(said, ArtError):
            self.rule.broken(f"{what} was accepted: {list(said.mounts)}")
        name = os.path.basename(self.file)
        self.rule.holds(name in str(said), f"{what} was refused without naming {name}: {said}")


class MountSourceContract:
    """What every mount source has to keep. Override `mount_source_example`:

        class TestMine(MountSourceContract):
            @pytest.fixture
            def mount_source_example(self):
                return MountSourceExample(provider=PROVIDER, file=".mine/binds", asks=b"...", ...)

    Each test is one rule, named in its failure.
    """

    @pytest.fixture
    def mount_source_example(self) -> MountSourceExample:
        raise NotImplementedError("override mount_source_example: return a MountSourceExample")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest, mount_source_example: MountSourceExample) -> Rule:
        return apply(request, lambda: mount_source_example.provider.capabilities)

    @pytest.fixture
    def asking(
        self, mount_source_example: MountSourceExample, rule: Rule, tmp_path: Any
    ) -> Iterator[AskedWorkspace]:
        asking = AskedWorkspace(mount_source_example, rule, f"{tmp_path}/top/work", f"{tmp_path}/state")
        yield asking
        asking.close()

    def test_record(self, mount_source_example: MountSourceExample, rule: Rule) -> None:
        """The provider's record has a plain name, a summary of one line, this core's contract
        version, and a set of capabilities."""
        providers.check_record(rule, mount_source_example.provider, "mount_source", None)

    def test_settings(self, mount_source_example: MountSourceExample, rule: Rule) -> None:
        """Its settings are None, or a frozen record (NamedTuple or dataclass) of keys with defaults."""
        providers.check_settings(rule, mount_source_example.provider)

    def test_probe(self, mount_source_example: MountSourceExample, rule: Rule, tmp_path: Any) -> None:
        """The probe never raises, and returns the reasons why the source cannot work on this host,
        each with its cure: none where the kit is run."""
        providers.check_probe(rule, mount_source_example.provider, str(tmp_path))

    def test_nothing_asked(self, asking: AskedWorkspace, rule: Rule) -> None:
        """A workspace that asks for nothing gives no mount and no evidence."""
        said = asking.load()
        rule.equals((list(said.mounts), dict(said.evidence)), ([], {}))

    def test_mounts(self, asking: AskedWorkspace, rule: Rule) -> None:
        """What is asked for becomes mounts with absolute paths and an origin that names the file and
        the entry. A descriptor that comes with one is O_PATH and pins its source."""
        asking.request(asking.example.asks)
        said = asking.load()
        rule.holds(said.mounts, "no mount came of it")
        for mount in said.mounts:
            rule.holds(os.path.isabs(mount.source) and os.path.isabs(mount.guest), mount)
            rule.holds(os.path.basename(asking.file) in mount.origin.where, mount.origin)
            rule.holds(mount.origin.pointer, f"{mount.origin!r} names no entry")

    def test_deterministic(
        self, mount_source_example: MountSourceExample, asking: AskedWorkspace, rule: Rule
    ) -> None:
        """The same workspace gives the same answer, also from another instance."""
        asking.request(asking.example.asks)
        first = asking.load()
        rule.equals(asking.load(), first, "the second answer")
        context = providers.context_for(mount_source_example.provider, asking.top)
        asking.source = mount_source_example.provider.create(context)
        rule.equals(asking.load(), first, "another instance's answer")

    def test_evidence(self, asking: AskedWorkspace, rule: Rule) -> None:
        """The evidence holds the bytes of every file of the workspace that was opened, as they are
        now: approval is remembered by them, so a change must show."""
        answers = []
        for content in (asking.example.asks, asking.example.asks_else):
            asking.request(content)
            with leftovers.opened_files(asking.top) as opened:
                said = asking.load()
            rule.holds(asking.file in opened, f"{asking.file} was not opened")
            for path in opened:
                with open(path, "rb") as file:
                    there = file.read() in said.evidence.values()
                rule.holds(there, f"the evidence lacks the bytes of {path}: {dict(said.evidence)!r:.500}")
            answers.append(said)
        rule.holds(answers[0].mounts != answers[1].mounts, "two different requests gave the same mounts")

    def test_malformed(self, asking: AskedWorkspace, rule: Rule) -> None:
        """Malformed input is an ArtError of one line that names the file; nothing of it is used."""
        for what, content in asking.example.malformed.items():
            asking.request(content)
            asking.refused(what)

    def test_not_a_file(self, asking: AskedWorkspace, rule: Rule) -> None:
        """A directory or a FIFO in the place of its file is an ArtError that names it, at once: a
        workspace cannot make the start of a run hang."""
        os.makedirs(asking.file)
        asking.refused("a directory")
        os.rmdir(asking.file)
        os.mkfifo(asking.file)
        failure = _in_time(lambda: asking.refused("a FIFO"), asking.file)
        if failure is not None:
            rule.broken(failure)

    def test_links_out_of_the_workspace(self, asking: AskedWorkspace, rule: Rule) -> None:
        """Its file is not followed through a symlink that leads out of the workspace, neither when
        it is one itself nor when a directory of its path is."""
        outside = os.path.join(os.path.dirname(asking.top), "outside")
        parts = asking.example.file.split("/")
        for depth in range(1, len(parts) + 1):
            link = os.path.join(asking.top, *parts[:depth])
            target = os.path.join(outside, str(depth))
            asking.write(
                os.path.join(target, *parts[depth:]) if parts[depth:] else target, asking.example.asks
            )
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(target, link)
            said = asking.say()
            if isinstance(said, MountSet):
                followed = said.mounts or asking.example.asks in said.evidence.values()
                rule.holds(not followed, f"{link} was followed to {target}")
            os.unlink(link)
            shutil.rmtree(os.path.join(asking.top, parts[0]), ignore_errors=True)

    def test_leaves_no_trace(self, asking: AskedWorkspace, rule: Rule) -> None:
        """Loading leaves nothing open but the descriptors of its mounts, starts nothing and changes
        nothing, whether it succeeds or refuses."""
        malformed = next(iter(asking.example.malformed.values()), b"")
        for content in (None, asking.example.asks, malformed):
            if content is not None:
                asking.request(content)
            tree, before = leftovers.tree(os.path.dirname(asking.top)), leftovers.state()
            with leftovers.actions() as actions:
                asking.say()
            left = leftovers.differences(before, leftovers.state())
            rule.holds(not actions, f"load() did this: {actions}")
            rule.holds(not left, f"after load() {left}")
            rule.equals(leftovers.tree(os.path.dirname(asking.top)), tree, "the workspace")

    def test_any_name(self, mount_source_example: MountSourceExample, rule: Rule, tmp_path: Any) -> None:
        """The workspace's own path may have any byte in it."""
        for name in ("with space", "-dash", os.fsdecode(b"\xff\xfe"), "new\nline"):
            asking = AskedWorkspace(
                mount_source_example, rule, f"{tmp_path}/{name}/{name}", f"{tmp_path}/state"
            )
            try:
                rule.equals(asking.load().mounts or (), (), "the mounts of an empty workspace")
                asking.request(mount_source_example.asks)
                rule.holds(asking.load().mounts, f"no mount came of the request in {asking.top!r}")
                for what, content in mount_source_example.malformed.items():
                    asking.request(content)
                    asking.refused(what)
            finally:
                asking.close()


def _in_time(function: Callable[[], None], fifo: str) -> str | None:
    """Call `function` in a thread; what it failed with, or that it hangs on the FIFO."""
    failures: list[str] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(_PATIENCE_S)
    if not thread.is_alive():
        return failures[0].partition("\nbut: ")[2] or failures[0] if failures else None
    os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))  # a reader that waits for a writer goes on
    thread.join(_PATIENCE_S)
    return f"load() still waited for a FIFO after {_PATIENCE_S:.0f} s"
