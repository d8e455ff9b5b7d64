"""A launched command's streams in memory."""

from __future__ import annotations

import os

from art_core.launch.client import Streams
from art_core.sandbox.attachment import Attachment


class Capture:
    """Input from memory and output into memory, through the relay of an attachment."""

    def __init__(self, attachment: Attachment, input: bytes) -> None:
        self._memory = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
        stdin, stdout, stderr = self._memory
        with open(os.dup(stdin), "wb") as file:
            file.write(input)
        os.lseek(stdin, 0, os.SEEK_SET)
        self.streams = Streams(attachment.input(stdin), attachment.output(stdout), attachment.output(stderr))

    def contents(self, number: int) -> bytes:
        """What was written to descriptor `number` (1 or 2)."""
        with open(os.dup(self._memory[number]), "rb") as file:
            file.seek(0)
            return file.read()

    def close(self) -> None:
        while self._memory:
            os.close(self._memory.pop())
