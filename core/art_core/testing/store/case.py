"""A store under test: one that the kit makes, its workspace, and its mounted homes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from art_core.contracts import Mounted, Namespace, Provider, Store, Stores, Workspace
from art_core.errors import ArtError
from art_core.host import kernel
from art_core.launch.namespace import PrivateNamespace
from art_core.store.files import Files
from art_core.testing import providers
from art_core.testing.rules import Rule
from art_core.trees import TreeReader, TreeWriter
from art_core.view.workspace import open_workspace

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreExample:
    """A provider, and how its stores are named: `locator` makes the locator of a store that does not
    exist yet, from a directory of the kit's that it may use."""

    provider: Provider[Stores]
    locator: Callable[[str], str]


class Home:
    """A mounted home, and work in it."""

    def __init__(self, mounted: Mounted, rule: Rule) -> None:
        self.mounted = mounted
        self._rule = rule

    def ask(self, request: str) -> Mapping[str, Any]:
        """Ask the worker of the home."""
        return self.tell({"ask": request})

    def tell(self, request: Mapping[str, object]) -> Mapping[str, Any]:
        """The same, with more than a word."""
        assert self.mounted.worker is not None
        return self.mounted.worker.ask(request, 30.0)

    def do(self, work: Callable[[str], _Result]) -> _Result:
        """Work in the namespace of the home, in a process of its own: nobody else may look into the
        user namespace of a plain user. `work` is given the path of the home; what it returns has to
        be fit for pickle; what it raises breaks the rule."""
        end, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._enter()
                answer = (None, work(self.mounted.path))
            except BaseException as error:
                answer = (error, None)  # type: ignore[assignment]
            with os.fdopen(theirs, "wb") as file:
                pickle.dump(answer, file)
            os._exit(0)
        os.close(theirs)
        with os.fdopen(end, "rb") as file:
            content = file.read()
        os.waitpid(pid, 0)
        failure, result = pickle.loads(content)
        if failure is not None:
            self._rule.broken(f"in the home: {failure!r}")
        done: _Result = result
        return done

    def _enter(self) -> None:
        namespace = self.mounted.namespace
        if namespace is not None:
            if namespace.user_fd is not None:
                kernel.enter(namespace.user_fd, kernel.CLONE_NEWUSER)
            kernel.enter(namespace.mnt_fd, kernel.CLONE_NEWNS)


class KeptStore:
    """A store that the kit makes, and a workspace of the host."""

    def __init__(self, example: StoreExample, rule: Rule, place: str, state: str) -> None:
        self.rule = rule
        self.place = place
        self.locator = example.locator(place)
        self.stores = example.provider.create(providers.context_for(example.provider, state))
        self.host = f"{place}/workspace"
        os.mkdir(self.host)

    @contextmanager
    def store(self, mode: Literal["read", "write", "create"] = "create") -> Iterator[Store]:
        opened = self.stores.open(self.locator, mode)
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        opened = open_workspace(self.host)
        try:
            yield opened
        finally:
            os.close(opened.fd)

    @contextmanager
    def reader(self, at: str = "main") -> Iterator[TreeReader]:
        with (
            self.store("write") as store,
            self.workspace() as workspace,
            store.reader(at, workspace) as tree,
        ):
            yield tree

    @contextmanager
    def writer(self, branch: str = "main") -> Iterator[TreeWriter]:
        with (
            self.store() as store,
            self.workspace() as workspace,
            store.writer(branch, workspace) as tree,
        ):
            yield tree

    @contextmanager
    def home(self, branch: str = "main", **lent: Any) -> Iterator[Home]:
        """A mounted home; `lent` is what `Store.mount` takes besides."""
        with (
            _namespaces() as make,
            self.store() as store,
            self.workspace() as workspace,
            store.mount(branch, workspace, make, **lent) as mounted,
        ):
            yield Home(mounted, self.rule)

    @contextmanager
    def view(self, *, read_only: bool) -> Iterator[Home]:
        """A home that is mounted without a sandbox, and without the host's directory."""
        with (
            _namespaces() as make,
            self.store() as store,
            cast(Files, store).view("main", None, make, read_only=read_only) as mounted,
        ):
            yield Home(mounted, self.rule)

    def write(self, name: str, content: bytes = b"host") -> str:
        """A file of the host's workspace."""
        path = f"{self.host}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def refused(self, action: Callable[[], object]) -> str:
        """The sentence with which the store refuses; anything else breaks the rule."""
        try:
            action()
        except ArtError as error:
            said = str(error)
            self.rule.holds(said.strip() and "\n" not in said, f"the refusal is {said!r}")
            return said
        except Exception as error:
            self.rule.broken(f"it raised {error!r}")
        else:
            self.rule.broken("it was not refused")


@contextmanager
def _namespaces() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces, which are gone afterwards."""
    with ExitStack() as made:

        def make() -> Namespace:
            namespace = PrivateNamespace((os.getuid(), os.getgid()))
            made.callback(namespace.close)
            return namespace

        yield make
