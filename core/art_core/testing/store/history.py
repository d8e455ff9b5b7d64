"""Rules of the capability `history`: branches, snapshots, going back, and the log of what ran."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from art_core.store.history import Ending, HistoryStore, NameTaken, Opening
from art_core.testing.rules import Rule, requires
from art_core.testing.store.trees import contents, file

if TYPE_CHECKING:
    from art_core.testing.store.case import KeptStore


def _put(kept: KeptStore, branch: str = "main", **files: bytes) -> None:
    with kept.writer(branch) as tree:
        for name, content in files.items():
            entry, blocks = file(name.encode(), content)
            tree.put(entry, iter(blocks))
        tree.commit()


def _shown(kept: KeptStore, at: str) -> dict[bytes, bytes]:
    """What a point has of the workspace."""
    with kept.reader(at) as tree:
        return {entry.path: contents(tree, entry) for entry in tree.walk()}


class PointRules:
    @requires("history")
    def test_points(self, rule: Rule, kept: KeptStore) -> None:
        """A snapshot stays as it was, and a branch that goes on from a point changes nothing there. Both are
        told, the oldest first, with their kind, their branch and where they are from; a name that was taken
        away is told no more, and can be had again."""
        _put(kept, one=b"1")
        with kept.store("write") as opened:
            store = cast(HistoryStore, opened)
            store.snapshot("main", "kept", "why")
            store.make_branch("other", "kept")
        _put(kept, one=b"2", two=b"2")
        _put(kept, "other", three=b"3")
        first = {b"one": b"1"}
        rule.equals(_shown(kept, "kept"), first, "the snapshot")
        rule.equals(_shown(kept, "main"), {b"one": b"2", b"two": b"2"}, "the branch it was taken of")
        rule.equals(_shown(kept, "other"), {**first, b"three": b"3"}, "the branch that goes on from it")
        with kept.store("write") as opened:
            store = cast(HistoryStore, opened)
            told = [(point.name, point.kind, point.branch, point.note) for point in store.points()]
            expected = [("main", "branch", "main", ""), ("kept", "snapshot", "main", "why")]
            rule.equals(told, [*expected, ("other", "branch", "other", "")], "the points")
            rule.equals([point.parent for point in store.points()][2], "kept", "what the branch is from")
            times = [point.created_ns for point in store.points()]
            rule.equals(times, sorted(times), "their times")
            rule.equals(store.remove("kept").name, "kept", "what was removed")
            rule.equals([point.name for point in store.points()], ["main", "other"], "afterwards")
            store.snapshot("main", "kept")
        rule.equals(_shown(kept, "other"), {**first, b"three": b"3"}, "the branch, without its snapshot")
        rule.equals(_shown(kept, "kept"), {b"one": b"2", b"two": b"2"}, "the new snapshot")

    @requires("history")
    def test_names_of_points(self, rule: Rule, kept: KeptStore) -> None:
        """A name that is taken, by a branch or a snapshot, is refused as taken, one that is not there by its
        name, and so is the last branch's removal."""
        _put(kept, one=b"1")
        with kept.store("write") as opened:
            store = cast(HistoryStore, opened)
            store.snapshot("main", "kept")
            for name in ("main", "kept"):
                makers = {
                    "a snapshot": partial(store.snapshot, "main", name),
                    "a branch": partial(store.make_branch, name, "main"),
                }
                for what, make in makers.items():
                    try:
                        make()
                    except NameTaken:
                        continue
                    except Exception as error:
                        rule.broken(f"{what} of the name {name!r} raised {error!r}")
                    rule.broken(f"{what} took the name {name!r} of another")
            for refused in (
                lambda: store.snapshot("nowhere", "new"),
                lambda: store.make_branch("new", "nowhere"),
                lambda: store.remove("nowhere"),
            ):
                said = kept.refused(refused)
                rule.holds("nowhere" in said, f"the refusal is {said!r}")
            kept.refused(lambda: store.remove("main"))
            rule.equals([point.name for point in store.points()], ["main", "kept"], "the points then")

    @requires("history")
    def test_restore(self, rule: Rule, kept: KeptStore) -> None:
        """A branch that is put back has what the point has and nothing else; with paths only those are put
        back. What it had before is in the snapshot that is returned. A branch that somebody has open is
        refused."""
        _put(kept, one=b"1", two=b"1")
        with kept.store("write") as opened:
            cast(HistoryStore, opened).snapshot("main", "kept")
        _put(kept, one=b"2", two=b"2", three=b"2")
        changed = {b"one": b"2", b"two": b"2", b"three": b"2"}
        with kept.store("write") as opened, kept.workspace() as workspace:
            before = cast(HistoryStore, opened).restore("main", "kept", [b"workspace/one"], workspace)
        rule.equals(_shown(kept, "main"), {**changed, b"one": b"1"}, "with one path put back")
        rule.equals(_shown(kept, before.name), changed, "the snapshot of what was there before")
        with kept.store("write") as opened, kept.workspace() as workspace:
            cast(HistoryStore, opened).restore("main", "kept", [], workspace)
        rule.equals(_shown(kept, "main"), {b"one": b"1", b"two": b"1"}, "with all put back")
        rule.equals(_shown(kept, "kept"), {b"one": b"1", b"two": b"1"}, "the point")
        with kept.home(), kept.store("write") as opened, kept.workspace() as workspace:
            store = cast(HistoryStore, opened)
            kept.refused(lambda: store.restore("main", "kept", [], workspace))

    @requires("history", "live")
    def test_snapshot_of_a_run(self, rule: Rule, kept: KeptStore) -> None:
        """A snapshot that is taken while a home is mounted has what was done until then, and nothing that is
        done afterwards, though the home goes on."""
        _put(kept)
        with kept.home() as home:
            home.do(lambda path: _write(f"{path}/workspace/early"))
            with kept.store("write") as opened:
                cast(HistoryStore, opened).snapshot("main", "amid")
            home.do(lambda path: _write(f"{path}/workspace/late"))
        rule.equals(sorted(_shown(kept, "amid")), [b"early"], "the snapshot")
        rule.equals(sorted(_shown(kept, "main")), [b"early", b"late"], "the branch")

    @requires("history", "live")
    def test_log_of_a_run(self, rule: Rule, kept: KeptStore) -> None:
        """The log tells which commands run and which have ended while the home is still mounted, and how many
        names each changed."""
        with kept.home() as home:
            begun = home.tell({"ask": "begin", **Opening(["true"])._asdict()})
            home.do(lambda path: _write(f"{path}/workspace/one"))
            home.tell({"ask": "ended", "id": begun["id"], **Ending(0, [])._asdict()})
            home.tell({"ask": "begin", **Opening(["sleep"])._asdict()})
            with kept.store("write") as opened:
                found = [(session.state, session.files) for session in cast(HistoryStore, opened).sessions()]
        rule.equals(found, [("ended", 1), ("running", None)], "the states and numbers")

    @requires("history")
    def test_log(self, rule: Rule, kept: KeptStore) -> None:
        """The worker of a home takes down which commands ran, and how each ended; one whose end was never
        told was killed. A snapshot that is asked for is taken before."""
        argv = ["sh", "-c", "ünd so weiter"]
        with kept.home() as home:
            begun = home.tell({"ask": "begin", **Opening(argv, "/log", True)._asdict()})
            home.do(lambda path: _write(f"{path}/workspace/one"))
            home.tell({"ask": "ended", "id": begun["id"], **Ending(3, ["a note"])._asdict()})
            home.tell({"ask": "begin", **Opening(["sleep"])._asdict()})
        with kept.store("write") as opened:
            store = cast(HistoryStore, opened)
            first, second = store.sessions()
            rule.equals([*first.argv], argv, "the command")
            found = (first.id, first.status, first.state, first.trace, [*first.notes])
            rule.equals(found, (begun["id"], 3, "ended", "/log", ["a note"]), "the session")
            rule.equals((first.branch, first.before), ("main", begun["before"]), "its branch and snapshot")
            rule.holds(first.ended_ns and first.started_ns <= first.ended_ns, f"its times: {first}")
            rule.equals((second.status, second.state, second.before), (None, "killed", ""), "the other")
        rule.equals(_shown(kept, first.before), {}, "the snapshot before it")


def _write(path: str) -> None:
    with open(path, "x") as file:
        file.write("made")
