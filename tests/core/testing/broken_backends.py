"""Backends that each break one rule of their contract: the one in memory, with a mistake."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from art_fusefs.backend import ROOT, Space
from art_fusefs.testing import BackendContract, BackendExample
from tests.core.testing.memory_store import File, Image, MemoryBackend


def example(kind: type[MemoryBackend]) -> BackendExample:
    @contextmanager
    def opened(host: str, place: str) -> Iterator[MemoryBackend]:
        memory = os.open(f"{place}/image", os.O_RDWR | os.O_CREAT)
        try:
            backend = kind(Image.of(memory), b"ws", os.fsencode(host), (0, 0))
            yield backend
            backend.save(memory, ending=True)
        finally:
            os.close(memory)

    return BackendExample(open=opened)


class HasNoTop(MemoryBackend):
    def parent(self, directory: File) -> File:
        return self.node(1 << 62) if directory.ino == ROOT else super().parent(directory)


class ListsWhatLeft(MemoryBackend):
    def names(self, directory: File) -> Iterable[bytes]:
        return {*super().names(directory), *directory.names}


class AnswersAnyNumber(MemoryBackend):
    def node(self, ino: int) -> File:
        return self.image.files.get(ino) or self.image.files[ROOT]


class KeepsWhatWasCut(MemoryBackend):
    def resize(self, node: File, size: int) -> None:
        kept = bytes(node.contents or b"")
        super().resize(node, size)
        if size > len(kept):
            node.cut, cut = b"", getattr(node, "cut", b"")  # type: ignore[attr-defined]
            assert node.contents is not None
            node.contents[len(kept) : len(kept) + len(cut)] = cut[: size - len(kept)]
        else:
            node.cut = kept[size:]  # type: ignore[attr-defined]


class ClearsTooLittle(MemoryBackend):
    def clear(self, node: File, offset: int, size: int) -> None:
        super().clear(node, offset, size - size % 4096)


class LosesModes(MemoryBackend):
    def save(self, memory: int, *, ending: bool) -> None:
        for file in self.image.files.values():
            file.mode = file.mode & ~0o777 | 0o644
        super().save(memory, ending=ending)


class LetsGoOfOpenFiles(MemoryBackend):
    def settle(self) -> None:
        for file in list(self.image.files.values()):
            if file.nlink == 0:
                del self.image.files[file.ino]


class HandsOutItsMarks(MemoryBackend):
    def xattrs(self, node: File) -> dict[bytes, bytes]:
        return node.marks


class WritesToTheHost(MemoryBackend):
    def write(self, node: File, offset: int, data: bytes) -> None:
        super().write(node, offset, data)
        if node.origin is not None:
            os.utime(node.origin, ns=(time.time_ns(), 1))


class LeavesChildrenBehind(MemoryBackend):
    def enter(self, directory: File, name: bytes, node: File) -> None:
        if node.origin is not None and not node.held:
            super().enter(directory, name, node)
            node.origin = None
        else:
            super().enter(directory, name, node)


class TrustsTheCache(MemoryBackend):
    def opened(self, node: File) -> bool:
        return True


class HasMoreFreeThanThereIs(MemoryBackend):
    def space(self) -> Space:
        return super().space()._replace(total=1)


BACKENDS: dict[str, type[MemoryBackend]] = {
    "test_top": HasNoTop,
    "test_names": ListsWhatLeft,
    "test_numbers": AnswersAnyNumber,
    "test_contents": KeepsWhatWasCut,
    "test_holes": ClearsTooLittle,
    "test_kept": LosesModes,
    "test_let_go": LetsGoOfOpenFiles,
    "test_extended_attributes": HandsOutItsMarks,
    "test_host_shows": WritesToTheHost,
    "test_host_directory_moves": LeavesChildrenBehind,
    "test_cached": TrustsTheCache,
    "test_space": HasMoreFreeThanThereIs,
}
"""The rule that is broken, and the backend that breaks it."""


def backend_contract(rule: str) -> type[BackendContract]:
    class Broken(BackendContract):
        @pytest.fixture
        def backend_example(self) -> BackendExample:
            return example(BACKENDS[rule])

    return Broken
