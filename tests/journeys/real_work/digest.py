"""Print one line for each entry below a directory: what it is and what it holds.

The path of the home is left out of what is hashed, as are files that tell of it or of the time.
"""

import hashlib
import os
import stat
import sys

top, home = sys.argv[1:]
TOLD = {"RECORD", ".package-lock.json", "package-lock.json"}
for directory, names, files in os.walk(top):
    names[:] = sorted(set(names) - {"__pycache__"})
    for name in sorted(names + files):
        path = os.path.join(directory, name)
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            held = os.readlink(path).replace(home, "~")
        elif stat.S_ISREG(info.st_mode) and name not in TOLD and not name.endswith(".sqlite"):
            with open(path, "rb") as file:
                held = hashlib.sha256(file.read().replace(home.encode(), b"~")).hexdigest()
        else:
            held = ""
        links = info.st_nlink if stat.S_ISREG(info.st_mode) else ""
        print(os.path.relpath(path, top), oct(info.st_mode), links, held)
