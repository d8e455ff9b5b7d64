"""Bytes go through as they are, whatever the two ends are."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.sandbox.attachment import passing_signals
from art_core.sandbox.relay import Channel, Relay, pipe

DATA = bytes(range(256)) * 4096


@contextlib.contextmanager
def finished() -> Iterator[int]:
    """A descriptor that is readable, as the launcher's is when the command has ended."""
    read, write = os.pipe()
    os.close(write)
    yield read
    os.close(read)


def relay_output(sink: int, data: bytes = DATA) -> None:
    read, write = pipe()
    writer = threading.Thread(target=_write_all, args=(write, data))
    writer.start()
    with finished() as done:
        assert Relay([], [Channel(read, sink, owned=(read,))]).run(done)
    writer.join()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(BrokenPipeError):
        while view:
            view = view[os.write(fd, view) :]
    os.close(fd)


def test_a_file_gets_every_byte(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        relay_output(file.fileno())
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_file_opened_for_appending_gets_every_byte_although_it_cannot_be_spliced(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"before")
    with open(tmp_path / "out", "ab") as file:
        relay_output(file.fileno())
    assert (tmp_path / "out").read_bytes() == b"before" + DATA


def test_a_pipe_that_is_read_slowly_gets_every_byte() -> None:
    read, write = os.pipe()
    received = bytearray()

    def slowly() -> None:
        while chunk := os.read(read, 4093):
            received.extend(chunk)

    reader = threading.Thread(target=slowly)
    reader.start()
    relay_output(write)
    os.close(write)
    reader.join()
    os.close(read)
    assert bytes(received) == DATA


def test_a_callers_descriptor_is_not_made_non_blocking() -> None:
    read, write = os.pipe()
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 65536), b"")])
    reader.start()
    relay_output(write)
    assert os.get_blocking(write)
    os.close(write)
    reader.join()
    os.close(read)


def test_a_reader_that_goes_away_ends_the_commands_pipe() -> None:
    read, write = os.pipe()
    os.close(read)
    relay_output(write)
    os.close(write)


def test_a_device_that_cannot_be_spliced_is_copied() -> None:
    with open("/dev/zero", "rb") as zero:
        read, write = pipe()
        channel = Channel(zero.fileno(), write, owned=(write,))
        for _ in range(8):
            channel.move()
        assert os.read(read, 64) == bytes(64)
        channel.close()
        os.close(read)


def test_the_end_of_input_closes_the_commands_end() -> None:
    read, write = pipe()
    with open(os.devnull, "rb") as null, finished() as done:
        channel = Channel(null.fileno(), write, owned=(write,))
        output_read, output_write = pipe()
        os.close(output_write)
        while channel.open:
            channel.move()
        with open(os.devnull, "wb") as sink:
            relay = Relay([channel], [Channel(output_read, sink.fileno(), owned=(output_read,))])
            assert relay.run(done)
    assert os.read(read, 1) == b""
    os.close(read)


def test_a_deadline_that_passes_is_told() -> None:
    read, write = pipe()
    never_read, never_write = os.pipe()
    with open(os.devnull, "wb") as sink:
        relay = Relay([], [Channel(read, sink.fileno(), owned=(read,))])
        assert relay.run(never_read, deadline=0.0) is False
        relay.close()
    for fd in (write, never_read, never_write):
        os.close(fd)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 1 << 20, (1 << 20) + 1])
def test_sizes_around_the_pipes_limits_arrive_whole(tmp_path: Path, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with open(tmp_path / "out", "wb") as file:
        relay_output(file.fileno(), data)
    assert (tmp_path / "out").read_bytes() == data


def test_a_signal_that_interrupts_no_wait_is_passed_on_at_once() -> None:
    """As one that comes right before the wait: here another thread gets it, so poll(2) goes on."""
    passed, end = os.pipe()

    class Launcher:
        def signal(self, number: int) -> None:
            os.write(end, bytes([number]))

    def send() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    relay = Relay([], [])
    sender = threading.Thread(target=send)
    with passing_signals(Launcher(), relay):  # type: ignore[arg-type]
        sender.start()
        assert relay.run(passed, deadline=time.monotonic() + 20)
        sender.join()
    assert os.read(passed, 10) == bytes([signal.SIGTERM])
    assert relay.signals_fd == -1
    os.close(passed)
    os.close(end)
