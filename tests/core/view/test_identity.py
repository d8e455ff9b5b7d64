"""Who the command is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from art_core.contracts import GuestFile
from art_core.view.identity import Identity, account_files, closed_directory, identify


def content(files: list[GuestFile], guest: str) -> list[str]:
    for file in files:
        if file.guest == guest and file.contents is not None:
            return file.contents.decode().splitlines()
    raise AssertionError(f"{guest} is not replaced")


def test_a_plain_user_keeps_ids_and_name() -> None:
    found = identify(1, 1, mapped=True)
    assert (found.uid, found.gid, found.user, found.host_ids) == (1, 1, "daemon", None)


def test_root_is_an_ordinary_user_inside() -> None:
    found = identify(0, 0, mapped=False)
    assert (found.uid, found.gid, found.user, found.host_ids) == (1000, 1000, "agent", None)


def test_root_becomes_a_uid_that_nobody_has() -> None:
    found = identify(0, 0, mapped=True)
    assert found.host_ids is not None
    with pytest.raises(KeyError):
        pwd.getpwuid(found.host_ids[0])


def test_a_user_without_an_entry_has_a_name_all_the_same() -> None:
    assert identify(54321, 54321, mapped=True).user == "agent"


def test_the_entry_has_the_home_of_the_sandbox() -> None:
    lines = content(account_files(Identity(1, 1, "daemon", "/bin/sh"), "/home/agent"), "/etc/passwd")
    assert "daemon:x:1:1::/home/agent:/bin/sh" in lines
    assert len([line for line in lines if line.startswith("daemon:")]) == 1


def test_other_entries_stay() -> None:
    lines = content(account_files(Identity(1, 1, "daemon", "/bin/sh"), "/home/agent"), "/etc/passwd")
    with open("/etc/passwd") as file:
        others = [line for line in file.read().splitlines() if not line.startswith("daemon:")]
    assert set(others) <= set(lines)


def test_another_user_of_the_same_number_gives_way() -> None:
    lines = content(account_files(Identity(1, 1, "agent", ""), "/home/agent"), "/etc/passwd")
    assert [line for line in lines if line.split(":")[2] == "1"] == ["agent:x:1:1::/home/agent:/bin/sh"]


def test_a_group_without_a_name_gets_one() -> None:
    files = account_files(Identity(54321, 54321, "agent", ""), "/home/agent")
    assert "agent:x:54321:" in content(files, "/etc/group")


def test_a_group_with_a_name_is_left_alone() -> None:
    files = account_files(Identity(1, 1, "daemon", ""), "/home/agent")
    assert "/etc/group" not in [file.guest for file in files]


def test_ssh_snippets_are_hidden_where_they_exist() -> None:
    exists = os.path.isdir("/etc/ssh/ssh_config.d")
    files = account_files(Identity(1, 1, "daemon", ""), "/home/agent")
    assert ("/etc/ssh/ssh_config.d" in [file.guest for file in files]) == exists


OTHERS = Identity(1000, 1000, "agent", "", host_ids=(65520, 65520))


def test_a_directory_that_others_may_not_enter_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed/below").mkdir(parents=True)
    for directory in (tmp_path, *tmp_path.parents):
        if "pytest-" in str(directory):
            directory.chmod(0o755)
    assert closed_directory(f"{tmp_path}/closed/below/x", OTHERS) is None
    (tmp_path / "closed").chmod(0o700)
    assert closed_directory(f"{tmp_path}/closed/below/x", OTHERS) == f"{tmp_path}/closed"
    assert closed_directory(f"{tmp_path}/closed", OTHERS) is None


def test_what_does_not_exist_is_not_closed() -> None:
    assert closed_directory("/nowhere/at/all", OTHERS) is None


def test_to_root_itself_nothing_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert closed_directory(f"{tmp_path}/x", identify(0, 0, mapped=False)) is None
