"""The contracts of ART: what a plugin provides and what the core hands to it.

A plugin is found through an entry point, answers one of the hooks in `art_core.hookspecs` with `Provider`
records, and its heavy imports sit behind `Provider.create`. There are five things to provide:

* `Isolation` turns a `Run` (what should happen) into a `Launch` (what makes it happen), and reads its end.
* `MountSource` says which host paths a workspace asks to have inside the sandbox.
* `Stores` opens databases that hold the sandbox's home (`Store`; its trees are in `art_core.trees`).
* `Tracer` runs the launched process and records its system calls.
* `Gateway` (in `art_core.gateways`) is the way out of a filtered network.

Conventions, for every contract:

* Everything is synchronous and called from one thread at a time, with no event loop running in it.
* Paths are absolute `str`, decoded with `os.fsdecode` (any byte survives); arguments and
  environments of the sandboxed command are `bytes`, as execve(2) takes them.
* A plugin raises `ArtError` for what a user can act on; an `OSError` keeps its errno; any other
  exception is reported as a failure of the plugin, with its distribution and version.
* Records are named tuples: making a dataclass costs six times as much, at every start. Fields may
  be added at the end; give them by name.
* Times are nanoseconds since the epoch, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from art_core.trees import TreeReader, TreeWriter

T_co = TypeVar("T_co", covariant=True)
CONTRACT_VERSIONS = dict.fromkeys(("store", "isolation", "mount_source", "tracer", "gateway"), 1)
"""The contract versions this core speaks; `Provider.contract` is checked before `create`."""

HOME = "/home/agent"
"""The home inside; a workspace stands in it under its name."""
MAIN = "main"
"""The branch that every database has, and that runs take unless they name one."""
INTERPRETER = "/run/art/python"
"""Where core mounts the prefix of the Python that runs ART when a mask hides it, so that an
isolation can always start a small program of its own inside."""


# --- what a plugin answers a hook with ---------------------------------------------------------


class Reason(NamedTuple):
    """Why something cannot work on this host, and the exact cure (a command or a setting)."""

    what: str
    cure: str


class Context(NamedTuple):
    """What a provider may know when it is created or probed.

    `settings` is an instance of `Provider.settings`, or None. `state_dir` and `cache_dir` belong
    to the plugin alone and may not exist yet. `uid` and `gid` are the caller's.
    """

    settings: Any
    state_dir: str
    cache_dir: str
    uid: int
    gid: int


def _no_reasons(context: Context) -> Sequence[Reason]:
    return ()


class Provider(NamedTuple, Generic[T_co]):
    """One implementation of a contract, as cheap to make as a tuple.

    `name` is what users select by. `capabilities` are the optional powers that core may ask for
    by name. `settings` is a NamedTuple or a frozen dataclass; its fields, each with a
    default, are the keys of `[plugins.NAME]`.
    `probe` says why the provider cannot work on this host; it never raises and changes nothing.
    """

    name: str
    summary: str
    contract: int
    create: Callable[[Context], T_co]
    capabilities: frozenset[str] = frozenset()
    settings: type[Any] | None = None
    probe: Callable[[Context], Sequence[Reason]] = _no_reasons


# --- the workspace and what is mounted ---------------------------------------------------------


class Workspace(NamedTuple):
    """The host directory a run is about: `path` absolute as typed (links not followed), `real` with
    every link resolved, `fd` an O_PATH descriptor that pins it. `name` is the single component under
    which it appears in the home; `moved`: it is the one that a store knows at another path."""

    name: str
    path: str
    real: str
    fd: int
    moved: bool = False


class Origin(NamedTuple):
    """Where a request was written, for messages: `where` is a file or an option, `pointer` the
    entry in it (`binds[2].host`), empty for an option."""

    where: str
    pointer: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.pointer}" if self.pointer else self.where


class Mount(NamedTuple):
    """A host file or directory (`source`, resolved) shown at `guest`.

    `fd` is an O_PATH descriptor that pins the source, so that it cannot be swapped for a symlink
    between the check and the mount; -1 where nothing was opened yet. A mount source opens what it
    has to check itself (a path that may not leave the workspace); core opens the rest, and closes all:
    an isolation gets a descriptor of everything but devices.
    `directory` says which of the two the source is, once core has opened it. `device`: it is a device
    node, or a directory of them, that the command may use.
    """

    source: str
    guest: str
    origin: Origin
    writable: bool = False
    fd: int = -1
    directory: bool = True
    device: bool = False


class MountSet(NamedTuple):
    """What one mount source asks for, and the bytes it read to know (`evidence`, by path), which
    core hashes when it remembers an approval."""

    mounts: Sequence[Mount] = ()
    evidence: Mapping[str, bytes] = {}


class MountSource(Protocol):
    """Says what a workspace wants mounted. It only reads and parses: core checks guests, pins host
    paths and asks for approval."""

    def load(self, workspace: Workspace) -> MountSet:
        """The mounts of this workspace; an empty set when it asks for none.

        Raises ArtError that names the file, the entry and the key of what is wrong.
        """


# --- isolation ---------------------------------------------------------------------------------


class Namespace(Protocol):
    """A private mount namespace that core made (for a plain user inside a user namespace)."""

    user_fd: int | None
    mnt_fd: int
    owner: tuple[int, int]
    """The uid and gid that a file has to have, in this namespace's numbers, to be the command's own."""

    def run(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> int:
        """Run a program inside, wait, and return its exit status."""

    def mount_fuse(self, name: str) -> tuple[str, int]:
        """Mount a FUSE file system; its path inside, and the descriptor that serves it (fuse(4))."""


class Worker(Protocol):
    """A process that serves a mount. It is asked to `commit`, and how often its store was `full`."""

    pidfd: int

    def ask(self, request: Mapping[str, object], timeout_s: float) -> Mapping[str, object]:
        """`{"ask": "commit"}` brings what was answered to the disk; `{"ask": "notes"}` gives `notes`,
        lines for the user at the end of a run. Raises ArtError."""

    def kill(self) -> None: ...


class Mounted(NamedTuple):
    """A mounted home: its path, the namespace it is visible in (None: the host's own), the process
    that serves it (None: the kernel), and what the user should know."""

    path: str
    namespace: Namespace | None
    worker: Worker | None
    notes: Sequence[str] = ()


class GuestFile(NamedTuple):
    """A file that exists only inside, read-only; with `contents` None an empty directory, whose
    `mode` wants to be 0o755."""

    guest: str
    contents: bytes | None
    mode: int = 0o644


Network = Literal["host", "none", "filtered"]


class Run(NamedTuple):
    """Everything an isolation has to bring about.

    Inside, `/` is the host's root, read-only; `/tmp` a writable tmpfs of its own; `home` stands at
    `/home/agent` (None: a tmpfs). Then, in this order, each winning over what came before it:
    `masks` (host paths that must not be seen: a directory appears empty, a file is absent, also
    when the host renames over it later), `mounts` in the order given, and `files`.
    Missing parents of a guest path are made, never in a host directory.
    `uid` and `gid` are the ids the command sees as its own. `terminal` says that descriptor 0 is
    a terminal that the command's session shall own. `nested` keeps user namespaces allowed inside.
    `listen`, `listen_fd`: see `art_core.gateways`. `rlimits` (setrlimit(2)) hold for the command alone.
    `seeds_fd` is an archive of what a home that is a tmpfs begins with (`art_core.lending.seed_archive`).
    `filters` are programs for seccomp(2) that the command gets as well (`art_core.host.bpf`).
    `commands_fd`, where it is not -1, is a socket on which commands come while the sandbox stays open; then
    there is no `argv`: process 1 inside is `art_core.inside.commands`, which says what that means.
    """

    argv: Sequence[bytes]
    env: Mapping[bytes, bytes]
    cwd: str
    uid: int
    gid: int
    home: Mounted | None = None
    mounts: Sequence[Mount] = ()
    masks: Sequence[str] = ()
    files: Sequence[GuestFile] = ()
    network: Network = "host"
    terminal: bool = False
    nested: bool = False
    listen: Sequence[int] = ()
    listen_fd: int = -1
    rlimits: Sequence[tuple[int, int]] = ()
    seeds_fd: int = -1
    filters: Sequence[bytes] = ()
    commands_fd: int = -1


class Launch(NamedTuple):
    """The program that brings a `Run` about, and the descriptors it needs.

    The launcher executes `argv` with `env` and nothing else open than 0, 1 (the command's), 2
    (diagnostics of the isolation itself) and the numbers below:

    * `files`: descriptor number -> its contents (given as a sealed memfd at offset 0) or an open
      descriptor to duplicate;
    * `stderr_fd`: where the command's standard error is handed in;
    * `report_fds`: numbers of one SOCK_SEQPACKET socket on which the isolation reports JSON
      objects: from the launched process itself `{"child-pid": N}` (host numbering; killing it ends
      the sandbox) and `{"exit-code": N}`; from the process that becomes the command
      `{"exec": true}` right before it executes and `{"exec-errno": N}` when that failed. It closes
      when the command runs.

    `enter` is a namespace to be in first. `execs` counts the programs that are executed, one by
    the other, before the command is: the launched one itself and those it becomes or starts on the way
    to it. `shown` is the command line for people to read, with
    what `argv` hands over by descriptors written out.
    """

    argv: Sequence[str]
    env: Mapping[bytes, bytes]
    files: Mapping[int, bytes | int]
    stderr_fd: int
    report_fds: Sequence[int]
    enter: Namespace | None = None
    shown: Sequence[str] = ()
    execs: int = 1


class Exit(NamedTuple):
    """How a run ended: the exit status for the user, by whom it was decided, and why in words."""

    code: int
    by: Literal["command", "signal", "exec", "isolation", "tracer", "limit"]
    why: str = ""


class Isolation(Protocol):
    """Keeps a command apart from the host. Capabilities: `mounts`, `masks`, `pidns`, `terminal`,
    `network-none`, `network-filtered`, `nested`, `rlimits`, `filters`, `seeds`, `devices`, `commands`."""

    def plan(self, run: Run) -> Launch:
        """How to bring `run` about. Pure: it looks at the host only through what the isolation
        was created with, starts nothing and opens nothing."""

    def exit(self, status: int, report: Sequence[Mapping[str, object]], diagnostics: bytes) -> Exit:
        """What a wait status (as waitpid(2) gives it) of the launched process means, with all
        objects that were reported and what the isolation printed."""


# --- stores ------------------------------------------------------------------------------------


class Store(Protocol):
    """One open database. Capabilities of its homes: `durable`, what was synced outlives the worker; `live`,
    what is done is in the database while the home is mounted, and not only at the end; `numbers`, a file has
    the same inode number the next time; `renames`, a directory of the host is renamed in one step."""

    def hidden(self) -> Sequence[str]:
        """Host paths that the sandbox must not see: the database and its companions. No transfer writes
        them; a store whose databases are files names others of its kind by
        `art_core.store.companions`, too."""

    def snapshot(self, branch: str, name: str) -> object:
        """Keep a branch as it is now, under a name. Raises StoreError. More points in time: see
        `art_core.store.history`, a capability; so are `files` and `maintenance` beside it."""

    def mount(
        self,
        branch: str,
        workspace: Workspace,
        make_namespace: Callable[[], Namespace],
        growth: int = 0,
        seeds: Sequence[Mount] = (),
        shares: Sequence[Mount] = (),
    ) -> AbstractContextManager[Mounted]:
        """With `growth` (a capability) it takes that much more at most; the worker tells when `full`.

        `seeds` (a capability) are host files and directories that show through at their guest paths in the
        home, as the workspace does, and are never written. `shares` (a capability) are files of the host
        that are read and written themselves, also when a program replaces one by renaming; nothing
        beside them is. The descriptors stay the caller's.
        """

    def reader(self, at: str, workspace: Workspace) -> AbstractContextManager[TreeReader]:
        """`at` names a branch, as it is now, or a snapshot."""

    def writer(self, branch: str, workspace: Workspace) -> AbstractContextManager[TreeWriter]: ...

    def close(self) -> None: ...


class Stores(Protocol):
    """Opens stores of one kind."""

    def claims(self, locator: str) -> bool:
        """Whether `locator`, as typed after `--db`, is of this kind. Opens nothing."""

    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> Store: ...


# --- tracers -----------------------------------------------------------------------------------


class TraceRequest(NamedTuple):
    """What to record: `syscalls`, names and classes as the user gave them (empty: all of them).
    `summary`: count the calls instead of listing them."""

    syscalls: Sequence[str] = ()
    format: Literal["text", "jsonl"] = "text"
    summary: bool = False


class Child(Protocol):
    """A process that was forked and waits to execute a `Launch`: seize it, then `release` it.

    The record goes to the descriptor `out_fd`. `execs` is the `Launch`'s: what was executed so often before
    is the isolation's own and no part of the record. `end` kills the process and with it the sandbox.
    """

    pid: int
    out_fd: int
    execs: int

    def release(self) -> None: ...

    def end(self) -> None: ...


class Tracer(Protocol):
    """Records the system calls of a command, and of all that it starts. Capabilities: `jsonl`, `summary`,
    `classes` (`%file` among the calls to record), `agent` (the preset of that name), `commands`: in a sandbox
    that stays open, what the isolation forks later is no part of the record until it executes a program.

    It is created twice: in the supervisor, which asks for the filters before anything is started, and
    in a fresh process that becomes the parent of the launched one and does nothing else. What is traced
    ends with that process, so nothing goes on unseen.
    """

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        """Programs for seccomp(2) that the command has to be given. Pure. Raises ArtError for what cannot
        be recorded: a call that does not exist, with the nearest ones that do."""

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        """Start the launched process with `spawn`, once, and trace it until it ended and the record is
        complete; return its wait status. The record is written in whole lines.

        It is called while the run is still planned, and `spawn` waits for the plan: load and prepare
        before it what takes time."""
