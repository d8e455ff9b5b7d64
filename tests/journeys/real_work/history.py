"""Print a history of so many commits as git-fast-import(1) reads it."""

import sys

COMMITS = int(sys.argv[1])
out = sys.stdout.buffer
for number in range(COMMITS):
    text = b"".join(b"line %d of %d\n" % (line, number) for line in range(number % 40 + 1))
    out.write(b"commit refs/heads/main\n")
    out.write(b"committer a <a@b.c> %d +0000\n" % (1_600_000_000 + number))
    out.write(b"data 6\nchange\n")
    out.write(b"M 100644 inline dir%d/file%d\ndata %d\n" % (number % 30, number % 700, len(text)))
    out.write(text + b"\n")
