"""Devices: those on the list, with access; no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.contracts import Origin
from art_core.errors import MountError, UsageError
from art_core.lending import devices
from tests.support.lenders import Lender
from tests.support.places import locked

KVM = Path("/dev/kvm")
ORIGIN = Origin("--device X")


@pytest.fixture
def kvm(lender: Lender) -> Iterator[Lender]:
    """/dev/kvm, open to everybody, as desktops have it. Where the machine has none, root makes the node."""
    with locked("/etc/login.defs"):
        made = not KVM.exists()
        if made:
            os.mknod(KVM, 0o600 | 0o020000, os.makedev(10, 232))
        before = KVM.stat().st_mode & 0o777
        KVM.chmod(0o666)
        try:
            yield lender
        finally:
            KVM.chmod(before)
            if made:
                KVM.unlink()


OPENED = """
import errno, os
try: os.close(os.open('/dev/kvm', os.O_RDWR)); print('opened')
except OSError as error: print(errno.errorcode[error.errno])
print(sorted(set(os.listdir('/dev')) & {'kvm', 'mem', 'sda', 'kmsg', 'fuse', 'loop0', 'vda'}))
"""


def test_a_device_can_be_used_and_is_not_there_without_the_option(kvm: Lender, kept: bool) -> None:
    assert kvm.python(OPENED, kept=kept).stdout == b"ENOENT\n[]\n"
    done = kvm.python(OPENED, "--device", "/dev/kvm", kept=kept)
    assert done.stdout in (b"opened\n['kvm']\n", b"ENODEV\n['kvm']\n"), done.stderr
    again = kvm.python(OPENED, "--device", "kvm", "--device", "/dev/kvm", kept=kept)
    assert again.stdout == done.stdout, again.stderr
    changed = kvm.shell("rm /dev/kvm; chmod 600 /dev/kvm; ls /dev/kvm; touch /dev/new", "--device", "kvm")
    assert changed.stdout == b"/dev/kvm\n" and changed.stderr.count(b"\n") == 3
    shown = kvm.art("--device", "kvm", "--print-command", "--", "true").stdout
    assert b"--dev-bind /dev/kvm /dev/kvm" in shown and b"# --device kvm: the device at /dev/kvm" in shown


def test_a_device_that_the_user_may_not_open_is_refused_with_the_cure(kvm: Lender) -> None:
    KVM.chmod(0o600)
    done = kvm.shell("true", "--device", "/dev/kvm")
    assert done.returncode == 125
    cure = b"ART_ROOT_AS=root" if kvm.caller.name == "root" else b"usermod -aG"
    assert cure in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        *(
            "/dev/mem",
            "/dev/sda",
            "/dev/vda",
            "/dev/tty",
            "/dev/fuse",
            "/dev/loop0",
            "/dev/dri/../mem",
            "/dev",
        ),
        *("/etc/passwd", "kvm/x", "/dev/kvm2", "/dev/dri/by-path/x", "..", "/dev/nvidia0/../mem"),
    ],
)
def test_any_other_device_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match="only /dev/kvm, /dev/dri, nvidia"):
        devices.find(name, ORIGIN)


def test_what_the_machine_does_not_have_is_said() -> None:
    with pytest.raises(MountError, match=r"this machine has no /dev/nvidia9"):
        devices.find("/dev/nvidia9", ORIGIN)
    assert devices.find("/dev/nvidia9", ORIGIN, optional=True) == []


def test_a_node_that_is_another_device_is_refused() -> None:
    """Root may put anything at such a name: a block device that is called nvidia is none."""
    node = Path(f"/dev/nvidia-art-test-{os.getpid()}")
    node.symlink_to("/dev/mem")
    try:
        with pytest.raises(MountError, match="not the device"):
            devices.find(str(node), ORIGIN)
    finally:
        node.unlink()
