"""What `art push` and `art pull` have in common: opening both sides, and telling what was done."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, NamedTuple

from art_cli.output.console import complain, note, printable
from art_cli.output.progress import Progress
from art_cli.stores.opener import sides
from art_core.autorun.rules import is_instruction
from art_core.config import dirs
from art_core.contracts import MAIN, Store, Stores, Workspace
from art_core.transfer.transfer import Action, Totals
from art_core.trees import Entry
from art_core.view import known_databases
from art_core.view.workspace import absolute, open_workspace

_MOMENT_S = 1.0
"""How long the entry that is being carried may take when a signal came."""
_SHOWN_OF_A_KIND = 3
"""How many paths of one directory are printed that are skipped for the same reason."""
_SHOWN_OF_INSTRUCTIONS = 10


class TransferPrinter:
    """Prints what a transfer does. `line` makes an entry's line for people."""

    def __init__(
        self,
        verb: str,
        line: Callable[[str, Entry | None, str], str],
        *,
        verbose: bool,
        quiet: bool,
        as_json: bool,
    ) -> None:
        self._line = line
        self._progress = Progress(verb, wanted=not as_json)
        self.ending = 0
        """The exit status when a signal came that ends the transfer."""
        self.asking = False
        """Whether the user is asked something, so that a signal ends it at once."""
        self.workspace = ""
        """Its name, once both sides are open."""
        self.clear = self._progress.clear
        self._verbose = verbose
        self._quiet = quiet
        self._json = as_json
        self._skips = _Skips()
        self.instructions: list[str] = []
        """What was carried and is read by agents as instructions."""

    def heading(self, *lines: str) -> None:
        if not self._quiet and not self._json:
            for line in lines:
                print(printable(line))

    def moved(self, size: int) -> None:
        self._progress.moved(size)
        self._end()

    def _end(self) -> None:
        if self.ending:
            raise SystemExit(self.ending)

    def report(self, action: Action, path: bytes, entry: Entry | None, why: str) -> None:
        self._progress.entry(path)
        name = os.fsdecode(path)
        if self._json:
            self._as_json(action, path, entry, why)
        elif not self._verbose and (action == "SAME" or (action == "SKIP" and self._skips.has(name, why))):
            pass
        elif action in ("CONFLICT", "SKIP", "FAIL"):
            self._complain(f"{action} {printable(name)}: {printable(why)}")
        elif not self._quiet:
            self._complain(*self._skips.ended())
            self.clear()
            print(printable(f"{action:<4} {self._line(name, entry, action)}"))
        if action in ("FILE", "LINK") and is_instruction(name):
            self.instructions.append(name)
        self._end()

    def _complain(self, *lines: str) -> None:
        for line in (*self._skips.ended(), *lines):
            sys.stdout.flush()
            self.clear()
            print(line, file=sys.stderr)

    def _as_json(self, action: Action, path: bytes, entry: Entry | None, why: str) -> None:
        if action == "SAME" and not self._verbose:
            return
        said: dict[str, object] = {"action": action.lower(), "path": os.fsdecode(path)}
        if entry is not None:
            said |= {"kind": entry.kind, "size": entry.size, "ino": entry.ino}
        if why:
            said["why"] = why
        print(json.dumps(said))

    def ended(self, verb: str, totals: Totals, *, dry_run: bool = False) -> int:
        """Print what it came to; the exit status."""
        done = "would be " if dry_run else ""
        words = [f"{totals.carried} {done}{verb} ({totals.size} bytes)", f"{totals.removed} {done}removed"]
        words += [f"{totals.same} unchanged"]
        words += [f"{totals.left} not taken"] * bool(totals.left)
        words += [f"{totals.skipped} skipped"] * bool(totals.skipped)
        words += [f"{totals.conflicts} in conflict"] * bool(totals.conflicts)
        words += [f"{totals.failed} failed"] * bool(totals.failed)
        self._skips.finish()
        self._complain()
        sys.stdout.flush()
        print("art: " + ", ".join(words), file=sys.stderr)
        if verb == "pulled" and self.instructions:
            shown = [printable(name) for name in self.instructions[:_SHOWN_OF_INSTRUCTIONS]]
            more = len(self.instructions) - len(shown)
            shown += [f"and {more} more"] * bool(more)
            print(f"art: agents read these as instructions: {', '.join(shown)}", file=sys.stderr)
        if totals.conflicts and dry_run:
            complain("conflicts would be left alone; --force would let this side win")
        elif totals.conflicts:
            complain("conflicts were left alone; --force lets this side win")
        return 1 if totals.conflicts or totals.failed else 0


class _Skips:
    """Knows which of the paths that are skipped need no line of their own: the many of one directory."""

    def __init__(self) -> None:
        self._why = self._top = ""
        self._printed = self._more = 0
        self._ending: list[str] = []

    def has(self, path: str, why: str) -> bool:
        """Whether enough of its kind were printed; else it is counted as printed."""
        if not (why == self._why and path.startswith(self._top)):
            self.finish()
            above = path.rpartition("/")[0] or path
            self._why, self._top, self._printed = why, f"{above}/", 0
        if self._printed == _SHOWN_OF_A_KIND:
            self._more += 1
            return True
        self._printed += 1
        return False

    def finish(self) -> None:
        """No more is skipped."""
        if self._more:
            self._ending.append(f"SKIP {printable(self._top)}: and {self._more} more, for the same reason")
            self._more = 0
        self._why = ""

    def ended(self) -> list[str]:
        """Lines about what was not printed, once the next path is another."""
        lines, self._ending = self._ending, []
        return lines


class BothSides(NamedTuple):
    """What a transfer goes between. `anew`: the host's directory was made for it."""

    store: Store
    branch: str
    workspace: Workspace
    anew: bool


@contextmanager
def both_sides(
    options: Mapping[str, Any],
    telling: TransferPrinter,
    heading: str,
    *,
    mode: Literal["write", "create"],
    make: bool = False,
) -> Iterator[BothSides]:
    """The store and the workspace that the options name, open. `mode` is how the store is opened; `make`
    makes a host directory that is missing. What fails inside is told as the plugin's failure."""
    settings, plugins, directory, locator = sides(options)
    anew = make and not os.path.lexists(absolute(directory))
    if anew:
        os.makedirs(absolute(directory))
    name = options.get("store") or settings.store
    with plugins.guard("store", name), ExitStack() as opening:
        stores: Stores = plugins.create("store", name)
        store = stores.open(locator, mode)
        opening.callback(store.close)
        for line in known_databases.remember(dirs.state_dir(os.environ), store.hidden()):
            note(line)
        defaults = settings.for_workspace(absolute(directory))
        named = options.get("name") or defaults.name
        workspace = open_workspace(directory, name=named, moved=bool(options.get("moved")))
        opening.callback(os.close, workspace.fd)
        opening.callback(telling.clear)
        telling.workspace = workspace.name
        with _signals(telling), opening.pop_all():
            telling.heading(f"Workspace name: {workspace.name}", f"{heading}: /{workspace.name}/")
            yield BothSides(store, options.get("branch") or MAIN, workspace, anew)


@contextmanager
def _signals(telling: TransferPrinter) -> Iterator[None]:
    """An interrupt, SIGTERM and SIGHUP end a transfer after the entry that is being carried, or a moment
    later; what was carried is remembered. A second one ends it at once."""

    def end(number: int, _: object) -> None:
        if telling.ending or telling.asking:
            raise SystemExit(telling.ending or 128 + number)
        if number != signal.SIGALRM:
            telling.ending = 128 + number
            signal.setitimer(signal.ITIMER_REAL, _MOMENT_S)

    before = {
        number: signal.signal(number, end)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        if signal.getsignal(number) != signal.SIG_IGN  # nohup(1) has one ignored.
    }
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
