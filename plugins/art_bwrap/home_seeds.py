"""Filling a home that is a tmpfs, from inside: see `art_core.lending.seed_archive` for the archive.

As `init`, the function has no globals: it is marshalled.
"""

from __future__ import annotations


def fill_home(fd: int, home: bytes) -> None:
    """Unpack the archive that is open as `fd`. What is there already stays. Raises OSError."""
    import marshal
    import os

    modes = []
    with open(fd, "rb") as archive:
        while (entry := marshal.load(archive)) is not None:
            name, kind, mode, mtime, size, target = entry
            path = home + b"/" + name
            if kind == "dir":
                if not os.path.lexists(path):
                    os.mkdir(path, 0o700)
                    modes.append((path, mode))
                continue
            if kind == "link":
                if not os.path.lexists(path):
                    os.symlink(target, path)
                continue
            try:
                made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            except FileExistsError:
                made = -1
            while (block := marshal.load(archive)) is not None:
                offset, data = block
                while made >= 0 and data:
                    written = os.pwrite(made, data, offset)
                    offset, data = offset + written, data[written:]
            if made >= 0:
                if os.fstat(made).st_size < size:
                    os.truncate(made, size)
                os.fchmod(made, mode & 0o1777)
                os.utime(made, ns=(mtime, mtime))
                os.close(made)
    for path, mode in reversed(modes):
        os.chmod(path, mode & 0o1777)
