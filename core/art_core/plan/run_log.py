"""A run in the log of its store: what was started, how it ended, and what should be known of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from art_core.contracts import Exit, Worker
from art_core.errors import ArtError, StoreError
from art_core.store.history import Ending, Opening

_ANSWER_S = 30.0
_LONGEST = 4096
_MOST_WORDS = 200
_MOST_NOTES = 100
_KEPT_NOTE = 300
"""A request is one packet: what is longer is cut."""


class LoggedRun:
    """One session. A store that cannot take it down does not keep a command from running."""

    def __init__(self, worker: Worker, argv: Sequence[bytes], trace: str, *, snapshot: bool) -> None:
        """Raises StoreError when a snapshot was asked for and could not be taken."""
        self._worker = worker
        self._id: object = None
        self.notes: list[str] = []
        """What the user should know."""
        opening = Opening(_shortened([os.fsdecode(word) for word in argv]), trace, snapshot)
        begun = self._ask("begin", opening._asdict())
        self._id = begun.get("id")
        if begun.get("before"):
            self.notes.append(f"snapshot {begun['before']} has the state before this run")
        elif snapshot:
            raise StoreError(f"--snapshot: none could be taken; {', '.join(self.notes)}")

    def ended(self, exit: Exit, notes: Sequence[str]) -> None:
        """Raises nothing: a worker that died is told of elsewhere."""
        if self._id is None:
            return
        said = [exit.why] if exit.by in ("limit", "isolation", "tracer") and exit.why else []
        distinct = list(dict.fromkeys([*said, *notes]))
        if len(distinct) > _MOST_NOTES:
            distinct[_MOST_NOTES:] = [f"and {len(distinct) - _MOST_NOTES} more"]
        ending = Ending(exit.code, [note[:_KEPT_NOTE] for note in distinct])
        self._ask("ended", {"id": self._id, **ending._asdict()})

    def _ask(self, what: str, about: Mapping[str, object]) -> Mapping[str, object]:
        try:
            answer = self._worker.ask({"ask": what, **about}, _ANSWER_S)
        except (ArtError, OSError):
            return {}
        if "failed" in answer:
            self.notes.append(str(answer["failed"]))
        return answer


def _shortened(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    room = _LONGEST
    for word in words[:_MOST_WORDS]:
        kept.append(word if len(word) <= room else f"{word[:room]}...")
        room -= len(word)
        if room <= 0:
            break
    if len(kept) < len(words):
        kept.append("...")
    return kept
