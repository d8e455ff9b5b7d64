"""All that a branch holds, in memory and as JSON."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from art_core.errors import StoreError
from art_core.trees import Agreed
from art_fusefs.backend import ROOT, Node

HOST_NUMBERS = 1 << 62
"""Where the numbers begin of what was the host's at first."""
_NUMBERS = ("ino", "mode", "nlink", "rdev", "size", "atime", "mtime", "ctime")


class File(Node):
    """An inode. `held` says that the store has it; what only shows through is not kept. Of a directory
    `names` are what the store says, None for a name that is gone, and `origin` is the host's directory
    that shows behind them; of a file, where its contents are while they are None. `base` is the size and
    the time that the host's file had when it was changed, `up` where the file stands."""

    def __init__(self, ino: int, mode: int, now: int) -> None:
        super().__init__(ino, mode, now)
        self.held = True
        self.names: dict[bytes, int | None] = {}
        self.origin: bytes | None = None
        self.base: tuple[int, int] | None = None
        self.contents: bytearray | None = bytearray() if stat.S_ISREG(mode) else None
        self.marks: dict[bytes, bytes] = {}
        self.up: tuple[int, bytes] = (ROOT, b"")


class Image:
    """`next` and `next_host` are the numbers that nobody had yet."""

    def __init__(self) -> None:
        self.next = ROOT + 1
        self.next_host = HOST_NUMBERS
        self.files = {ROOT: File(ROOT, stat.S_IFDIR | 0o755, time.time_ns())}
        self.files[ROOT].nlink = 2
        self.agreed: dict[bytes, Agreed] = {}

    @classmethod
    def load(cls, path: str) -> Image:
        """What a file has; a new one where there is none. Raises StoreError for what is no image: a jar may
        come from anybody."""
        image = cls()
        try:
            with open(path, "rb") as file:
                said = json.load(file)
            image.next, image.next_host = int(said["next"]), int(said["next_host"])
            image.files = {one["ino"]: _file(one) for one in said["files"]}
            image.agreed = {_bytes(path): Agreed(*what) for path, what in said["agreed"].items()}
            _check(image.files)
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path}: this is no branch of a jar, or it is damaged ({error!r})") from None
        return image

    def save(self, path: str) -> None:
        """Keep it: all of it or, when that fails, nothing."""
        said = {
            "next": self.next,
            "next_host": self.next_host,
            "files": [_told(file) for file in self.files.values() if file.held and file.nlink],
            "agreed": {_text(path): list(what) for path, what in self.agreed.items()},
        }
        new = f"{path}.new"
        try:
            with open(new, "w") as file:
                json.dump(said, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(new, path)
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            raise
        above = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(above)
        finally:
            os.close(above)


def _told(file: File) -> Mapping[str, object]:
    names = {_text(name): ino for name, ino in file.names.items()}
    return {
        **{key: getattr(file, key) for key in _NUMBERS},
        "names": names,
        "up": [file.up[0], _text(file.up[1])],
        "target": _text(file.target),
        "base": file.base,
        "origin": None if file.origin is None else _text(file.origin),
        "contents": None if file.contents is None else base64.b64encode(file.contents).decode(),
        "marks": {_text(name): base64.b64encode(value).decode() for name, value in file.marks.items()},
    }


def _file(told: Mapping[str, Any]) -> File:
    file = File(int(told["ino"]), int(told["mode"]), 0)
    for key in _NUMBERS:
        setattr(file, key, int(told[key]))
    file.names = {_bytes(name): ino for name, ino in told["names"].items()}
    file.up = (told["up"][0], _bytes(told["up"][1]))
    file.target = _bytes(told["target"])
    file.base = None if told["base"] is None else (int(told["base"][0]), int(told["base"][1]))
    file.origin = None if told["origin"] is None else _bytes(told["origin"])
    file.contents = None if told["contents"] is None else bytearray(base64.b64decode(told["contents"]))
    file.marks = {_bytes(name): base64.b64decode(value) for name, value in told["marks"].items()}
    return file


def _check(files: Mapping[int, File]) -> None:
    """Raises KeyError or ValueError unless every name leads to a file, and a walk ends."""
    reached = {ROOT}
    todo = [ROOT]
    while todo:
        for name, ino in files[todo.pop()].names.items():
            if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
                raise ValueError(f"the name {name!r}")
            if ino is None or not stat.S_ISDIR(files[ino].mode):
                continue
            if ino in reached:
                raise ValueError(f"the directory {ino} is in it twice")
            reached.add(ino)
            todo.append(ino)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
