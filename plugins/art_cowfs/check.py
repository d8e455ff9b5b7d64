"""What must hold in every database, beyond SQLite's own integrity."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

_HOMELESS = {
    "dentry": "SELECT parent, layer FROM dentry EXCEPT SELECT ino, layer FROM inode",
    "chunk": "SELECT ino, layer FROM chunk EXCEPT SELECT ino, layer FROM inode",
    "xattr": "SELECT ino, layer FROM xattr EXCEPT SELECT ino, layer FROM inode",
}
"""Rows of a layer that has no row of their directory or file."""

_DANGLING = """
SELECT parent, name, ino FROM dentry
WHERE ino IS NOT NULL AND ino != 0 AND NOT EXISTS (SELECT 1 FROM inode WHERE inode.ino = dentry.ino)
"""
_LAYERS = (
    "SELECT id FROM layer WHERE parent IS NOT NULL AND (parent >= id OR parent NOT IN (SELECT id FROM layer))"
)


def problems(connection: apsw.Connection) -> Iterator[str]:
    """Everything that is wrong, a sentence each; nothing for a sound database."""
    for (said,) in connection.execute("PRAGMA integrity_check"):
        if said != "ok":
            yield f"SQLite says: {said}"
    for table, query in _HOMELESS.items():
        for ino, layer in connection.execute(query):
            yield f"a row of {table} in layer {layer} belongs to inode {ino}, which that layer has not"
    for parent, name, ino in connection.execute(_DANGLING):
        yield f"the name {name!r} in directory {parent} leads to inode {ino}, which is not there"
    for (layer,) in connection.execute(_LAYERS):
        yield f"layer {layer} does not stand on an older one"
