"""What a run leaves whose process was killed is brought in once, and whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import cast

import pytest
from test_capture import kept_picture, new_store, picture

from art_core.errors import ArtError
from art_core.store.history import History
from art_core.testing.store.case import KeptStore
from art_cowfs.store import Databases

FILES = 200


def work(home: str) -> None:
    top = f"{home}/workspace"
    for number in range(FILES):
        with open(f"{top}/d/{number}", "wb") as file:
            file.write(b"%d " % number * number)
    with open(f"{home}/large", "wb") as file:
        file.write(os.urandom(1 << 20) * 8)
    with suppress(FileNotFoundError):
        os.unlink(f"{top}/f")


def left_behind(kept: KeptStore) -> dict[str, object]:
    """A run whose process is killed in the middle; what it had changed by then."""
    made: dict[str, object] = {}
    with pytest.raises(ArtError, match="the next run brings it into the database"), kept.home() as home:
        home.do(work)
        made = home.do(picture)
        assert home.mounted.worker is not None
        home.mounted.worker.kill()
    return made


@pytest.mark.parametrize("delay_ms", [1, 20, 40, 90])
def test_whenever_it_is_killed_the_next_one_has_all_of_it(delay_ms: int) -> None:
    """During the capture too: nothing is there twice, in half, or lost."""
    with new_store() as kept:
        with suppress(ArtError), kept.home() as home:
            home.do(work)
            made = home.do(picture)
            assert home.mounted.worker is not None
            os.set_inheritable(home.mounted.worker.pidfd, True)
            source = "import signal, sys, time; time.sleep(int(sys.argv[2]) / 1000); "
            source += "signal.pidfd_send_signal(int(sys.argv[1]), signal.SIGKILL)"
            argv = [sys.executable, "-I", "-S", "-c", source, str(home.mounted.worker.pidfd), str(delay_ms)]
            killing = subprocess.Popen(argv, close_fds=False, stderr=subprocess.DEVNULL)
            time.sleep(0.02)  # Its start.
        killing.wait()
        with kept.home() as home:
            assert home.do(picture) == made
        assert kept_picture(kept) == made
        with kept.store("write") as store:
            assert [point.name for point in cast(History, store).points()] == ["main"]


def test_it_is_told_and_the_next_reader_has_it_too() -> None:
    with new_store() as kept:
        made = left_behind(kept)
        assert kept_picture(kept) == made
        left_behind(kept)
        with kept.home() as home:
            (note,) = home.mounted.notes
            assert (
                "changed was not in the database when it ended; it was brought into the branch 'main'" in note
            )


def test_a_branch_that_another_store_changed_meanwhile_stays_as_it_is() -> None:
    with new_store() as kept:
        made = left_behind(kept)
        database = Databases(f"{kept.place}/sockets").open(kept.locator, "write")
        with kept.workspace() as workspace, database.home_writer("main", workspace) as home:
            home.remove(b"workspace/d")
            home.commit()
        with kept.home() as mounted:
            (note,) = mounted.mounted.notes
            branch = note.rpartition(" ")[2].strip("'")
            assert "was changed since" in note and branch.startswith("left-")
            assert mounted.do(picture).keys() == {"workspace", "workspace/f", "workspace/large"}
        with kept.home(branch) as mounted:
            assert mounted.do(picture).keys() - {"workspace/d"} <= made.keys()
            assert mounted.do(picture)["large"] == made["large"]
        assert kept_picture(kept).keys() == {"workspace", "workspace/f", "workspace/large"}
