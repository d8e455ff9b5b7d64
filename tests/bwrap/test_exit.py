"""What the end of bwrap means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.bwrap.machine import isolation

EXEC = {"exec": True}


def exit_status(code: int) -> int:
    return code << 8


@pytest.mark.parametrize(
    ("status", "report", "code", "by"),
    [
        (exit_status(0), [EXEC, {"exit-code": 0}], 0, "command"),
        (exit_status(7), [EXEC, {"exit-code": 7}], 7, "command"),
        (exit_status(1), [EXEC, {"exit-code": 1}], 1, "command"),
        (exit_status(125), [EXEC, {"exit-code": 125}], 125, "command"),
        (exit_status(139), [EXEC, {"exit-code": 139}], 139, "signal"),
        (exit_status(255), [EXEC, {"exit-code": 255}], 255, "command"),
        (9, [EXEC], 137, "signal"),
        (exit_status(127), [EXEC, {"exec-errno": 2, "found": ""}, {"exit-code": 127}], 127, "exec"),
        (exit_status(126), [EXEC, {"exec-errno": 13, "found": "2f78"}, {"exit-code": 126}], 126, "exec"),
        (exit_status(126), [EXEC, {"exec-errno": 2, "found": "2f78"}, {"exit-code": 126}], 126, "exec"),
        (exit_status(125), [EXEC, {"exec-errno": 13, "cwd": "2f78"}, {"exit-code": 125}], 125, "isolation"),
        (exit_status(1), [], 125, "isolation"),
        (exit_status(1), [{"exec-errno": 2, "found": ""}], 125, "isolation"),
        (9, [], 125, "isolation"),
        (exit_status(137), [{"exit-code": 137}], 125, "isolation"),
    ],
)
def test_the_exit_status(status: int, report: Sequence[Mapping[str, object]], code: int, by: str) -> None:
    ended = isolation().exit(status, report, b"")
    assert (ended.code, ended.by) == (code, by)


def test_what_bwrap_printed_is_the_reason() -> None:
    ended = isolation().exit(exit_status(1), [], b"bwrap: Can't find source path /x: No such file\n")
    assert ended.why == (
        "the sandbox did not start: Can't find source path /x: No such file; `art doctor` tells more"
    )


def test_a_missing_interpreter_is_told_from_a_missing_program() -> None:
    report: list[Mapping[str, object]] = [EXEC, {"exec-errno": 2, "found": b"/ws/x".hex()}]
    assert "'/ws/x' cannot be executed: its interpreter is not there" in isolation().exit(0, report, b"").why
