"""What a command did to the terminal is undone, and nothing else."""

from __future__ import annotations

import os
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_core.sandbox.terminal import CallerTerminal, ModeTracker


def resets_after(*outputs: bytes) -> bytes:
    tracker = ModeTracker()
    for output in outputs:
        tracker.see(output)
    return tracker.resets()


def test_nothing_switched_nothing_reset() -> None:
    assert resets_after(b"hello \x1b[31mred\x1b[0m") == b""


@pytest.mark.parametrize(
    ("switched", "reset"),
    [
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?2004h", b"\x1b[?2004l"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?25l", b"\x1b[?25h"),
    ],
)
def test_a_mode_that_stays_switched_is_reset(switched: bytes, reset: bytes) -> None:
    assert resets_after(b"x" + switched + b"y") == reset


def test_a_mode_that_the_command_put_back_is_left_alone() -> None:
    assert resets_after(b"\x1b[?1049h\x1b[?25l", b"work", b"\x1b[?25h\x1b[?1049l") == b""


@given(st.integers(0, 40), st.binary(max_size=20).filter(lambda data: b"\x1b" not in data))
def test_a_sequence_split_between_two_reads_is_seen(cut: int, before: bytes) -> None:
    output = before + b"\x1b[?1000;1006;2004h"
    assert resets_after(output[:cut], output[cut:]) == b"\x1b[?1000l\x1b[?1006l\x1b[?2004l"


@given(st.lists(st.binary(max_size=30)))
def test_any_output_is_survived(outputs: list[bytes]) -> None:
    resets_after(*outputs)


def test_the_state_is_restored_and_the_size_is_copied() -> None:
    import fcntl

    user, ours = os.openpty()
    pty, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, b"\x11\x00\x55\x00\x00\x00\x00\x00")
    before = termios.tcgetattr(ours)
    with CallerTerminal(ours, pty) as terminal:
        assert terminal.raw
        assert not termios.tcgetattr(ours)[3] & termios.ECHO
        assert os.get_terminal_size(theirs) == (0x55, 0x11)
        terminal.modes.see(b"\x1b[?1049h")
    assert termios.tcgetattr(ours) == before
    assert os.read(user, 100) == b"\x1b[?1049l"
    for fd in (user, ours, pty, theirs):
        os.close(fd)
