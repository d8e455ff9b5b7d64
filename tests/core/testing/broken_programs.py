"""Isolations that each break one rule: the one of contrib/art-unshare, whose program lacks a line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from art_core.contracts import Isolation, Provider
from art_core.testing import IsolationContract
from art_unshare import isolation
from art_unshare.hooks import art_isolations

PROGRAMS: Mapping[str, tuple[str, str]] = {
    "test_descriptors": ("    os.closerange(5, 1 << 20)\n", ""),
    "test_streams": ("    os.dup2(3, 2)\n", ""),
    "test_umask": ("        os.umask(umask)\n", ""),
    "test_signals": ("        signal.signal(number, signal.SIG_DFL)\n", "        pass\n"),
    "test_user_namespaces": ('file.write("0")', 'file.write("9")'),
    "test_devices": ('"urandom", "tty"', '"urandom"'),
    "test_report": ("    os.write(REPORT, b'{\"child-pid\": %d}' % os.getpid())\n", ""),
    "test_command_not_executable": ("os.execvpe(argv[0]", 'os.execvpe(b"/nothing"'),
    "test_program_name": (
        "os.execvpe(argv[0], argv, env)",
        'os.execvpe(argv[0], [b"/bin/cat", *argv[1:]], env)',
    ),
    "test_host_is_read_only": ("    restrict(-100, _RDONLY | _NOSUID, _ROOT)\n", ""),
    "test_no_stub": (
        "            restrict(self._own.pop(own), _RDONLY)\n",
        "            self._own.pop(own)\n",
    ),
    "test_mounted_file": (
        "            if name in without:\n",
        "            if name in without or kind == 'file':\n",
    ),
    "test_guest_directory": (
        "            restrict(tmpfs(place, 0o755), _RDONLY)\n",
        "            tmpfs(place, 0o755)\n",
    ),
    "test_empty_home": ("tmpfs(home, 0o755, order", "tmpfs(home, 0o555, order"),
    "test_given_home": ('bind(order["home"], home)', "tmpfs(home, 0o755)"),
}
"""The rule that is broken, and what stands in the program for what."""


def program_contract(rule: str) -> type[IsolationContract]:
    old, new = PROGRAMS[rule]

    class Broken(IsolationContract):
        @pytest.fixture
        def isolation_provider(self) -> Provider[Isolation]:
            (provider,) = art_isolations()
            whole = Path(isolation.__file__).with_name("inside.py").read_text()
            assert whole.count(old) == 1, f"the program has {whole.count(old)} times {old!r}"
            broken = isolation.Unshare(sys.executable, whole.replace(old, new).encode(), 1 << 30)
            return provider._replace(create=lambda context: broken)

    return Broken
