"""Files of a home that a program reads out of a snapshot."""

from __future__ import annotations

from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed
from tests.support.sandbox_programs import program


def test_a_path_means_what_it_means_inside_and_no_file_is_too_large_to_be_refused(
    plain: Caller, installed: Installed
) -> None:
    body = """
    make = "mkdir dir~; echo beside >dir~/file; echo home >~/file; truncate -s 1T sparse"
    with Sandbox(WORKSPACE, database=DATABASE) as box:
        box.run(["sh", "-c", make])
        box.snapshot("made")
        print(box.read("dir~/file", at="made"), box.read("~/file", at="made"))
        print(raised(box.read, "sparse", at="made"))
    """
    with fresh_directory(plain) as workspace:
        assert program(plain, installed, workspace, body).splitlines() == [
            "b'beside\\n' b'home\\n'",
            f"StoreError: sparse: its {1 << 40} bytes do not fit into memory",
        ]
