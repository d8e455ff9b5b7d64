"""Two processes count up in one SQLite database, in the journal mode that is named."""

import os
import sqlite3
import sys

mode = sys.argv[1]
name = f"{mode}.sqlite"


def connected() -> sqlite3.Connection:
    connection = sqlite3.connect(name, isolation_level=None, timeout=60)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
    return connection


first = connected()
first.execute("CREATE TABLE count(n); ".strip("; "))
first.execute("INSERT INTO count VALUES(0)")
first.execute("CREATE TABLE filler(x BLOB)")
first.close()
child = os.fork()
mine = connected()
for _ in range(100):
    mine.execute("BEGIN IMMEDIATE")
    mine.execute("UPDATE count SET n = n + 1")
    mine.execute("INSERT INTO filler VALUES(zeroblob(3000))")
    mine.execute("COMMIT")
if child == 0:
    mine.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
print(mode, status, *mine.execute("SELECT n FROM count").fetchone())
print(*mine.execute("PRAGMA integrity_check").fetchone())
mine.execute("DELETE FROM filler")
mine.execute("VACUUM")
mine.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
print(os.stat(name).st_size)
mine.close()
print(sorted(entry for entry in os.listdir(".") if entry.startswith(mode)))
