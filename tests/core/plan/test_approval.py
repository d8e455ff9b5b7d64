"""Approval by content: what is remembered, and what asks again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.contracts import Mount, Origin, Workspace
from art_core.errors import ApprovalNeeded, ArtError
from art_core.plan.approval import Approvals, question, settle
from art_core.view.mounts import Grant
from art_core.view.workspace import open_workspace

EVIDENCE = {"/ws/.art/config/binds.json": b"{}"}


def grant(
    source: str = "/srv/data", guest: str = "/data", *, writable: bool = True, origin: str = "f"
) -> Grant:
    mount = Mount(source=source, guest=guest, writable=writable, origin=Origin(origin))
    return Grant(mount, "writes to the host")


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "ws").mkdir()
    space = open_workspace(str(tmp_path / "ws"))
    yield space
    os.close(space.fd)


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(str(tmp_path / "state"))


def never(question: str) -> bool:
    raise AssertionError("asked")


def test_nothing_to_grant_asks_nothing(ws: Workspace, approvals: Approvals) -> None:
    settle(approvals, ws, EVIDENCE, [], mode="ask", ask=never)


def test_without_anyone_to_ask_it_is_refused_with_the_command(ws: Workspace, approvals: Approvals) -> None:
    with pytest.raises(ApprovalNeeded, match=rf"/srv/data at /data, read-write.*art trust -m {ws.path}$"):
        settle(approvals, ws, EVIDENCE, [grant()], mode="refuse")


def test_more_than_one_is_counted(ws: Workspace, approvals: Approvals) -> None:
    with pytest.raises(ApprovalNeeded, match=r"\(and 1 more\)"):
        settle(approvals, ws, EVIDENCE, [grant(), grant("/srv/b", "/b")], mode="refuse")


def test_a_typed_bind_is_approved_by_an_option(ws: Workspace, approvals: Approvals) -> None:
    with pytest.raises(ApprovalNeeded, match=r"to approve: --trust-binds$"):
        settle(approvals, ws, {}, [grant(origin="--bind x")], mode="refuse")


def test_a_no_is_a_refusal(ws: Workspace, approvals: Approvals) -> None:
    with pytest.raises(ApprovalNeeded):
        settle(approvals, ws, EVIDENCE, [grant()], mode="ask", ask=lambda text: False)


def test_a_yes_is_remembered(ws: Workspace, approvals: Approvals) -> None:
    settle(approvals, ws, EVIDENCE, [grant()], mode="ask", ask=lambda text: True)
    settle(approvals, ws, EVIDENCE, [grant()], mode="refuse")


def test_trust_for_one_run_is_not_remembered(ws: Workspace, approvals: Approvals) -> None:
    settle(approvals, ws, EVIDENCE, [grant()], mode="trust")
    with pytest.raises(ApprovalNeeded):
        settle(approvals, ws, EVIDENCE, [grant()], mode="refuse")


@pytest.mark.parametrize("changed", ["content", "path", "target", "guest", "mode", "more"])
def test_any_change_asks_again(changed: str, ws: Workspace, approvals: Approvals) -> None:
    approvals.record(ws, EVIDENCE, [grant()])
    evidence, grants = dict(EVIDENCE), [grant()]
    match changed:
        case "content":
            evidence = dict.fromkeys(evidence, b"{ }")
        case "path":
            evidence = {"/elsewhere": b"{}"}
        case "target":
            grants = [grant("/srv/other")]
        case "guest":
            grants = [grant(guest="/other")]
        case "mode":
            grants = [grant(writable=False)]
        case "more":
            grants = [grant(), grant("/srv/b", "/b")]
    assert not approvals.holds(ws, evidence, grants)
    assert approvals.holds(ws, EVIDENCE, [grant()])


def test_the_order_of_grants_does_not_matter(ws: Workspace, approvals: Approvals) -> None:
    approvals.record(ws, EVIDENCE, [grant("/a", "/1"), grant("/b", "/2")])
    assert approvals.holds(ws, EVIDENCE, [grant("/b", "/2"), grant("/a", "/1")])


def test_fields_cannot_run_into_each_other(ws: Workspace, approvals: Approvals) -> None:
    approvals.record(ws, {"a": b"b"}, [grant()])
    assert not approvals.holds(ws, {"ab": b""}, [grant()])


def test_another_workspace_is_another_approval(ws: Workspace, approvals: Approvals, tmp_path: Path) -> None:
    approvals.record(ws, EVIDENCE, [grant()])
    (tmp_path / "other").mkdir()
    other = open_workspace(str(tmp_path / "other"))
    assert not approvals.holds(other, EVIDENCE, [grant()])
    os.close(other.fd)


def test_records_are_the_users_alone(ws: Workspace, approvals: Approvals, tmp_path: Path) -> None:
    approvals.record(ws, EVIDENCE, [grant()])
    directory = tmp_path / "state/approvals"
    (file,) = directory.iterdir()
    assert (directory.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.parametrize("spoilt", ["", "[]", "{}", '{"format": 1}', "\0", '{"format": 2, "workspace": "x"}'])
def test_a_spoilt_record_is_no_approval(
    spoilt: str, ws: Workspace, approvals: Approvals, tmp_path: Path
) -> None:
    approvals.record(ws, EVIDENCE, [grant()])
    (file,) = (tmp_path / "state/approvals").iterdir()
    file.write_text(spoilt)
    assert not approvals.holds(ws, EVIDENCE, [grant()])
    assert approvals.listing() == []


def test_an_approval_can_be_taken_back(ws: Workspace, approvals: Approvals) -> None:
    assert not approvals.forget(ws)
    approvals.record(ws, EVIDENCE, [grant()])
    assert [record["workspace"] for record in approvals.listing()] == [ws.real]
    assert approvals.forget(ws)
    assert not approvals.holds(ws, EVIDENCE, [grant()])


def test_a_place_that_cannot_be_written_is_told_with_a_cure(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtError, match=r"cannot be kept in .*approve for one run with --trust-binds"):
        Approvals(str(tmp_path / "file")).record(ws, EVIDENCE, [grant()])


def test_the_question_lists_everything(ws: Workspace) -> None:
    text = question(ws, [grant(), grant("/srv/b", "/b", writable=False)])
    assert "/srv/data at /data, read-write" in text
    assert "/srv/b at /b, read-only" in text


def test_a_record_says_what_was_approved(ws: Workspace, approvals: Approvals, tmp_path: Path) -> None:
    approvals.record(ws, EVIDENCE, [grant()])
    (file,) = (tmp_path / "state/approvals").iterdir()
    assert json.loads(file.read_text())["grants"] == [str(grant())]


def test_a_workspace_writes_no_line_of_the_question(ws: Workspace) -> None:
    forged = "/d" + "\n" * 60 + "  /usr/share/doc at /doc, read-only: nothing"
    text = question(ws, [grant("/home/me/.ssh", forged)])
    assert len(text.splitlines()) == 3
    assert "/d\\n\\n" in text
