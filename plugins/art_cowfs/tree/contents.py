"""What is in files: chunks in memory, in the layers, and what shows through of the host's file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from heapq import merge

from art_core.store import bounds
from art_core.store.blocks import segments
from art_cowfs.db.schema import CHUNK
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower, within
from art_cowfs.tree.batches import Pending
from art_cowfs.tree.copy_up import CopyUp
from art_cowfs.tree.nodes import CowNode
from art_fusefs.replies import BLOCK

WHOLE = 1 << 20
"""A host file of at most so many bytes is copied up whole."""
_ZERO = bytes(CHUNK)
_SHOWN = 5
_AT_ONCE = 16
_FEW = 64
"""Chunks of a host's file that is read without looking for its holes."""


class Contents:
    """Reads and writes the contents of nodes."""

    def __init__(self, chain: Chain, pending: Pending, lower: Lower | None, copy_up: CopyUp) -> None:
        self._chain = chain
        self._pending = pending
        self._lower = lower
        self._copy_up = copy_up
        self._stale: set[bytes] = set()
        """Paths of host files that could not be read because they had changed."""

    def _copy_contents(self, node: CowNode) -> None:
        """Before the first write: a small file is copied whole."""
        self._copy_up.up(node)
        if node.host_clip == 0 or node.base_size > WHOLE:
            return
        contents = self._host_bytes(node, 0, node.host_clip)
        for idx in range((len(contents) + CHUNK - 1) // CHUNK):
            if self._stored(node, idx) is None:
                self._set_chunk(node, idx, contents[idx * CHUNK : (idx + 1) * CHUNK])
        node.host_clip = 0
        self._pending.dirty(node)

    def _host_bytes(self, node: CowNode, offset: int, size: int) -> bytes:
        """What the host's file holds. A held node's must be what it was when it was copied up."""
        if node.origin is None:
            return b""
        if self._lower is None:
            raise OSError(errno.ENXIO, "this is in the host's directory, which is not there")
        fd = node.fd if node.fd >= 0 else self._lower.open(node.origin)
        try:
            if node.held:
                self._same(node, within(os.fstat(fd)))
            parts = []
            while size:
                part = os.pread(fd, size, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                size -= len(part)
            if node.held:
                self._same(node, within(os.fstat(fd)))
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            if fd != node.fd:
                os.close(fd)

    def _same(self, node: CowNode, found: os.stat_result) -> None:
        if (found.st_size, found.st_mtime_ns) != (node.base_size, node.base_mtime):
            self._stale.add(node.origin or b"")
            raise OSError(errno.ESTALE, "the host changed this file after a part of it was changed here")

    def notes(self) -> list[str]:
        """What could not be read, for the user."""
        if not self._stale:
            return []
        shown = ", ".join(os.fsdecode(path) for path in sorted(self._stale)[:_SHOWN])
        more = f" and {len(self._stale) - _SHOWN} more" if len(self._stale) > _SHOWN else ""
        return [
            f"changed on the host after a part was changed inside: {shown}{more}; reading the rest failed "
            "(ESTALE), and `art pull --accept-host` takes what the host has now"
        ]

    def opened(self, node: CowNode) -> bool:
        if not node.origin or not stat.S_ISREG(node.mode):
            return True
        if node.fd < 0 and self._lower is not None and (not node.held or node.host_clip):
            node.fd = self._lower.open(node.origin)
        if node.fd >= 0 and not node.held:
            node.show(within(os.fstat(node.fd)))
        state = (node.size, node.mtime)
        same = node.held or node.seen == state
        node.seen = state
        return same

    def complete(self, node: CowNode, idx: int) -> int:
        """Copy some of what still comes from the host, from a place on; the place to go on from, 0 when
        nothing is left. Raises OSError."""
        end = _chunks(node.host_clip)
        idx = next(self._of_host(node, idx, end), end)
        for place in range(idx, min(end, idx + _AT_ONCE)):
            if self._stored(node, place) is None:
                start = place * CHUNK
                self._pending.reserve(CHUNK)
                data = self._host_bytes(node, start, min(CHUNK, node.host_clip - start))
                if data.count(0) != len(data):
                    self._set_chunk(node, place, data)
        if idx + _AT_ONCE >= end:
            node.host_clip = 0
            node.holes = self._holes_from(node, 0) * CHUNK
        self._pending.dirty(node)
        return idx + _AT_ONCE if node.host_clip else 0

    def reopen(self, node: CowNode) -> None:
        """The host has another file there. Raises OSError."""
        if node.fd >= 0:
            self.closed(node)
            assert self._lower is not None and node.origin is not None
            node.fd = self._lower.open(node.origin)
        self._stale.discard(node.origin or b"")

    def closed(self, node: CowNode) -> None:
        if node.fd >= 0:
            os.close(node.fd)
            node.fd = -1

    def _stored(self, node: CowNode, idx: int) -> bytes | bytearray | None:
        """The chunk that memory or a layer has, cut to what still shows; None when the host's shows."""
        for batch in (self._pending.batch, *reversed(self._pending.inflight)):
            chunks = batch.chunks.get(node.ino)
            if chunks is not None and idx in chunks:
                return chunks[idx] or b""
            if idx >= batch.cuts.get(node.ino, idx + 1):
                return b""
        row = self._chain.chunk(node.ino, idx)
        if row is None:
            return None
        clip, data = row
        data = data or b""
        return data if clip < 0 else data[: max(0, min(clip, node.clip) - idx * CHUNK)]

    def _chunk(self, node: CowNode, idx: int) -> bytes | bytearray:
        """The bytes of a chunk; shorter than a chunk when the rest is zeros."""
        stored = self._stored(node, idx) if node.held else None
        if stored is not None:
            return stored
        start = idx * CHUNK
        shown = node.host_clip if node.held else node.size
        if node.origin is None or start >= shown:
            return b""
        return self._host_bytes(node, start, min(CHUNK, shown - start))

    def read(self, node: CowNode, offset: int, size: int) -> bytes:
        if not node.held:
            return self._host_bytes(node, offset, size)
        size = max(0, min(size, node.size - offset))
        parts = []
        while size:
            idx, inside = divmod(offset, CHUNK)
            length = min(size, CHUNK - inside)
            part = self._chunk(node, idx)[inside : inside + length]
            parts.append(part)
            if len(part) < length:
                parts.append(_ZERO[: length - len(part)])
            offset += length
            size -= length
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def write(self, node: CowNode, offset: int, data: bytes) -> None:
        end = offset + len(data)
        _refuse_size(end)
        self._pending.reserve(len(data) + CHUNK)
        self._copy_contents(node)
        view = memoryview(data)
        position = offset
        known = _chunks(node.size)
        node.holes += max(0, offset // CHUNK - known) * CHUNK
        while view:
            idx, inside = divmod(position, CHUNK)
            if node.holes and idx < known and self._is_hole(node, idx):
                node.holes -= CHUNK
            length = min(len(view), CHUNK - inside)
            if length == CHUNK or (inside == 0 and idx * CHUNK + length >= node.size):
                self._set_chunk(node, idx, bytes(view[:length]))
            else:
                self._patch(node, idx, inside, view[:length])
            view = view[length:]
            position += length
        if end > node.size:
            node.size = end
        self._pending.dirty(node)

    def _is_hole(self, node: CowNode, idx: int) -> bool:
        stored = self._stored(node, idx)
        return idx * CHUNK >= node.host_clip if stored is None else not stored

    def _patch(self, node: CowNode, idx: int, inside: int, data: memoryview) -> None:
        present = self._pending.batch.chunks.get(node.ino, {}).get(idx)
        if not isinstance(present, bytearray):
            present = bytearray(self._chunk(node, idx))
            self._set_chunk(node, idx, present)
        before = len(present)
        if before < inside:
            present.extend(bytes(inside - before))
        present[inside : inside + len(data)] = data
        self._pending.grew(len(present) - before)

    def _set_chunk(self, node: CowNode, idx: int, data: bytes | bytearray) -> None:
        self._pending.batch.chunks.setdefault(node.ino, {})[idx] = data
        self._pending.grew(len(data) + 64)

    def resize(self, node: CowNode, size: int) -> None:
        _refuse_size(size)
        self._pending.reserve(CHUNK if size else 0)
        if size == 0:
            self._copy_up.up(node)
        else:
            self._copy_contents(node)
        if size < node.size:
            if node.holes:
                node.holes -= self._holes_from(node, _chunks(size)) * CHUNK
            boundary, inside = divmod(size, CHUNK)
            if inside:
                kept = self._chunk(node, boundary)[:inside]
                self._set_chunk(node, boundary, bytes(kept))
            first = boundary + 1 if inside else boundary
            chunks = self._pending.batch.chunks.get(node.ino, {})
            for idx in [idx for idx in chunks if idx >= first]:
                del chunks[idx]
            self._pending.batch.cuts[node.ino] = min(first, self._pending.batch.cuts.get(node.ino, first))
            node.clip, node.host_clip = min(node.clip, size), min(node.host_clip, size)
        elif size > node.size:
            node.holes += (_chunks(size) - _chunks(node.size)) * CHUNK
        node.size = size
        self._pending.dirty(node)

    def filled(self, node: CowNode) -> Iterator[int]:
        """The places of a file that may hold something else than zeros, in order."""
        end, hosts = _chunks(node.size), 0
        if node.origin is not None and (not node.held or node.host_clip):
            shown = _chunks(node.host_clip if node.held else node.size)
            found = None if self._lower is None else self._lower.stat(node.origin)
            # Where the host's file is not what it was, reading the first place tells.
            hosts = min(shown, end, 1 if found is None else max(1, _chunks(found.st_size)))
        places: set[int] = set()
        if node.held:
            places |= set(self._chain.chunks(node.ino))
            for batch in (*self._pending.inflight, self._pending.batch):
                places |= batch.chunks.get(node.ino, {}).keys()
        ours = sorted(place for place in places if place < end)
        last = -1
        for place in merge(self._of_host(node, 0, hosts), ours):
            if place != last:
                yield place
            last = place

    def _of_host(self, node: CowNode, first: int, hosts: int) -> Iterator[int]:
        """The places from `first` on and before `hosts` at which the host's file has data, and place 0."""
        if hosts <= _FEW or self._lower is None or node.origin is None:
            yield from range(first, hosts)
            return
        if first == 0:
            yield 0  # Where the host's file is another one, reading it tells.
        place = max(first, 1)
        fd = self._lower.open(node.origin)
        try:
            for start, end in segments(fd, place * CHUNK):
                place = max(place, start // CHUNK)
                if place >= hosts:
                    return
                yield from range(place, min(hosts, _chunks(end)))
                place = _chunks(end)
        finally:
            os.close(fd)

    def _lengths(self, node: CowNode, first: int) -> dict[int, int]:
        """How many bytes are stored of each chunk, from a place on; those that are not stored are absent."""
        lengths = self._chain.lengths(node.ino, first, node.clip)
        for batch in (*self._pending.inflight, self._pending.batch):
            cut = batch.cuts.get(node.ino)
            if cut is not None:
                lengths = {idx: length for idx, length in lengths.items() if idx < cut}
            chunks = batch.chunks.get(node.ino, {})
            lengths |= {idx: len(data or b"") for idx, data in chunks.items() if idx >= first}
        end = _chunks(node.size)
        return {idx: max(0, length) for idx, length in lengths.items() if idx < end}

    def _holes_from(self, node: CowNode, first: int) -> int:
        """How many chunks from a place on are neither stored nor the host's."""
        lengths = self._lengths(node, first)
        end, hosts = _chunks(node.size), _chunks(node.host_clip)
        filled = sum(1 for idx, length in lengths.items() if idx >= hosts and length)
        cleared = sum(1 for idx, length in lengths.items() if idx < hosts and not length)
        return max(0, end - max(first, hosts) - filled) + cleared

    def clear(self, node: CowNode, offset: int, size: int) -> None:
        """See `Backend.clear`."""
        end = min(offset + size, node.size)
        if offset >= end:
            return
        self._pending.reserve(2 * CHUNK)
        self._copy_contents(node)
        first, last = offset // CHUNK, _chunks(end)
        lengths = self._lengths(node, first)
        hosts = range(first, min(last, _chunks(node.host_clip)))
        for idx in sorted({*hosts, *lengths}):
            if idx >= last or self._is_hole(node, idx):
                continue
            start, stop = max(0, offset - idx * CHUNK), min(CHUNK, end - idx * CHUNK)
            if start == 0 and (stop == CHUNK or idx * CHUNK + stop == node.size):
                self._pending.batch.chunks.setdefault(node.ino, {})[idx] = None
                self._pending.grew(64)
                node.holes += CHUNK
            elif (stop := min(stop, len(self._chunk(node, idx)))) > start:
                self._patch(node, idx, start, memoryview(_ZERO)[start:stop])
        self._pending.dirty(node)

    def data(self, node: CowNode, offset: int) -> tuple[int, int] | None:
        """See `Backend.data`; by chunks, of which the ends may be missing."""
        if not node.held:
            return (offset, node.size) if offset < node.size else None
        lengths = self._lengths(node, offset // CHUNK)
        hosts = range(offset // CHUNK, _chunks(min(node.host_clip, node.size)))
        shown = {idx: CHUNK for idx in hosts if idx not in lengths}
        start, end = -1, -1
        for idx, length in sorted({**lengths, **shown}.items()):
            at = idx * CHUNK
            stop = min(node.size, at + -(-length // BLOCK) * BLOCK)
            if start < 0:
                first = max(at, offset)
                if idx in lengths and first < stop:
                    stored = self._chunk(node, idx)[first - at :]
                    zeros = len(stored) - len(stored.lstrip(b"\0"))
                    found = first + zeros
                    first = stop if zeros == len(stored) else max(first, found - found % BLOCK)
                if first < stop:
                    start, end = first, stop
            elif at > end:
                break
            else:
                end = stop
        return (start, end) if start >= 0 else None


def _refuse_size(size: int) -> None:
    if size < 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if size > bounds.LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _chunks(size: int) -> int:
    """How many chunks a file of this size has."""
    return -(-size // CHUNK)
