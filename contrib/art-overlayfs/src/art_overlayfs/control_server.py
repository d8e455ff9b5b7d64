"""What is answered while a run goes on, to the supervisor and to others of this user.

The database has what it had when the run began, and whoever asks for the branch is given that.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import apsw

from art_core.errors import ArtError
from art_core.host import kernel
from art_core.store.history import Ending, Opening
from art_cowfs.library import (
    BranchLost,
    Occupied,
    OpenBranch,
    accepted_of,
    answer,
    listen,
    may_ask,
    secure,
    wanted_of,
)
from art_overlayfs.run import OverlayRun

_LIMIT = 1 << 16
_HOLD_MS = 3000
"""How often it is looked whether the file of locks is there."""


def say(control: socket.socket, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        control.send(json.dumps(message).encode())


class Answers:
    """`control` leads to the supervisor; others find a socket in `directory`."""

    def __init__(
        self, control: socket.socket, session: OpenBranch, running: OverlayRun, directory: str
    ) -> None:
        self._control = control
        self._session = session
        self._running = running
        self._directory = directory

    def run(self, notes: Sequence[str]) -> None:
        """Until the supervisor asks for the end, or is gone."""
        with ExitStack() as ending:
            waiting = select.poll()
            waiting.register(self._control, select.POLLIN)
            others: dict[int, socket.socket] = {}
            listening = self._listening(ending)
            if listening is not None:
                waiting.register(listening, select.POLLIN)
            say(self._control, {"ready": True, "notes": list(notes)})
            while True:
                ready = waiting.poll(_HOLD_MS)
                if not self._session.is_held:
                    # Somebody removed the file of locks. Who lost the branch finds that at the end.
                    with contextlib.suppress(BranchLost, Occupied):
                        self._session.hold()
                for fd, _ in ready:
                    if fd == self._control.fileno():
                        if not self._supervisor():
                            return
                    elif listening is not None and fd == listening.fileno():
                        connection, _ = listening.accept()
                        if may_ask(connection):
                            others[connection.fileno()] = ending.enter_context(connection)
                            waiting.register(connection, select.POLLIN)
                        else:
                            connection.close()
                    elif not self._other(others[fd]):
                        waiting.unregister(fd)
                        others.pop(fd).close()

    def _listening(self, ending: ExitStack) -> socket.socket | None:
        try:
            listening, path = listen(self._directory)
        except OSError:
            return None  # Nobody can ask then, and is told who has the branch.
        ending.callback(_gone, path)
        ending.enter_context(listening)
        self._session.reachable(path)
        return listening

    def _supervisor(self) -> bool:
        """Answer the supervisor; whether the run goes on."""
        try:
            data = self._control.recv(_LIMIT)
        except OSError:
            data = b""
        request = json.loads(data) if data else {"ask": "end"}
        asked = request.pop("ask")
        if asked == "end":
            return False
        answer: dict[str, Any] = {}
        if asked == "notes":
            answer = {"notes": []}
        elif asked == "full":
            answer = {"full": 0}
        elif asked == "commit":
            answer = self._synced()
        elif asked in ("begin", "ended"):
            answer = self._logged(asked, request)
        say(self._control, answer)
        return True

    def _synced(self) -> dict[str, Any]:
        """What was changed is on the disk, though not in the database."""
        fd = os.open(self._running.upper.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.sync_file_system(fd)
        except OSError as error:
            return {"error": f"what was changed cannot be brought to the disk: {error.strerror}"}
        finally:
            os.close(fd)
        return {"committed": True}

    def _logged(self, asked: str, request: dict[str, Any]) -> dict[str, Any]:
        """A log that cannot be written is no reason to end a command."""
        try:
            if asked == "begin":
                number, before = self._running.begin(Opening(**request))
                return {"id": number, "before": before}
            number = request.pop("id")
            self._running.endings[number] = Ending(**request)
            return {}
        except (ArtError, OSError, apsw.Error) as error:
            return {"failed": f"the log of the database has not all of this session: {error}"}

    def _other(self, connection: socket.socket) -> bool:
        """Answer somebody else; whether they may ask on."""
        fd = -1
        try:
            data = connection.recv(_LIMIT)
            if not data:
                return False
            answer, fd = self._answered(json.loads(data))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, "little"))] if fd >= 0 else []
            connection.sendmsg([json.dumps(answer).encode()], rights)
            return True
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False  # What it sent is no request, or it went away.
        finally:
            if fd >= 0:
                os.close(fd)

    def _answered(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        try:
            match request.get("ask"):
                case "commit":
                    return {"committed": True}, -1
                case "accept":
                    for one in accepted_of(request):
                        self._session.accept(one)
                    self._session.tree.pending.wait()
                    return {"committed": True}, -1
                case "secure":
                    contents = bool(request["contents"])
                    return answer(secure(self._session, wanted_of(request), contents=contents)), -1
                case "freeze" if "name" not in request:
                    layer, pin = self._session.freeze()
                    return {"layer": layer}, pin
                case "freeze":
                    return {
                        "error": "what this run does is in the database when it ends, which is how the store "
                        "'overlayfs' works; take the snapshot then"
                    }, -1
                case unknown:
                    return {"error": f"the process of the run knows nothing of {unknown!r}"}, -1
        except OSError as error:
            return {"error": f"the database cannot be written: {error.strerror}"}, -1
        except ArtError as error:
            return {"error": str(error)}, -1


def _gone(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
