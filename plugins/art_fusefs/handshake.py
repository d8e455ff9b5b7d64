"""What the file system agrees on with the kernel, beyond what libfuse asks for.

libfuse wants every offer of the kernel that it knows, and pyfuse3 gives no choice. AUTO_INVAL_DATA costs a
file system that is the only one to change its files: it throws away what is cached of a file whenever its
time has changed, also by the kernel's own writes. ASYNC_DIO ends an asynchronous write past the page cache
without a word to the cache, so that who reads through it goes on with old pages. And without
HANDLE_KILLPRIV_V2 each write is preceded by a question for `security.capability`. So the first request,
FUSE_INIT, is handed to libfuse through a socket, with the first two offers left out, and its answer to the
kernel with the last added. From then on libfuse has the kernel's own descriptor. See fuse(4) and the
kernel's include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import os
import socket
import struct

_INIT = 26
_AUTO_INVAL_DATA, _ASYNC_DIO, _HANDLE_KILLPRIV_V2 = 1 << 12, 1 << 15, 1 << 28
_REQUEST_LIMIT = 1 << 20
_HEADER = struct.Struct("IIQQIIII")
_OFFER = struct.Struct("IIII")
"""major, minor, max_readahead, flags"""
_ANSWER = struct.Struct("IiQIIII")
"""length, error, unique, and then as in `_OFFER`"""
_MAJOR = 7


class Handshake:
    """A mount's first request. `fd` is the descriptor that libfuse has to be given."""

    def __init__(self, kernel_fd: int) -> None:
        """Takes the descriptor that serves the mount; it is closed when the handshake is done."""
        self._kernel_fd = kernel_fd
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fd = theirs.detach()
        request = bytearray(os.read(kernel_fd, _REQUEST_LIMIT))
        opcode = _HEADER.unpack_from(request)[1]
        major, minor, ahead, self._offered = _OFFER.unpack_from(request, _HEADER.size)
        if opcode == _INIT and major == _MAJOR:
            offer = self._offered & ~(_AUTO_INVAL_DATA | _ASYNC_DIO)
            _OFFER.pack_into(request, _HEADER.size, major, minor, ahead, offer)
        self._ours.send(request)

    def finish(self) -> None:
        """Pass libfuse's answer on, and give libfuse the kernel's descriptor. Called once libfuse has
        read the request."""
        answer = bytearray(self._ours.recv(_REQUEST_LIMIT))
        length, error, unique, major, minor, ahead, wanted = _ANSWER.unpack_from(answer)
        if not error and major == _MAJOR:
            wanted |= self._offered & _HANDLE_KILLPRIV_V2
            _ANSWER.pack_into(answer, 0, length, error, unique, major, minor, ahead, wanted)
        os.write(self._kernel_fd, answer)
        os.dup2(self._kernel_fd, self.fd, inheritable=False)
        os.close(self._kernel_fd)
        self._ours.close()
