"""A home as a tar archive (POSIX pax, pax(1)), written and read as a stream.

Names that are no UTF-8, times to the nanosecond, hard links and the user's extended attributes
(`SCHILY.xattr.user.*`) are carried. Holes are zeros, but a file of more than `_SPARSE` bytes that has some is
carried without them (GNU tar's manual, "Storing Sparse Files", PAX format 1.0). Pipes, sockets and
devices are not carried.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import IO, Any, NamedTuple

from art_core.errors import TransferError
from art_core.store import bounds
from art_core.store.files import File, HomeReader, HomeWriter
from art_core.transfer.host_files import checked
from art_core.trees import Entry

_BLOCK = 1 << 20
_SPARSE = 1 << 28
_RECORD = 512
_XATTR = "SCHILY.xattr."
_LONGEST = 255
Skipped = Callable[[bytes, str], None]
"""Called with a path that is not carried, and why."""


class Carried(NamedTuple):
    """What an archive holds: entries, bytes of contents, and what could not be carried."""

    entries: int
    size: int
    skipped: int


class _Contents:
    """The contents of a file, as something that is read from front to back."""

    def __init__(self, blocks: Iterator[tuple[int, bytes]]) -> None:
        self._blocks = blocks
        self._offset = 0
        self._next = next(blocks, None)

    def read(self, size: int = 0) -> bytes:
        parts = []
        while size:
            if self._next is None or self._next[0] >= self._offset + size:
                parts.append(bytes(size))
                self._offset += size
                break
            start, data = self._next
            if start > self._offset:
                parts.append(bytes(start - self._offset))
            else:
                part = data[self._offset - start :][:size]
                parts.append(part)
                if self._offset + len(part) == start + len(data):
                    self._next = next(self._blocks, None)
            self._offset += len(parts[-1])
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Packed:
    """The same of a file with holes: a list of what is no hole, and that. `info` is its entry, and `saves`
    whether it is shorter so."""

    def __init__(self, home: HomeReader, file: File, info: tarfile.TarInfo) -> None:
        parts: list[list[int]] = []
        for offset, data in home.blocks(file):
            if parts and sum(parts[-1]) == offset:
                parts[-1][1] += len(data)
            else:
                parts.append([offset, len(data)])
        stored = sum(length for _, length in parts)
        self.saves = stored < file.size
        if not parts or sum(parts[-1]) < file.size:
            parts.append([file.size, 0])
        listed = "".join(f"{number}\n" for number in (len(parts), *(n for part in parts for n in part)))
        self._list = listed.encode() + bytes(-len(listed) % _RECORD)
        self._chunks = (data for _, data in home.blocks(file))
        self.info = tarfile.TarInfo("GNUSparseFile.0/file")
        self.info.mode, self.info.mtime, self.info.uid, self.info.gid = (
            info.mode,
            info.mtime,
            info.uid,
            info.gid,
        )
        self.info.size = len(self._list) + stored
        more = {"major": 1, "minor": 0, "name": info.name, "realsize": file.size}
        self.info.pax_headers = {f"GNU.sparse.{key}": str(value) for key, value in more.items()}
        self.info.pax_headers |= info.pax_headers

    def read(self, size: int = 0) -> bytes:
        while len(self._list) < size:
            data = next(self._chunks, None)
            if data is None:
                break
            self._list += data
        part, self._list = self._list[:size], self._list[size:]
        return part


def write(home: HomeReader, top: bytes, out: IO[bytes], skipped: Skipped) -> Carried:
    """Write what is below a directory of a home. Raises OSError; what cannot be read is skipped."""
    entries = size = left = 0
    names: dict[int, str] = {}
    uid, gid = os.getuid(), os.getgid()
    start = len(top) + 1 if top else 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        vars(archive)["copybufsize"] = _BLOCK  # 16 KiB otherwise
        for file in home.walk(top):
            if file.kind is None:
                skipped(file.path, "pipes, sockets and devices are not carried")
                left += 1
                continue
            info = _info(file, os.fsdecode(checked(file.path)[start:]))
            info.uid, info.gid = uid, gid
            if file.kind == "file" and file.ino in names:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, names[file.ino], 0
                archive.addfile(info)
            elif file.kind == "file":
                try:
                    contents = _Contents(home.blocks(file))
                except OSError as error:
                    skipped(file.path, f"it cannot be read: {error.strerror}")
                    left += 1
                    continue
                if file.size > _SPARSE and (packed := _Packed(home, file, info)).saves:
                    archive.addfile(packed.info, packed)
                else:
                    archive.addfile(info, contents)
                size += file.size
                if file.nlink > 1:
                    names[file.ino] = info.name
            else:
                archive.addfile(info)
            entries += 1
            _forget(archive)
    return Carried(entries, size, left)


def _forget(archive: tarfile.TarFile) -> None:
    """The entries that went by: they would be kept for who asks for them by name."""
    vars(archive)["members"].clear()


def _info(file: File, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(file.mode)
    seconds, rest = divmod(abs(file.mtime_ns), 10**9)
    info.mtime = seconds
    headers: dict[str, str] = {}
    if rest or file.mtime_ns < 0:
        headers["mtime"] = f"{'-' * (file.mtime_ns < 0)}{seconds}.{rest:09}"
    for key, value in file.xattrs.items():
        name_of_mark = key.decode("utf-8", "replace")
        if "=" not in name_of_mark and name_of_mark.encode() == key:  # The format has no room for others.
            headers[_XATTR + name_of_mark] = value.decode("utf-8", "surrogateescape")
    info.pax_headers = headers
    if file.kind == "dir":
        info.type = tarfile.DIRTYPE
    elif file.kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(file.target)
    else:
        info.size = file.size
    return info


def read(home: HomeWriter, source: IO[bytes], skipped: Skipped) -> Carried:
    """Put an archive, of any kind that Python's tarfile reads, into a home. Raises TransferError for one
    that cannot be read, or that names something outside."""
    entries = size = left = 0
    try:
        with tarfile.open(fileobj=source, mode="r|*") as archive:
            for member in archive:
                _forget(archive)
                path = _path(member.name)
                if not path:
                    continue
                if not 0 <= member.size <= bounds.LARGEST:
                    raise TransferError(
                        f"{member.name[:200]!r} has a size that no file can have; nothing was imported"
                    )
                try:
                    put = _put(home, archive, member, path)
                except OSError as error:
                    raise TransferError(f"{member.name!r} cannot be kept: {error.strerror}") from None
                if put:
                    entries += 1
                    size += member.size if member.isreg() else 0
                else:
                    skipped(path, "pipes, sockets and devices are not carried")
                    left += 1
    except (tarfile.TarError, EOFError, UnicodeError, OverflowError, ValueError) as error:
        raise TransferError(f"the archive cannot be read: {error}; nothing was imported") from None
    except OSError as error:
        raise TransferError(
            f"the archive cannot be read: {error.strerror or error}; nothing was imported"
        ) from None
    return Carried(entries, size, left)


def _path(name: str) -> bytes:
    """Relative to the top of the archive. Raises TransferError."""
    path = os.fsencode(name)
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    why = ""
    if path.startswith(b"/"):
        why = "an absolute name"
    elif b".." in parts:
        why = "a name with '..' in it"
    elif b"\0" in path or any(len(part) > _LONGEST for part in parts):
        why = "a name that no file can have"
    if why:
        raise TransferError(f"the archive holds {name[:200]!r}, {why}; nothing was imported")
    return b"/".join(parts)


def _put(home: HomeWriter, archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> bool:
    _make_parents(home, path, member.name)
    if member.islnk():
        to = home.find(_path(member.linkname))
        if to is None or to.kind != "file":
            raise TransferError(
                f"{member.name!r} is a further name of {member.linkname!r}, which is no file "
                "that came before it; nothing was imported"
            )
        if to.path != path:
            home.link(path, to.entry(to.path))
        return True
    entry = _entry(member, path)
    if entry is None:
        return False
    blocks: Iterator[tuple[int, bytes]] = iter(())
    if entry.kind == "file" and (contents := archive.extractfile(member)) is not None:
        blocks = _blocks(contents) if member.sparse is None else _parts(contents, member)
    present = home.find(path)
    if present is not None and (present.kind == "dir") != (entry.kind == "dir"):
        raise TransferError(f"{member.name!r} is a directory and a file in one archive; nothing was imported")
    home.put(entry, blocks)
    return True


def _make_parents(home: HomeWriter, path: bytes, name: str) -> None:
    parts = path.split(b"/")[:-1]
    for end in range(len(parts), 0, -1):
        above = b"/".join(parts[:end])
        found = home.find(above)
        if found is None:
            continue
        if found.kind != "dir":
            raise TransferError(f"{name!r} lies in something that is no directory; nothing was imported")
        break
    else:
        end = 0
    for place in range(end + 1, len(parts) + 1):
        above = b"/".join(parts[:place])
        home.put(Entry(path=above, kind="dir", mode=0o755, size=0, mtime_ns=0), iter(()))


def _entry(member: tarfile.TarInfo, path: bytes) -> Entry | None:
    mode = member.mode & 0o7777
    common = {"path": path, "mode": mode, "mtime_ns": _time(member), "xattrs": _xattrs(member)}
    if member.isdir():
        return Entry(kind="dir", size=0, **common)  # type: ignore[arg-type]
    if member.issym():
        target = os.fsencode(member.linkname)
        return Entry(kind="link", size=len(target), target=target, **common)  # type: ignore[arg-type]
    if member.isreg():
        return Entry(kind="file", size=member.size, **common)  # type: ignore[arg-type]
    return None


def _time(member: tarfile.TarInfo) -> int:
    text = member.pax_headers.get("mtime")
    try:
        found = Decimal(member.mtime if text is None else text).scaleb(9)
        # A number of a few letters may have a million digits, so it is compared before it is one.
        return int(max(Decimal(bounds.FIRST_NS), min(found, Decimal(bounds.LAST_NS))))
    except (ArithmeticError, ValueError):
        return 0


def _xattrs(member: tarfile.TarInfo) -> dict[bytes, bytes]:
    return {
        os.fsencode(key.removeprefix(_XATTR)): value.encode("utf-8", "surrogateescape")
        for key, value in member.pax_headers.items()
        if key.startswith(f"{_XATTR}user.")
    }


def _parts(contents: IO[bytes], member: tarfile.TarInfo) -> Iterator[tuple[int, bytes]]:
    """What is in a file that was carried without its holes. Raises TransferError for a list that makes no
    file."""
    raw: Any = contents.raw  # type: ignore[attr-defined]  # What buffers it does not seek in a stream.
    done = 0
    listed: Any = member.sparse
    for offset, length in listed:
        if offset < done or length < 0 or offset + length > member.size:
            raise TransferError(f"{member.name[:200]!r} lists parts that no file has; nothing was imported")
        done = offset + length
        while offset < done:
            raw.seek(offset)
            data = raw.read(min(_BLOCK, done - offset))
            if not data:
                raise TransferError(f"{member.name[:200]!r} ends too early; nothing was imported")
            if data.count(0) != len(data):
                yield offset, data
            offset += len(data)


def _blocks(contents: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while data := contents.read(_BLOCK):
        if data.count(0) != len(data):
            yield offset, data
        offset += len(data)
