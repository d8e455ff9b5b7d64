"""The sandbox for callers with an event loop: asyncio, or trio where that one runs.

The same objects as for everybody else. What waits for a command waits for descriptors in the caller's loop;
what asks a store, or starts something, does so in a thread. Being cancelled ends the command that was waited
for.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, AnyStr, Generic, Literal, Protocol, TypeVar, overload

from art_core.sandbox.process import Process, Result, Waits
from art_core.sandbox.sandbox import Sandbox
from art_core.sandbox.streams import PIPE, Command, Path

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from art_core.contracts import Exit
    from art_core.sandbox.process import How
    from art_core.store.history import Point
    from art_core.transfer.changes import Change

T = TypeVar("T")
_CHUNK = 1 << 16


class EventLoop(Protocol):
    """What is needed of an event loop."""

    async def ready(self, waits: Waits) -> Sequence[int]:
        """The descriptors that are ready, none when the time is over."""

    async def in_thread(self, function: Callable[[], T]) -> T:
        """What it returns. Being cancelled waits for its end first."""

    async def undisturbed(self, function: Callable[[], T]) -> T:
        """The same, for what has to be done when something was cancelled."""


@contextmanager
def _copies(fds: Sequence[int]) -> Iterator[dict[int, int]]:
    """Copies of descriptors, each with what it is a copy of: a loop lets one task wait for a descriptor."""
    copies = {os.dup(fd): fd for fd in fds}
    try:
        yield copies
    finally:
        for copy in copies:
            os.close(copy)


class _Asyncio:
    async def ready(self, waits: Waits) -> Sequence[int]:
        import asyncio

        loop = asyncio.get_running_loop()
        found: asyncio.Future[int] = loop.create_future()

        def tell(fd: int) -> None:
            if not found.done():
                found.set_result(fd)

        with _copies(waits.readable) as readable, _copies(waits.writable) as writable:
            for copy, fd in readable.items():
                loop.add_reader(copy, tell, fd)
            for copy, fd in writable.items():
                loop.add_writer(copy, tell, fd)
            try:
                left = None if waits.until is None else max(0.0, waits.until - time.monotonic())
                return [await asyncio.wait_for(found, left)]
            except TimeoutError:
                return []
            finally:
                for copy in readable:
                    loop.remove_reader(copy)
                for copy in writable:
                    loop.remove_writer(copy)

    async def in_thread(self, function: Callable[[], T]) -> T:
        import asyncio

        task = asyncio.get_running_loop().run_in_executor(None, function)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await _finished(task)
            raise

    async def undisturbed(self, function: Callable[[], T]) -> T:
        import asyncio

        task = asyncio.get_running_loop().run_in_executor(None, function)
        await _finished(task)
        return task.result()


async def _finished(task: Any) -> None:
    """Wait for its end, however often this is cancelled."""
    import asyncio

    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue


class _Trio:
    """trio is imported by whoever runs it, never here."""

    def __init__(self, trio: Any) -> None:
        self._trio = trio

    async def ready(self, waits: Waits) -> Sequence[int]:
        trio, found = self._trio, []
        left = float("inf") if waits.until is None else max(0.0, waits.until - time.monotonic())
        with (
            _copies(waits.readable) as readable,
            _copies(waits.writable) as writable,
            trio.move_on_after(left),
        ):
            async with trio.open_nursery() as nursery:

                async def one(wait: Callable[[int], Any], copy: int, fd: int) -> None:
                    await wait(copy)
                    found.append(fd)
                    nursery.cancel_scope.cancel()

                for copy, fd in readable.items():
                    nursery.start_soon(one, trio.lowlevel.wait_readable, copy, fd)
                for copy, fd in writable.items():
                    nursery.start_soon(one, trio.lowlevel.wait_writable, copy, fd)
        return found

    async def in_thread(self, function: Callable[[], T]) -> T:
        result: T = await self._trio.to_thread.run_sync(function)
        return result

    async def undisturbed(self, function: Callable[[], T]) -> T:
        with self._trio.CancelScope(shield=True):
            return await self.in_thread(function)


def running_loop() -> EventLoop:
    """The loop that runs in this thread."""
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            pass
        else:
            return _Trio(trio)
    return _Asyncio()


class AsyncReader(Generic[AnyStr]):
    """A stream of the command's, which is iterated over by lines."""

    def __init__(self, stream: Any, *, text: bool) -> None:
        self._fd: int = stream.fileno()
        self._text = text
        self._kept = bytearray()
        self._ended = False
        os.set_blocking(self._fd, False)

    async def _more(self) -> bool:
        """Read on; False at the end."""
        while not self._ended:
            try:
                chunk = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                await running_loop().ready(Waits([self._fd], [], None))
                continue
            self._kept += chunk
            self._ended = not chunk
            break
        return not self._ended

    def _taken(self, size: int) -> AnyStr:
        data = bytes(self._kept[:size])
        del self._kept[:size]
        return data.decode("utf-8", "replace") if self._text else data  # type: ignore[return-value]

    async def read(self) -> AnyStr:
        """All there is until the end."""
        while await self._more():
            pass
        return self._taken(len(self._kept))

    async def readline(self) -> AnyStr:
        """The next line with its end; empty when there is none."""
        looked = 0
        while (at := self._kept.find(b"\n", looked)) < 0:
            looked = len(self._kept)
            if not await self._more():
                break
        return self._taken(at + 1 if at >= 0 else len(self._kept))

    async def __aiter__(self) -> AsyncIterator[AnyStr]:
        while line := await self.readline():
            yield line


class AsyncWriter(Generic[AnyStr]):
    """The command's standard input."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        os.set_blocking(stream.fileno(), False)

    async def write(self, data: AnyStr) -> None:
        """Write all of it. Raises BrokenPipeError when nobody will read it."""
        left = memoryview(data.encode() if isinstance(data, str) else data)
        while left:
            try:
                left = left[os.write(self._stream.fileno(), left) :]
            except BlockingIOError:
                await running_loop().ready(Waits([], [self._stream.fileno()], None))

    def close(self) -> None:
        """Tell the command that there is no more."""
        self._stream.close()


class AsyncProcess(Generic[AnyStr]):
    """A command that runs: see `art_core.sandbox.process.Process`."""

    def __init__(self, process: Process[AnyStr], *, text: bool) -> None:
        self._process: Process[AnyStr] = process
        self.stdin: AsyncWriter[AnyStr] | None = process.stdin and AsyncWriter(process.stdin)  # type: ignore[assignment]
        self.stdout: AsyncReader[AnyStr] | None = (
            None if process.stdout is None else AsyncReader(process.stdout, text=text)
        )
        self.stderr: AsyncReader[AnyStr] | None = (
            None if process.stderr is None else AsyncReader(process.stderr, text=text)
        )
        self.send_signal = process.send_signal
        self.terminate = process.terminate
        self.kill = process.kill

    async def __aenter__(self) -> AsyncProcess[AnyStr]:
        return self

    async def __aexit__(self, *_: object) -> Literal[False]:
        await self.aclose()
        return False

    @property
    def exit(self) -> Exit | None:
        return self._process.exit

    async def wait(self) -> Exit:
        """Wait for the end. Being cancelled leaves the command alone: `aclose` ends it."""
        loop = running_loop()
        while not self._process.look():
            await loop.ready(Waits([self._process.fileno()], [], None))
        return await loop.in_thread(self._process.settle)

    async def communicate(self, input: AnyStr | None = None, timeout: float | None = None) -> Result[AnyStr]:
        """See `Process.communicate`. Being cancelled ends the command."""
        loop, process = running_loop(), self._process
        talk = process.talk(input, timeout)
        try:
            waits = next(talk)
            while True:
                waits = talk.send(await loop.ready(waits))
        except StopIteration as end:
            printed = end.value
        except BaseException:
            await self.aclose()
            raise
        await loop.in_thread(process.settle)
        return process.collected(printed, timeout)

    async def aclose(self) -> None:
        """Close the streams; a command that still runs is ended, and waited for. Idempotent."""
        self._process.abandon()
        await running_loop().undisturbed(self._process.close)


class AsyncSandbox:
    """A sandbox over one workspace: takes what `Sandbox` does, and is opened by `async with`."""

    def __init__(self, workspace: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self._open: Callable[[], Sandbox] = partial(Sandbox, workspace, **options)
        self._box: Sandbox | None = None

    @property
    def sandbox(self) -> Sandbox:
        """What it is about."""
        if self._box is None:
            raise RuntimeError("this sandbox is not open: use it with `async with`")
        return self._box

    async def __aenter__(self) -> AsyncSandbox:
        loop = running_loop()
        opened: list[Sandbox] = []
        try:
            await loop.in_thread(lambda: opened.append(self._open()))
        except BaseException:
            if opened:  # Cancelled meanwhile.
                await loop.undisturbed(opened[0].close)
            raise
        self._box = opened[0]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await running_loop().undisturbed(self.sandbox.close)

    @overload
    async def start(
        self, argv: Command, *, text: Literal[False] = ..., **how: Unpack[How]
    ) -> AsyncProcess[bytes]: ...

    @overload
    async def start(self, argv: Command, *, text: Literal[True], **how: Unpack[How]) -> AsyncProcess[str]: ...

    async def start(self, argv: Command, *, text: Any = False, **how: Unpack[How]) -> AsyncProcess[Any]:
        """See `Sandbox.start`."""
        loop, box = running_loop(), self.sandbox
        started: list[Process[Any]] = []
        try:
            await loop.in_thread(lambda: started.append(box.start(argv, text=text, **how)))
        except BaseException:
            if started:  # Cancelled meanwhile.
                await loop.undisturbed(started[0].close)
            raise
        return AsyncProcess(started[0], text=text)

    @overload
    async def run(
        self,
        argv: Command,
        *,
        input: bytes | None = ...,
        timeout: float | None = ...,
        check: bool = ...,
        text: Literal[False] = ...,
        **how: Unpack[How],
    ) -> Result[bytes]: ...

    @overload
    async def run(
        self,
        argv: Command,
        *,
        input: str | None = ...,
        timeout: float | None = ...,
        check: bool = ...,
        text: Literal[True],
        **how: Unpack[How],
    ) -> Result[str]: ...

    async def run(
        self,
        argv: Command,
        *,
        input: Any = None,
        timeout: float | None = None,
        check: bool = False,
        text: Any = False,
        **how: Unpack[How],
    ) -> Result[Any]:
        """See `Sandbox.run`. Being cancelled ends the command."""
        if input is not None:
            how["stdin"] = PIPE
        async with await self.start(argv, text=text, **how) as process:
            result: Result[Any] = await process.communicate(input, timeout)
        if check:
            result.check()
        return result

    async def read(self, path: Path, *, at: str | None = None) -> bytes:
        return await running_loop().in_thread(lambda: self.sandbox.read(path, at=at))

    async def write(self, path: Path, contents: bytes | str, *, append: bool = False) -> None:
        await running_loop().in_thread(lambda: self.sandbox.write(path, contents, append=append))

    async def listdir(self, path: Path = ".") -> list[str]:
        return await running_loop().in_thread(lambda: self.sandbox.listdir(path))

    async def snapshot(self, name: str | None = None) -> Point:
        return await running_loop().in_thread(lambda: self.sandbox.snapshot(name))

    async def snapshots(self) -> Sequence[Point]:
        return await running_loop().in_thread(self.sandbox.snapshots)

    async def diff(self, since: str | None = None) -> Sequence[Change]:
        return await running_loop().in_thread(lambda: self.sandbox.diff(since))
